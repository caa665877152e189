"""Values that parts of a VM have: its size, and the address of an interface."""

from __future__ import annotations

from typing import NamedTuple

from core import formats
from core.records import Recorded, key, value
from core.rule import FLAG, number, whole


class Size(NamedTuple):
    """Cores of a VM, and its memory and disks in GiB; the defaults are the documented ones."""

    cores: int = 1
    ram_gb: float = 0.5
    disk_gb: float = 1.0
    disk2_gb: float = 0.0

    @property
    def disks_gb(self) -> float:
        """Return the size of all disks together."""
        return self.disk_gb + self.disk2_gb


@value
class OldDisk(Recorded):
    """The disk that a reset replaces, and the secrets of the guest on it."""

    disk_id: str = key(formats.DISK_ID)
    password: str | None = key(formats.GUEST_PASSWORD, default=None, brief=True)
    host_secret: str | None = key(formats.SSH_SECRET, default=None, brief=True)


@value
class Snapshot(Recorded):
    """A snapshot of a VM's disks. `taken` is in seconds since 1970, `size_mib` what the disks had on the worker then.

    `begun`: it is not known whether it was taken.
    """

    name: str = key(formats.SNAPSHOT_NAME)
    taken: float = key(number(0, 1 << 40))
    size_mib: int = key(whole(0, formats.MOST_MIB), default=0)
    begun: bool = key(FLAG, default=False, brief=True)


@value
class IPConfig(Recorded):
    """The address that DHCP reserves for an `eth0` with internet, its subnet and its gateway."""

    ip: str = key(formats.ADDRESS)
    cidr: str = key(formats.SUBNET)
    gateway: str = key(formats.ADDRESS)
