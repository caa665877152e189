"""Seeds of a design and of a VM: the same script and cloud-config, as a mapping there and as JSON here."""

from __future__ import annotations

from core.first_boot import FirstBoot, cloud_config, read_cloud_config
from topology.design import Seed

_LISTS = ("users", "write_files")
"""Keys of cloud-config to which we add something: as another kind of value they would be lost."""


def first_boot(seed: Seed) -> FirstBoot | None:
    """Return what a VM keeps of a seed; raise `ValueError`, with a sentence, for cloud-config that is not possible."""
    wrong = [key for key in _LISTS if not isinstance(seed.user_data.get(key, []), list)]
    if wrong:
        raise ValueError(f"`{wrong[0]}` has to be a list")
    made = FirstBoot(seed.script, cloud_config(seed.user_data) if seed.user_data else "")
    return made if made.size else None


def seed_of(kept: FirstBoot | None) -> Seed:
    """Return the seed of a design that a VM keeps."""
    return Seed(kept.script, read_cloud_config(kept.user_data)) if kept else Seed()
