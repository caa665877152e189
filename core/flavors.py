"""Flavors: the size of a VM, and its base image (docs/spec/flavors.md)."""

from __future__ import annotations

from typing import ClassVar

from core import formats
from core.records import Recorded, key, value
from core.rule import Record, number, whole
from core.values import Size


@value
class Flavor(Recorded):
    """The size of a VM, and the path of its base image on the manager. A key that the file lacks is None.

    `FLAVORS` has the built-in flavors in their documented layout.
    """

    FLAVORS: ClassVar[dict[str, Record]] = {
        "cirros": {"cores": 1, "ram_gb": 0.5, "disk_gb": 1, "image": "/tmp/vm_images/cirros-0.6.2-x86_64-disk.img"},
        "ubuntu": {
            "cores": 1,
            "ram_gb": 0.5,
            "disk_gb": 2.2,
            "image": "/tmp/vm_images/focal-server-cloudimg-amd64.img",
        },
    }

    cores: int | None = key(whole(1, 64), default=None, brief=True)
    ram_gb: float | None = key(number(0.0625, 1024), default=None, brief=True)
    disk_gb: float | None = key(number(0.001, 16_384), default=None, brief=True)
    image: str | None = key(formats.LOCAL_PATH, default=None, brief=True)

    @classmethod
    def get(cls, flavor_name: str) -> Record | None:
        """Return the built-in flavor with this name, or None."""
        return cls.FLAVORS.get(flavor_name)

    @property
    def size(self) -> Size:
        """Return the size, with the documented default for a missing number."""
        usual = Size()
        return Size(
            usual.cores if self.cores is None else self.cores,
            usual.ram_gb if self.ram_gb is None else self.ram_gb,
            usual.disk_gb if self.disk_gb is None else self.disk_gb,
        )
