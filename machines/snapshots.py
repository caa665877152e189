"""Snapshots inside the disks of VMs: taken, deleted and brought back (qemu-img(1)). Returns steps.

Disks of VMs that run are changed by their QEMU, all disks of a VM at the same moment. Such a snapshot is what a guest
finds after a power cut: what it had not written yet is not in it. Memory is never in it.
"""

from __future__ import annotations

from collections.abc import Iterable

from core.names import VMFiles, process_name
from machines import qemu, qmp
from machines.disks import further_disks
from models import VM, Slice
from remote.plan import Command, Step
from shell.scripts import load

SIZES = "sizes"
"""The name of the answers with the sizes of disks whose snapshots were taken."""

_PREFIX = "cloud-"
"""The beginning of our tags: qemu-img takes a tag of digits for its own number of a snapshot."""

_TAKE = load("disks/take-snapshot")
_DELETE = load("disks/delete-snapshot")
_APPLY = load("disks/apply-snapshot")
_HAS = load("disks/has-snapshot")
_LACKS = load("disks/lacks-snapshot")
_CHECK_DISK_ROOM = load("disks/check-disk-room")


def tag_of(name: str) -> str:
    """Return the tag of a snapshot in a disk."""
    return f"{_PREFIX}{name}"


def name_of(tag: str) -> str | None:
    """Return the name of a snapshot with this tag, or None where the tag is not ours."""
    return tag.removeprefix(_PREFIX) if tag.startswith(_PREFIX) else None


class SnapshotSteps:
    """Plans the snapshots of VMs, whose folders are below `images_path`."""

    def __init__(self, images_path: str) -> None:
        self._images = images_path

    def check_room(self, worker: str, vms: Iterable[VM]) -> Step:
        """Return the check that `worker` has room for one more copy of the disks of these VMs."""
        mib = sum(int(vm.size.disks_gb * 1024) for vm in vms)
        return Step(
            worker, "room for snapshots", (Command(_CHECK_DISK_ROOM.argv(self._images, str(mib)), as_user=True),)
        )

    def take(self, slice_: Slice, vm: VM, name: str) -> Step:
        """Return the step that takes a snapshot of all disks of a VM; it prints the VM's id and their size in MiB."""
        actions = [
            {"type": "blockdev-snapshot-internal-sync", "data": {"device": device, "name": tag_of(name)}}
            for device in qemu.disk_devices(vm)
        ]
        ask = qmp.ask([(self._monitor(slice_, vm), [qmp.command("transaction", actions=actions)])])
        disks, process = self.disks(slice_, vm), self._process(slice_, vm)
        take = _TAKE.argv(tag_of(name), str(vm.vm_id), *process, str(len(ask)), *ask, *disks)
        do = Command(take, unless=_HAS.argv(tag_of(name), *disks), as_user=True, name=SIZES)
        title = f"snapshot {name} of {vm.name}"
        return Step(vm.worker_ip, title, (do,), (self._deletion(slice_, vm, name),), objects=(tag_of(name),))

    def delete(self, slice_: Slice, vm: VM, name: str) -> Step:
        """Return the step that deletes a snapshot of a VM, which has no undo."""
        return Step(vm.worker_ip, f"snapshot {name} of {vm.name}", (self._deletion(slice_, vm, name),))

    def apply(self, slice_: Slice, vm: VM, name: str) -> Step:
        """Return the step that brings the disks of a stopped VM back to a snapshot, which has no undo."""
        do = Command(_APPLY.argv(tag_of(name), *self.disks(slice_, vm)), as_user=True)
        return Step(vm.worker_ip, f"snapshot {name} of {vm.name}", (do,))

    def disks(self, slice_: Slice, vm: VM) -> tuple[str, ...]:
        """Return the paths of the disks that a snapshot covers, in the order of QEMU's devices."""
        files = self._files(slice_, vm)
        return files.overlay, *(disk.path for disk in further_disks(vm, files))

    def _deletion(self, slice_: Slice, vm: VM, name: str) -> Command:
        commands = [
            qmp.command("blockdev-snapshot-delete-internal-sync", device=device, name=tag_of(name))
            for device in qemu.disk_devices(vm)
        ]
        ask = qmp.ask([(self._monitor(slice_, vm), commands)])
        disks, process = self.disks(slice_, vm), self._process(slice_, vm)
        delete = _DELETE.argv(tag_of(name), *process, str(len(ask)), *ask, *disks)
        return Command(delete, unless=_LACKS.argv(tag_of(name), *disks), as_user=True)

    def _monitor(self, slice_: Slice, vm: VM) -> qmp.Monitor:
        return qmp.Monitor(*self._process(slice_, vm), self._files(slice_, vm).qmp)

    def _process(self, slice_: Slice, vm: VM) -> tuple[str, str]:
        return self._files(slice_, vm).pid_file, process_name(slice_.slice_id, vm.vm_id)

    def _files(self, slice_: Slice, vm: VM) -> VMFiles:
        return VMFiles(self._images, slice_.slice_id, vm.name)
