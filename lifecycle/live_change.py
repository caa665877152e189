"""Change VMs and links of a running slice, and record it: its beginning, its end, or its rollback.

The beginning writes the new design into the slice and keeps the old one beside it. From these two a change that its
manager did not finish can be finished or rolled back: both are the same plan, with the designs exchanged.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from core.errors import CloudError, Refused
from core.status import NetworkStatus, VMStatus
from database import State
from deployment import PREFLIGHT
from lifecycle.changes import Change, status_now
from lifecycle.remains import first_of, left_by, left_to_do, said_first, way_out
from machines import credentials
from models import Before, Slice
from remote.plan import Plan
from remote.runner import Report
from vm_launcher import ENDED

AGAIN, FINISH = "log in again to finish it or take it back", "log in again to finish it"


@contextmanager
def begun(state: State, slice_: Slice) -> Iterator[None]:
    """Record the beginning of a change of a running slice, whose new design the body writes into it."""
    before, there = Before.from_dict(slice_.to_dict()), {vm.vm_id for vm in slice_.vms}
    yield
    slice_.before = before
    new = [vm for vm in slice_.vms if vm.vm_id not in there]
    for vm in new:
        vm.status = VMStatus.DESIGN
    credentials.renew(slice_, new, state.users[slice_.owner].keys)


class LiveChange:
    """A change of a running slice under way."""

    def __init__(self, change: Change) -> None:
        self._change = change

    def carry_out(self, slice_: Slice, *, resumed: bool = False) -> Slice:
        """Bring the hosts to the new design, or roll back and return the slice to the old one.

        `resumed`: an earlier run may have changed hosts.
        """
        before, number = slice_.earlier(), secrets.randbits(32)
        off = self._off_by_themselves(slice_, resumed=resumed)
        plan = self._change.deployment.change_plan
        report = self._change.run_on_free_ports(
            slice_, lambda: plan(before.with_off(off), slice_.with_off(off), run=number)
        )
        pids = {} if report.error else self._change.pids_of(slice_.with_off(off), report, complete=True)
        if report.error:
            raise self._rolled_back(slice_, report, report.error, off, resumed=resumed)
        if slice_.leaving:
            self._remove_disks(before, slice_)
        return self._end(slice_, slice_, pids)

    def take_back(self, slice_: Slice) -> Slice:
        """Bring the hosts back to the old design."""
        if slice_.before and slice_.before.past:
            raise Refused("Disks of VMs that leave may be gone already, which cannot be taken back; finish the change")
        before, report, left = self._run_back(slice_, self._off_by_themselves(slice_, resumed=True))
        if left:
            raise self._left(slice_, left, "The change is not all taken back")
        return self._end(slice_, before, self._change.pids_of(before, report))

    def _off_by_themselves(self, slice_: Slice, *, resumed: bool) -> set[int]:
        """Return the ids of VMs that powered themselves off, so that the change leaves them off.

        A VM that gets other interfaces obeys its power button by the same end, so that a `resumed` change starts it.
        """
        before = slice_.earlier()
        asked = self._change.runner.quiet().run(self._change.deployment.ended_plan(before))
        words = {r.step.host: r.answers[ENDED].stdout.split() for r in asked.results if not r.error}
        stay = [(vm, earlier) for vm in slice_.vms if (earlier := before.vm(vm.vm_id))]
        off = [(vm, earlier) for vm, earlier in stay if str(vm.vm_id) in words.get(vm.worker_ip, ())]
        return {vm.vm_id for vm, earlier in off if not resumed or len(vm.interfaces) == len(earlier.interfaces)}

    def _rolled_back(
        self, slice_: Slice, report: Report, error: CloudError, off: Collection[int], *, resumed: bool
    ) -> CloudError:
        """Roll back a change that failed, and return the error that says what became of the slice."""
        if slice_.before and slice_.before.past:
            return self._left(slice_, left_by(report), "The change is not finished", FINISH)
        checks = [step for stage in report.plan.stages if stage.title == PREFLIGHT for step in stage.steps]
        changed = [result.step for result in report.results if result.changed]
        if not resumed and all(step in checks for step in changed):
            self._end(slice_, slice_.earlier(), None)
            return error.within(f"{error}{way_out([error], slice_)}; nothing was changed")
        before, back, left = self._run_back(slice_, off)
        if left:
            return self._left(slice_, left, f"{error}; not all could be taken back")
        self._end(slice_, before, self._change.pids_of(before, back))
        return error.within(f"{error}{way_out([error], slice_)}; what was done has been taken back")

    def _run_back(self, slice_: Slice, off: Collection[int]) -> tuple[Slice, Report, dict[str, CloudError]]:
        """Bring the hosts back to the old design. Return it, the report, and the objects that are left."""
        before, deployment = slice_.earlier(), self._change.deployment
        plan = _without_checks(deployment.change_plan(slice_.with_off(off), before.with_off(off)))
        report = self._change.runner.run(plan, keep_going=True)
        left = left_by(report)
        made = {f"{result.step.title} on {result.step.host}" for result in report.failures if result.step.objects}
        left = {name: error for name, error in left.items() if name in made} or left
        if not left:
            left = left_by(self._change.runner.run(deployment.disk_removal(slice_, before), keep_going=True))
        return before, report, left

    def _remove_disks(self, before: Slice, slice_: Slice) -> None:
        with self._change.database.transaction() as state:
            stored = state.slices[slice_.slice_id]
            if stored.before:
                stored.before.past = True
        left = left_by(self._change.runner.run(self._change.deployment.disk_removal(before, slice_), keep_going=True))
        if left:
            raise self._left(slice_, left, "All is changed, but not all disks are removed", FINISH)

    def _left(self, slice_: Slice, left: dict[str, CloudError], sentence: str, advice: str = AGAIN) -> CloudError:
        """Record the objects that are left, and return the error that names them."""
        with self._change.database.transaction() as state:
            state.slices[slice_.slice_id].left = list(left)
        return first_of(left).within(f"{sentence}: {left_to_do(left, advice, slice_)}")

    def _end(self, slice_: Slice, design: Slice, pids: Mapping[int, str] | None) -> Slice:
        """Record that the hosts have this one of the two designs, and return the slice.

        `pids` are those of the VMs that were seen to run; None where no host was changed.
        """
        done = f"The hosts were changed for slice {slice_.slice_id}, but that could not be written down"
        with said_first(done), self._change.database.transaction() as state:
            stored = state.slices[slice_.slice_id]
            known = len(stored.vms) + len(stored.leaving)
            stored.vms, stored.links, stored.networks = design.vms, design.links, design.networks
            stored.vlan_pool_used, stored.description = design.vlan_pool_used, design.description
            stored.goals = design.goals
            stored.before, stored.left = None, []
            for vm in stored.vms if pids is not None else ():
                vm.status, vm.pid = status_now(vm), (pids or {}).get(vm.vm_id)
            for network in stored.networks:
                network.status = NetworkStatus.RUNNING
            state.users[stored.owner].used_vms -= known - len(stored.vms)
            state.recount()
            return stored


def _without_checks(plan: Plan) -> Plan:
    """Return a plan without the stage that only looks: a rollback does what it can."""
    return replace(plan, stages=tuple(stage for stage in plan.stages if stage.title != PREFLIGHT))
