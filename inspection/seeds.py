"""Find seeds of VMs that are missing, or that others on the worker could read. Pure."""

from __future__ import annotations

from core.names import VMFiles
from inspection.facts import Facts
from machines.seed import takes_seed
from models import VM


def problem_of(vm: VM, files: VMFiles, facts: Facts) -> tuple[str, str] | None:
    """Return the code and the words of what is wrong with the seed of a VM that should run, or None."""
    if not takes_seed(vm) or vm.lost_with or not facts.knows("files"):
        return None
    if files.seed.removeprefix(f"{files.images_path}/") not in facts.images:
        return "seed-missing", f"the seed of {vm.name} is not there, or is no file"
    if files.seed in facts.open_seeds:
        return "seed-open", f"others on the host could read the seed of {vm.name}"
    return None
