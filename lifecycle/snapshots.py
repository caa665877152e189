"""The use-cases of snapshots: take, list and delete those of VMs' disks, and bring disks back to one.

The file says which snapshots there are. One is recorded before its disk is touched, so that its room is taken.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from accounts import rights
from accounts.use_cases import UseCase
from allocation.placement import require_disk
from core import formats
from core.errors import BadAnswer, InvalidAnswer, Refused, figure
from core.values import Snapshot
from database import State
from deployment import DeploymentAPI
from lifecycle.changes import Change
from lifecycle.power_change import PowerChange, restoring
from lifecycle.remains import elsewhere, said_first, way_out
from lifecycle.use_cases import SliceUseCases
from machines.snapshots import SIZES
from models import VM, Slice
from remote.events import Listener, ignore
from remote.plan import Plan
from remote.runner import Report

MOST = 3
"""The highest number of snapshots of a VM: each holds the room of its disks once more."""


@dataclass(frozen=True)
class Listed:
    """A snapshot of a VM, as it is listed: the time in seconds since 1970, and the MiB of its disks on the worker."""

    vm: str
    name: str
    taken: float
    size_mib: int
    complete: bool


@dataclass(frozen=True)
class Unfinished:
    """A snapshot that was begun and not finished, and the VMs that it is of."""

    slice_: Slice
    name: str
    vms: tuple[VM, ...]


class Snapshots(SliceUseCases):
    """Snapshots of VMs of a slice. `vm_ids` are those meant; none means all VMs of the slice."""

    @UseCase("snapshot", announced=True)
    def take(
        self, actor: str, slice_id: int, name: str, vm_ids: Collection[int] = (), listen: Listener = ignore
    ) -> list[str]:
        """Take a snapshot of the disks of VMs, whether they run or not, and return what was done, in sentences."""
        with self._change(actor, slice_id, listen) as (change, _):
            with self._database.transaction() as state:
                slice_ = rights.permitted(state, actor, slice_id)
                vms = _begin(state, slice_, name, vm_ids)
            return _carry_out(change, slice_, vms, name)

    @UseCase("delete snapshot", announced=True)
    def delete(
        self, actor: str, slice_id: int, name: str, vm_ids: Collection[int] = (), listen: Listener = ignore
    ) -> list[str]:
        """Delete a snapshot of those of the VMs that have it, and return what was done, in sentences."""
        with self._change(actor, slice_id, listen) as (change, slice_):
            vms = _having(slice_, name, vm_ids)
            report = change.runner.run(change.deployment.snapshot_deletion(slice_, vms, name), keep_going=True)
            gone = {vm.vm_id for vm in vms if vm.worker_ip not in _failed(report)}
            self._forget(slice_id, name, gone)
            return _told(slice_, report, {f"deleted {name}": [vm for vm in vms if vm.vm_id in gone]})

    @UseCase("restore", announced=True)
    def restore(
        self, actor: str, slice_id: int, name: str, vm_ids: Collection[int] = (), listen: Listener = ignore
    ) -> list[str]:
        """Bring the disks of VMs back to a snapshot, and start those that ran; return what was done, in sentences.

        VMs without that snapshot are left alone where none is named.
        """
        act = restoring(name)
        with self._change(actor, slice_id, listen) as (change, _):
            with self._database.transaction() as state:
                slice_ = rights.permitted(state, actor, slice_id)
                vms = _having(slice_, name, vm_ids)
                for vm in vms:
                    act.begin(slice_, vm)
            return PowerChange(change).carry_out(slice_, act, {vm.vm_id for vm in vms})

    @UseCase()
    def unfinished(self, actor: str) -> list[Unfinished]:
        """Return the snapshots of the user's slices that were begun and not finished, where no session works."""
        slices = rights.visible(self._database.load(), actor)
        return [
            Unfinished(slice_, name, tuple(vms))
            for slice_ in slices
            if not self._database.is_claimed(slice_.slice_id)
            for name, vms in _begun(slice_).items()
        ]

    @UseCase()
    def list(self, actor: str, slice_id: int) -> list[Listed]:
        """Return the snapshots of the VMs of a slice, by VM, the oldest first."""
        slice_ = rights.permitted(self._database.load(), actor, slice_id)
        return [
            Listed(vm.name, each.name, each.taken, each.size_mib, complete=not each.begun)
            for vm in sorted(slice_.vms, key=lambda vm: vm.vm_id)
            for each in vm.snapshots
        ]

    @UseCase()
    def plan(self, actor: str, slice_id: int, verb: str, name: str, vm_ids: Collection[int] = ()) -> Plan:
        """Return the plan of `snapshot`, `delete` or `restore`, without running it."""
        state = self._database.load()
        slice_ = rights.permitted(state, actor, slice_id)
        deployment = DeploymentAPI(state.inventory_of(slice_))
        if verb == "snapshot":
            return deployment.snapshot_plan(slice_, _begin(state, slice_, name, vm_ids), name)
        vms = _having(slice_, name, vm_ids)
        if verb == "delete":
            return deployment.snapshot_deletion(slice_, vms, name)
        act = restoring(name)
        for vm in vms:
            act.begin(slice_, vm)
        return deployment.power_plan(slice_, act.switching(slice_, {vm.vm_id for vm in vms}))

    def _forget(self, slice_id: int, name: str, vm_ids: Collection[int]) -> None:
        done = f"The snapshot {name} is deleted, but that could not be written down"
        with said_first(done), self._database.transaction() as state:
            for vm in state.slices[slice_id].vms:
                if vm.vm_id in vm_ids:
                    vm.snapshots = [each for each in vm.snapshots if each.name != name]
            state.recount()


def _begun(slice_: Slice) -> dict[str, list[VM]]:
    """Return the VMs by the names of snapshots of theirs that were begun."""
    found: dict[str, list[VM]] = {}
    for vm in slice_.vms:
        for each in vm.snapshots:
            if each.begun:
                found.setdefault(each.name, []).append(vm)
    return found


def _begin(state: State, slice_: Slice, name: str, vm_ids: Collection[int]) -> list[VM]:
    """Record a new snapshot of VMs, and return them; raise `Refused` where one cannot have it.

    A snapshot that an earlier session began and did not finish is begun again.
    """
    if not formats.is_snapshot_name(name):
        raise Refused("The name of a snapshot is a small letter, then at most 31 small letters, digits and hyphens")
    vms = _meant(slice_, vm_ids)
    for vm in vms:
        known = next((each for each in vm.snapshots if each.name == name), None)
        if known and not known.begun:
            raise Refused(f"{vm.name} has a snapshot {name} already; choose another name, or delete that one first")
        if not known and len(vm.snapshots) >= MOST:
            names = ", ".join(each.name for each in vm.snapshots)
            raise Refused(f"{vm.name} has {MOST} snapshots, and more are not allowed ({names}); delete one first")
    require_disk(vms, state.inventory_of(slice_), state.workers)
    for vm in vms:
        others = [each for each in vm.snapshots if each.name != name]
        vm.snapshots = [*others, Snapshot(name, float(int(time.time())), begun=True)]
    state.recount()
    return vms


def _meant(slice_: Slice, vm_ids: Collection[int]) -> list[VM]:
    rights.require_deployed(slice_)
    rights.require_settled(slice_)
    return rights.switchable(slice_, vm_ids)


def _having(slice_: Slice, name: str, vm_ids: Collection[int]) -> list[VM]:
    """Return those of the VMs that have a snapshot; raise `Refused` where one that is named, or none, has it."""
    vms = _meant(slice_, vm_ids)
    having = [vm for vm in vms if any(each.name == name for each in vm.snapshots)]
    if lacking := [vm for vm in vms if vm not in having and (vm_ids or not having)]:
        names = ", ".join(dict.fromkeys(each.name for vm in slice_.vms for each in vm.snapshots))
        who = lacking[0].name if vm_ids else f"Slice {slice_.slice_id}"
        raise Refused(f"{who} has no snapshot {name}; the slice has: {names or 'none yet, take one first'}")
    return having


def _carry_out(change: Change, slice_: Slice, vms: Iterable[VM], name: str) -> list[str]:
    """Take a snapshot that was recorded. On a host where one fails, those of this change are deleted again."""
    chosen = list(vms)
    report = change.runner.run(change.deployment.snapshot_plan(slice_, chosen, name))
    sizes, failed = _sizes(report, chosen), _failed(report)
    others = {step.host for step in report.plan.steps} - failed
    left = _failed(change.runner.run(elsewhere(report.rollback(), others), keep_going=True)) if failed else set[str]()
    groups: dict[str, list[VM]] = {f"snapshot {name}": [], "without it": [], "not finished, repeat it or delete it": []}
    taken, without, unfinished = groups.values()
    for vm in chosen:
        (unfinished if vm.worker_ip in left else without if vm.worker_ip in failed else taken).append(vm)
    done = f"The snapshot {name} was taken, but that could not be written down"
    with said_first(done), change.database.transaction() as state:
        stored = state.slices[slice_.slice_id]
        for vm in (each for each in stored.vms if each.worker_ip not in left):
            known = {each.name: each for each in vm.snapshots}
            if vm.vm_id in {each.vm_id for each in without}:
                known.pop(name, None)
            elif vm.vm_id in {each.vm_id for each in taken} and name in known:
                known[name] = replace(known[name], size_mib=sizes.get(vm.vm_id, 0), begun=False)
            vm.snapshots = list(known.values())
        state.recount()
    return _told(slice_, report, groups)


def _sizes(report: Report, vms: Iterable[VM]) -> dict[int, int]:
    """Return the sizes of VMs' disks in MiB by their ids. An invalid answer becomes a failure of its step."""
    known, sizes = {str(vm.vm_id): vm.vm_id for vm in vms}, dict[int, int]()
    for result in report.results:
        try:
            for line in result.answers[SIZES].stdout.splitlines() if SIZES in result.answers else ():
                label, _, mib = line.partition(" ")
                if label in known:
                    sizes[known[label]] = figure(mib, "is no size of disks", 0, formats.MOST_MIB)
        except BadAnswer as fault:
            result.error = result.error or InvalidAnswer(result.step.host, str(fault), begun=True)
    return sizes


def _failed(report: Report) -> set[str]:
    return {result.step.host for result in report.failures}


def _told(slice_: Slice, report: Report, groups: Mapping[str, list[VM]]) -> list[str]:
    """Return sentences about groups of VMs; raise the first failure with them."""
    told = [f"{what}: {', '.join(vm.name for vm in vms)}" for what, vms in groups.items() if vms]
    if error := next((result.error for result in report.failures), None):
        raise error.within("; ".join([str(error), *told]) + way_out([error], slice_))
    return told
