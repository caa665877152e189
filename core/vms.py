"""VMs: a virtual machine of a slice, with its record in `database.yaml` (docs/spec/models.md). Pure."""

from __future__ import annotations

import math

from core import formats
from core.first_boot import FirstBoot
from core.flavors import Devices, Flavor
from core.links import Interface
from core.records import Recorded, addition, key, part, parts, state, state_or_nothing
from core.rule import Record, or_nothing, whole
from core.status import VMStart, VMStatus
from core.values import OldDisk, Size, Snapshot

FIRST_VNC_PORT = 5901
LAST_VNC_PORT = 65_535
NOWHERE = "nowhere"
"""The `worker_ip` of a VM that was lost with its worker, until another worker has room for it."""


class VM(Recorded):
    """A virtual machine of a slice, placed on one worker.

    `flavor_name` is the name of `flavor` when the VM was added. `disk_id` marks the disk of this VM; VMs of older files
    have none. `vnc_secret` is the password for VNC, a new one at each deployment. `lost_with` is the worker that was
    written off with the VM's disk; the next deployment or repair makes a new disk. A VM with a `manual` start is not
    started by the deployment of its slice. `status_before`, `old_disk` and `restoring` exist while a change of power
    is under way. They are the status before it, the disk that a reset replaces, and the snapshot that is brought back.

    A VM with a seed (machines/seed.py) has a `password`, and with each disk the secret of another SSH host key. `seed`
    is what the slice file adds to the first boot.
    """

    vm_id: int = key(formats.ID)
    name: str = key(formats.NAME)
    owner: str = key(formats.NAME)
    worker_ip: str = key(formats.HOST)
    vnc_port: int = key(whole(FIRST_VNC_PORT, LAST_VNC_PORT))
    status: VMStatus = state(VMStatus, default=VMStatus.PENDING)
    pid: str | None = key(or_nothing(formats.PROCESS_ID), default=None)
    qcow_image: str | None = key(or_nothing(formats.REMOTE_PATH), default=None)
    flavor: Flavor | None = part(Flavor)
    interfaces: list[Interface] = parts(Interface)
    flavor_name: str | None = key(formats.FLAVOR_NAME, default=None, brief=True)
    disk_id: str | None = key(formats.DISK_ID, default=None, brief=True)
    vnc_secret: str | None = key(formats.VNC_SECRET, default=None, brief=True)
    lost_with: str | None = key(formats.HOST, default=None, brief=True)
    start: VMStart = state(VMStart, default=VMStart.AUTO, brief=True)
    seed: FirstBoot | None = addition(FirstBoot)
    password: str | None = key(formats.GUEST_PASSWORD, default=None, brief=True)
    host_secret: str | None = key(formats.SSH_SECRET, default=None, brief=True)
    status_before: VMStatus | None = state_or_nothing(VMStatus)
    old_disk: OldDisk | None = addition(OldDisk)
    restoring: str | None = key(formats.SNAPSHOT_NAME, default=None, brief=True)
    snapshots: list[Snapshot] = parts(Snapshot, default=[], brief=True)

    def __init__(
        self,
        vm_id: int,
        name: str,
        owner: str,
        worker_ip: str,
        vnc_port: int,
        interfaces: list[Interface],
        flavor: Flavor | Record | None = None,
        qcow_image: str | None = None,
    ) -> None:
        self.vm_id = vm_id
        self.name = name
        self.owner = owner
        self.worker_ip = worker_ip
        self.vnc_port = vnc_port
        self.interfaces = interfaces
        self.flavor = Flavor.of(flavor)
        self.qcow_image = qcow_image
        self.snapshots = []

    @property
    def size(self) -> Size:
        """Return cores, memory and disk of the guest."""
        return (self.flavor or Flavor()).size

    @property
    def devices(self) -> Devices:
        """Return the devices of the guest."""
        return self.flavor.devices if self.flavor else Devices()

    @property
    def stopped(self) -> bool:
        """Return whether the user stopped the VM."""
        return self.status == VMStatus.STOPPED

    @property
    def unfinished(self) -> str:
        """Return the change of power that was begun and not finished, in words; empty without one."""
        if not self.status_before:
            return ""
        if self.old_disk:
            return "reset"
        if self.restoring:
            return "restore"
        if self.stopped:
            return "stop"
        return "start" if self.status_before == VMStatus.STOPPED else "start or restart"

    @property
    def stays_off(self) -> bool:
        """Return whether deployment and repair leave the VM off."""
        return self.stopped or (self.status != VMStatus.RUNNING and self.start == VMStart.MANUAL)

    @property
    def held(self) -> Size:
        """Return the part of the size that the VM takes from its worker: a stopped one has only its disks.

        Each snapshot holds the room of the disks once more.
        """
        size, copies = self.size, 1 + len(self.snapshots)
        disks = size._replace(disk_gb=copies * size.disk_gb, disk2_gb=copies * size.disk2_gb)
        return disks._replace(cores=0, ram_gb=0.0) if self.stopped else disks

    @property
    def ram_mib(self) -> int:
        """Return the memory of the guest in MiB."""
        return int(self.size.ram_gb * 1024)

    @property
    def disk_mib(self) -> int:
        """Return the disk of the guest in MiB."""
        return int(self.size.disk_gb * 1024)

    @property
    def largest_image_mib(self) -> int:
        """Return the size of the largest base image for this disk, in whole MiB."""
        return math.ceil(self.size.disk_gb * 1024)

    @property
    def image(self) -> str | None:
        """Return the base image's path on the manager; None in files that do not record it."""
        return self.flavor.image if self.flavor else None

    @property
    def images(self) -> tuple[str, ...]:
        """Return the paths of the images on the manager that the VM reads."""
        return self.flavor.images if self.flavor else ()

    def interface(self, name: str) -> Interface | None:
        """Return the interface with this name, or None."""
        return next((interface for interface in self.interfaces if interface.name == name), None)
