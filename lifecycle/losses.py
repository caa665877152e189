"""Write off VMs that were lost with their worker, and place them on workers with room.

It touches no file and no host. New disk ids are random.
"""

from __future__ import annotations

from dataclasses import dataclass

from accounts import rights
from core.errors import Refused
from core.status import SliceStatus, VMStatus
from deployment import DeploymentAPI
from models import NOWHERE, VM, Slice
from storage.state import State

CHANGE_ENDED = "its unfinished change counts as made: repair the slice, then run doctor --fix"


@dataclass(frozen=True)
class Loss:
    """The parts of a slice that go when a worker is written off: its VMs there, and VMs that were being added."""

    slice_id: int
    name: str
    owner: str
    status: SliceStatus
    vms: tuple[str, ...]
    pending: tuple[str, ...]
    is_changing: bool = False

    @property
    def title(self) -> str:
        """Return the name of the slice in sentences."""
        return f"slice {self.slice_id}{f' ({self.name})' if self.name else ''} of {self.owner}, {self.status}"

    @property
    def sentence(self) -> str:
        """Return a sentence about the slice after the loss."""
        names = ", ".join(self.vms)
        if self.status == SliceStatus.DELETING:
            return f"{self.title}: its deletion no longer waits for the host"
        parts = []
        if self.is_changing:
            parts.append(CHANGE_ENDED)
        if self.pending:
            parts.append(f"{', '.join(self.pending)} will not be added")
        if names and self.status == SliceStatus.CREATING:
            parts.append(f"{names} get their disks on other workers when the creation is finished")
        elif names and self.status == SliceStatus.DESIGN:
            parts.append(f"{names} lose their disks, and get new ones on other workers at the next deployment")
        elif names:
            parts.append(f"{names} are lost with their disks; a repair starts them on other workers with new ones")
        return f"{self.title}: {'; '.join(parts)}"

    @classmethod
    def of(cls, slice_: Slice, address: str) -> Loss:
        """Return the parts of a slice that go with the worker at this address."""
        here = [vm for vm in slice_.vms if vm.worker_ip == address]
        added = _being_added(slice_, address)
        kept = tuple(vm.name for vm in here if vm not in added)
        pending = tuple(vm.name for vm in added)
        changing = slice_.before is not None
        return cls(slice_.slice_id, slice_.name, slice_.owner, slice_.status, kept, pending, changing)


def losses(state: State, address: str) -> list[Loss]:
    """Return the losses of all slices that hold something of the worker, in the order of ids."""
    here = state.slices.taken.slices_on(address)
    return [Loss.of(slice_, address) for slice_ in state.slices.of(sorted(here))]


def write_off(state: State, slice_: Slice, address: str) -> None:
    """Take the worker and the disk from the VMs that a slice has there; remove VMs that were being added.

    The other VMs stay in the slice with links, addresses and VNC ports, so that the rest of the slice finds them
    unchanged when they run again. An unfinished change of VMs and links counts as made, unless the slice is deleted.
    """
    added = _being_added(slice_, address)
    if slice_.before and slice_.status == SliceStatus.DELETING:  # the objects of both designs are removed elsewhere
        for vm in slice_.before.vms:
            if vm.worker_ip == address:
                vm.worker_ip, vm.lost_with = NOWHERE, address
    elif slice_.before:  # the host cannot go back to the old design any more
        state.users[slice_.owner].used_vms -= len(slice_.leaving)
        slice_.before = None
    slice_.vms = [vm for vm in slice_.vms if vm not in added]
    state.users[slice_.owner].used_vms -= len(added)
    for vm in slice_.vms:
        if vm.worker_ip == address:
            vm.worker_ip, vm.lost_with, vm.pid = NOWHERE, address, None
            vm.status_before = vm.old_disk = vm.restoring = None
            vm.snapshots = []
            if vm.status == VMStatus.RUNNING:
                vm.status = VMStatus.DESIGN
    slice_.left = [item for item in slice_.left if not item.endswith(f" on {address}")]


def _being_added(slice_: Slice, address: str) -> list[VM]:
    """Return the VMs that were being added there; those of a slice in `creating` have links, and stay in it."""
    if slice_.status == SliceStatus.CREATING:
        return []
    return [vm for vm in slice_.vms if vm.worker_ip == address and vm.status == VMStatus.PENDING]


def has_unplaced(slice_: Slice) -> bool:
    """Return whether a VM of the slice has no worker."""
    return any(vm.worker_ip == NOWHERE for vm in slice_.vms)


def place_again(state: State, slice_: Slice) -> list[str]:
    """Place the VMs of a slice that have no worker; return why some of them still have none."""
    deployment, problems = DeploymentAPI(state.inventory_of(slice_)), []
    unplaced = [vm for vm in slice_.vms if vm.worker_ip == NOWHERE]
    for vm in unplaced:
        try:
            deployment.place_again(slice_, vm, state.workers, state.slices.taken)
        except Refused as error:
            problems.append(f"{vm.name} was lost with {vm.lost_with} and has no place yet: {error}")
    if unplaced:
        state.recount()
    return problems


def require_placed(state: State, slice_: Slice) -> None:
    """Place all VMs of a slice; raise `Refused` where one finds no place."""
    if problems := place_again(state, slice_):
        way_out = "take it back" if rights.is_unfinished(slice_) else "make room there"
        raise Refused(f"{problems[0]}; {way_out}, or delete slice {slice_.slice_id}")


def regained(slice_: Slice) -> list[VM]:
    """Return the lost VMs that have a worker again, but no new disk yet."""
    return [vm for vm in slice_.vms if vm.lost_with and vm.worker_ip != NOWHERE]
