"""Carry out a change of power, and record it: its beginning, its end, or its rollback.

The beginning writes the new status of each VM beside the one before it. From these two a change that its manager did
not finish can be finished or rolled back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import NamedTuple

from core.errors import Refused
from core.status import VMStatus
from core.values import OldDisk
from lifecycle.changes import Change
from lifecycle.remains import elsewhere, said_first, way_out
from machines import credentials
from machines.power import BUTTON_SECONDS, DISOBEYED, SWITCHED_OFF, Switching
from models import VM, Slice
from remote.runner import Report
from vm_launcher import ROOM

UNFINISHED = "not finished, log in again to finish it or take it back"


class Act(NamedTuple):
    """An act of power, with the word for VMs after it.

    `ends`: the VMs are switched off, after `seconds` in which their guests can obey the power button.
    `runs`: the VMs run after it; None: those that ran before. `renews`: they get new disks. `restores` is the name of
    the snapshot to which their disks are brought back.
    """

    done: str
    ends: bool = False
    runs: bool | None = None
    renews: bool = False
    seconds: int = 0
    restores: str = ""

    @property
    def is_undone(self) -> bool:
        """Return whether the act is undone where it fails."""
        return bool(self.runs or self.renews or self.restores)

    def repeats(self, vm: VM) -> bool:
        """Return whether the act is the unfinished one of `vm` again."""
        if self.renews:
            return vm.unfinished == "reset"
        return vm.unfinished in (("stop",) if self.runs is False else ("start", "start or restart"))

    def begin(self, slice_: Slice, vm: VM) -> None:
        """Record the beginning of the act in `vm`. One that was begun before keeps its old status and disk."""
        vm.status_before = vm.status_before or vm.status
        if self.runs is not None:
            vm.status = VMStatus.RUNNING if self.runs else VMStatus.STOPPED
        if self.renews and vm.disk_id and not vm.old_disk:
            vm.old_disk = OldDisk(vm.disk_id, vm.password, vm.host_secret)
            credentials.new_disk(slice_, vm)
        vm.restoring = self.restores or vm.restoring
        if vm.stopped:
            vm.pid = None

    def switching(self, slice_: Slice, vm_ids: Collection[int]) -> Switching:
        """Return the change of these VMs of a slice, and of those that an earlier change left unfinished."""
        begun = [vm for vm in slice_.vms if vm.status_before]
        return Switching(
            off=tuple(vm for vm in begun if _must_be_off(vm) or (self.ends and vm.vm_id in vm_ids)),
            renewed=tuple(vm for vm in begun if vm.old_disk),
            on=tuple(vm for vm in begun if not vm.stopped),
            applied=tuple(vm for vm in begun if vm.restoring),
            seconds=self.seconds,
        )


START = Act("started", runs=True)
STOP = Act("stopped", ends=True, runs=False, seconds=BUTTON_SECONDS)
STOP_NOW = STOP._replace(seconds=0)
RESTART = Act("restarted", ends=True, runs=True, seconds=BUTTON_SECONDS)
RESET = Act("reset", ends=True, renews=True)


def restoring(name: str) -> Act:
    """Return the act that brings disks back to a snapshot."""
    return Act(f"restored {name}", ends=True, restores=name)


def finishing(slice_: Slice) -> Act:
    """Return the act that finishes what was begun. Guests that were to be stopped get the time to obey."""
    stops = any(vm.unfinished == "stop" for vm in slice_.vms)
    return Act("finished", seconds=BUTTON_SECONDS if stops else 0)


def _must_be_off(vm: VM) -> bool:
    """Return whether a VM is off at least while its disks are changed."""
    return bool(vm.stopped or vm.old_disk or vm.restoring)


class PowerChange:
    """A change of power under way. A failure on one host never stops another host."""

    def __init__(self, change: Change) -> None:
        self._change = change

    def carry_out(self, slice_: Slice, act: Act, vm_ids: Collection[int] = ()) -> list[str]:
        """Carry out an act that was begun, and return what became of the VMs, in sentences.

        Where it fails on a host, VMs there get back their power and disks. An act that only stops is not undone: its
        VMs stay unfinished there, as do those on a host that is lost.
        """
        outcome = self._run(slice_, lambda: act.switching(slice_, vm_ids))
        begun, failed = [vm for vm in slice_.vms if vm.status_before], outcome.failed
        unknown = self._undo(outcome.report, failed) if act.is_undone else failed
        undone = {vm.vm_id for vm in begun if vm.worker_ip in failed - unknown and vm.vm_id in vm_ids}
        open_ = {vm.vm_id for vm in begun if vm.worker_ip in failed} - undone
        told = [*outcome.told(act, begun), *_told("as before", begun, undone), *_told(UNFINISHED, begun, open_)]
        self._record(slice_, outcome, undone=undone, unfinished=open_)
        if undone:  # other VMs were told of a change that did not happen
            slice_ = self._change.database.load().slices[slice_.slice_id]
            self._change.runner.run(self._change.deployment.links_plan(slice_), keep_going=True)
        outcome.require_success(slice_, told)
        return told

    def take_back(self, slice_: Slice) -> None:
        """Give the VMs of an unfinished change back the power and the disks that they had before it."""
        with self._change.database.transaction() as state:
            slice_ = state.slices[slice_.slice_id]
            begun = [vm for vm in slice_.vms if vm.status_before]
            if names := ", ".join(vm.name for vm in begun if vm.restoring):
                raise Refused(f"{names} may have old disks already, which cannot be taken back; finish it")
            for vm in begun:
                vm.status = vm.status_before or vm.status
            state.recount()
        renewed = tuple(vm for vm in begun if vm.old_disk)
        off = tuple(vm for vm in begun if _must_be_off(vm))
        on = [vm for vm in begun if not vm.stopped]
        outcome = self._run(slice_, lambda: Switching(off, on=tuple(map(_with_old_disk, on)), restored=renewed))
        open_ = {vm.vm_id for vm in begun if vm.worker_ip in outcome.failed}
        self._record(slice_, outcome, undone={vm.vm_id for vm in begun}, unfinished=open_)
        outcome.require_success(slice_, _told(UNFINISHED, begun, open_))

    def _undo(self, report: Report, failed: Collection[str]) -> set[str]:
        """Undo a change on hosts where it failed; return those on which that failed, too."""
        others = {step.host for step in report.plan.steps}.difference(failed)
        return _failed(self._change.runner.run(elsewhere(report.rollback(), others), keep_going=True))

    def _run(self, slice_: Slice, switching: Callable[[], Switching]) -> _Outcome:
        plan = self._change.deployment.power_plan
        report = self._change.run_on_free_ports(slice_, lambda: plan(slice_, switching()))
        return _Outcome(report, self._change.pids_of(slice_, report))

    def _record(
        self, slice_: Slice, outcome: _Outcome, *, undone: Collection[int], unfinished: Collection[int]
    ) -> None:
        """Record the end of a change, or for some VMs that it was undone; others stay unfinished."""
        done = f"The power of VMs of slice {slice_.slice_id} was changed, but that could not be written down"
        with said_first(done), self._change.database.transaction() as state:
            for vm in state.slices[slice_.slice_id].vms:
                if vm.status_before and vm.vm_id not in unfinished:
                    _end(vm, outcome.pids.get(vm.vm_id), undone=vm.vm_id in undone)
            state.recount()


@dataclass(frozen=True)
class _Outcome:
    """The report of a change of power, and the pids of the VMs that run after it, by id."""

    report: Report
    pids: Mapping[int, str]

    @property
    def failed(self) -> set[str]:
        """Return the hosts on which the change failed."""
        return _failed(self.report)

    def require_success(self, slice_: Slice, told: Sequence[str]) -> None:
        """Raise the first failure, with what became of the VMs. An interruption is no failure: the change has ended."""
        if error := next((result.error for result in self.report.failures), None):
            raise error.within("; ".join([str(error), *told]) + way_out([error], slice_))

    def told(self, act: Act, vms: Sequence[VM]) -> list[str]:
        """Return sentences about the VMs on hosts without a failure."""
        here = [vm for vm in vms if vm.worker_ip not in self.failed]
        running = self._named(ROOM) if act == START else set[str]()
        forced = self._named(SWITCHED_OFF) if act.seconds else set[str]()
        parts = {
            act.done: [vm.name for vm in here if vm.name not in running],
            "ran already": [vm.name for vm in here if vm.name in running],
            f"{DISOBEYED} within {act.seconds} s": [vm.name for vm in here if vm.name in forced],
        }
        return [f"{what}: {', '.join(names)}" for what, names in parts.items() if names]

    def _named(self, answer: str) -> set[str]:
        """Return the names of VMs in the answers of this name."""
        answers = (result.answers for result in self.report.results)
        return {name for each in answers if answer in each for name in each[answer].stdout.split()}


def _failed(report: Report) -> set[str]:
    return {result.step.host for result in report.failures}


def _told(what: str, vms: Iterable[VM], ids: Collection[int]) -> list[str]:
    names = [vm.name for vm in vms if vm.vm_id in ids]
    return [f"{what}: {', '.join(names)}"] if names else []


def _give_back_disk(vm: VM) -> None:
    if old := vm.old_disk:
        vm.disk_id, vm.password, vm.host_secret = old.disk_id, old.password, old.host_secret


def _with_old_disk(vm: VM) -> VM:
    """Return a copy of `vm` as it was before its reset."""
    before = copy(vm)
    _give_back_disk(before)
    return before


def _end(vm: VM, pid: str | None, *, undone: bool) -> None:
    """Record the end of a change of `vm`, or that it was undone."""
    if undone:
        vm.status = vm.status_before or vm.status
        _give_back_disk(vm)
    elif vm.old_disk:
        vm.snapshots = []
    vm.status_before = vm.old_disk = vm.restoring = None
    vm.pid = None if vm.stopped else pid or vm.pid
