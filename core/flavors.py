"""Flavors: the size of a VM, its base image and its devices (docs/spec/flavors.md). Pure values.

A device is one of a few names, never an option of QEMU; `machines/qemu.py` turns the names into QEMU's words.
"""

from __future__ import annotations

from typing import ClassVar

from core import formats
from core.records import Recorded, inline, key, sequence, value
from core.rule import Record, Rule, list_of, number, one_of, record, whole
from core.values import Size

MAX_DATA_INTERFACES = 10

MAX_PATTERNS = 8
"""The most patterns of a flavor: a look at consoles tries them all."""

GIB_OF_DISK = number(0.001, 16_384)


@value
class Devices(Recorded):
    """The devices of a VM, and how people and programs use it. Defaults are those of flavors without these keys.

    `min_nics` and `max_nics` count data interfaces. `nic_names` is the guest's own name of an interface: its number is
    from 0 for `{n}`, or from 1 for `{n+1}`. The guest is up once a line of its console matches one pattern of `ready`.
    A `link_state` of `up` shows the guest a carrier on interfaces without a link, too.
    """

    nic_model: str = key(
        one_of("virtio", "e1000", "e1000e", "rtl8139", "vmxnet3", "pcnet"), default="virtio", brief=True
    )
    disk_bus: str = key(one_of("virtio", "ide", "sata", "scsi"), default="virtio", brief=True)
    machine: str = key(one_of("pc", "q35"), default="pc", brief=True)
    firmware: str = key(one_of("bios", "uefi"), default="bios", brief=True)
    cpu_model: str = key(
        one_of("max", "qemu64", "Nehalem", "SandyBridge", "Haswell", "Skylake-Server", "EPYC"),
        default="max",
        brief=True,
    )
    video: str = key(one_of("std", "virtio", "cirrus", "vmware", "none"), default="std", brief=True)
    cdrom: str | None = key(formats.LOCAL_PATH, default=None, brief=True)
    disk2_gb: float | None = key(GIB_OF_DISK, default=None, brief=True)
    max_nics: int = key(whole(0, MAX_DATA_INTERFACES), default=MAX_DATA_INTERFACES, brief=True)
    min_nics: int = key(whole(0, MAX_DATA_INTERFACES), default=0, brief=True)
    nic_names: str = key(formats.NIC_NAMES, default="eth{n}", brief=True)
    console: str = key(one_of("serial", "vnc"), default="serial", brief=True)
    ready: tuple[str, ...] = sequence(list_of(formats.PATTERN, MAX_PATTERNS), default=(), brief=True)
    ready_timeout: int = key(whole(1, 3600), default=300, brief=True)
    user: str = key(formats.GUEST_USER, default="student", brief=True)
    seed: str = key(one_of("none", "nocloud"), default="none", brief=True)
    kvm: str = key(one_of("optional", "required"), default="optional", brief=True)
    link_state: str = key(one_of("follow", "up"), default="follow", brief=True)

    def fitting_nics(self, count: int) -> int:
        """Return the number of data interfaces within the bounds that is nearest to `count`."""
        return min(max(count, self.min_nics), self.max_nics)

    def refused_nics(self, count: int) -> str:
        """Return why a VM cannot have so many data interfaces, or nothing."""
        if self.min_nics <= count <= self.max_nics:
            return ""
        return f"takes {self.min_nics} to {self.max_nics} data interfaces, not {count}"

    def nic_name(self, index: int) -> str:
        """Return the guest's own name of interface number `index`."""
        return self.nic_names.replace("{n+1}", str(index + 1)).replace("{n}", str(index))


@value
class Flavor(Recorded):
    """The size of a VM, the path of its base image on the manager, and its devices.

    A size or image that the file lacks is None. `FLAVORS` has the built-in flavors in their documented layout, and
    `DEVICES` the devices in which they differ from others.
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
    DEVICES: ClassVar[dict[str, Record]] = {
        "cirros": {"seed": "none"},
        "ubuntu": {"seed": "nocloud"},
    }

    cores: int | None = key(whole(1, 64), default=None, brief=True)
    ram_gb: float | None = key(number(0.0625, 1024), default=None, brief=True)
    disk_gb: float | None = key(GIB_OF_DISK, default=None, brief=True)
    image: str | None = key(formats.LOCAL_PATH, default=None, brief=True)
    devices: Devices = inline(Devices)

    @classmethod
    def get(cls, flavor_name: str) -> Record | None:
        """Return the built-in flavor with this name in its documented layout, or None."""
        return cls.FLAVORS.get(flavor_name)

    @classmethod
    def built_in(cls) -> dict[str, Flavor]:
        """Return the built-in flavors with their devices, by name."""
        return {name: cls.from_dict(size | cls.DEVICES.get(name, {})) for name, size in cls.FLAVORS.items()}

    @classmethod
    def setting(cls) -> Rule:
        """Return the rule of a flavor among the settings, where size and image are required."""
        size = {name: each.rule for name, each in cls.KEYS.items() if name != "devices"}
        return record(size, {**Devices.rule().optional})

    @property
    def size(self) -> Size:
        """Return the size, with the documented default for a missing number."""
        usual = Size()
        return Size(
            usual.cores if self.cores is None else self.cores,
            usual.ram_gb if self.ram_gb is None else self.ram_gb,
            usual.disk_gb if self.disk_gb is None else self.disk_gb,
            self.devices.disk2_gb or 0.0,
        )

    @property
    def images(self) -> tuple[str, ...]:
        """Return the paths of the images on the manager that a VM reads: that of its disk, and that of its CD."""
        return tuple(image for image in (self.image, self.devices.cdrom) if image is not None)
