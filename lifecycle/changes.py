"""Change hosts, and record each change in the database: its beginning, its end, or its rollback.

A change has three parts: record its beginning, run its plan without the file's lock, record its result. A manager that
dies in between leaves the status of the first part. From it the same change can be finished or rolled back, because
each step checks on the host which of its objects exist.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from accounts import rights
from allocation.ids import next_vnc_port
from core.errors import BadAnswer, CloudError, HostUnreachable, InvalidAnswer, Refused, printable
from core.status import NetworkStatus, SliceStatus, VMStatus
from database import State, Store
from deployment import DeploymentAPI
from lifecycle import losses
from lifecycle.remains import elsewhere, first_of, left_by, left_to_do, said_first, way_out
from models import NOWHERE, VM, Slice
from remote import interrupts
from remote.events import Listener, Notice
from remote.host import Host
from remote.plan import Plan
from remote.runner import Report, Runner, StepResult
from vm_launcher import PIDS, ROOM, TakenPorts

_LONGEST_NAME, _MOST_NAMES = 32, 200
"""Bounds of the names that a host reports: enough for the TAPs of fifty VMs."""

PORT_CHANGES = 5
"""How often a deployment chooses other VNC ports when foreign programs open the chosen ones."""


class Changes:
    """Gives out changes of slices, of each slice at most one at a time."""

    def __init__(self, database: Store, connect: Callable[[str], Host]) -> None:
        self._database = database
        self._connect = connect

    @contextmanager
    def of(self, slice_id: int, listen: Listener, realm: str = "") -> Iterator[Change]:
        """Claim a slice and yield its change; raise `Refused` when another session has the claim.

        Ctrl-C ends the change between two steps only. `realm` is that of a slice that is not saved yet.
        """
        with self._database.claim(slice_id) as fence, interrupts.held(listen) as interrupted:
            state = self._database.load()
            realm = state.slices[slice_id].realm if slice_id in state.slices else realm
            yield Change(self._database, state, realm, Runner(self._connect, listen, interrupted, fence))


class Change:
    """A change under way. After each method hosts and database agree, or the error says what is left to do.

    `state` is the file as it was read under the claim. Its settings are those of the whole change, rollback included.
    """

    def __init__(self, database: Store, state: State, realm: str, runner: Runner) -> None:
        self.state = state
        self.database = database
        self.deployment = DeploymentAPI(state.inventory_in_use.of_realm(realm))
        self.runner = runner

    def make_disks(self, slice_: Slice, vms: list[VM], *, resumed: bool = False) -> None:
        """Make the overlays of new VMs, which then are in design; if one fails, remove all these VMs.

        A slice in `creating` then is in design as well, or is removed with its VMs. `resumed`: an earlier run may have
        made overlays, so a rollback removes all and not only those of this run.
        """
        vms = self.lay_disks(slice_, vms, resumed=resumed)
        with self.noting_disks(vms) as state:
            stored = state.slices[slice_.slice_id]
            note_disks(stored, vms)
            slice_.status = stored.status

    def lay_disks(self, slice_: Slice, vms: list[VM], *, resumed: bool = False) -> list[VM]:
        """Make the overlays of new VMs, as `make_disks` does, and return these VMs; they stay `pending`."""
        if slice_.status == SliceStatus.CREATING and losses.has_unplaced(slice_):
            with self.database.transaction() as state:
                slice_ = state.slices[slice_.slice_id]
                losses.require_placed(state, slice_)
            vms = rights.pending(slice_)
        plan = self.deployment.disk_plan(slice_, vms, resumed=resumed)
        report = self.runner.run(plan)
        if report.error:
            back = plan.undone("take back") if resumed else report.rollback()
            lost = [r.error for r in report.failures if isinstance(r.error, HostUnreachable)]
            self._forget(self.runner.run(back, keep_going=True), slice_, vms, str(report.error), lost)
            undone = "created" if slice_.status == SliceStatus.CREATING else "added"
            raise report.error.within(f"{report.error}; nothing was {undone}")
        return vms

    @contextmanager
    def noting_disks(self, vms: Iterable[VM]) -> Iterator[State]:
        """Yield the state to record that the disks of these VMs are made."""
        done = f"The disk of {', '.join(vm.name for vm in vms)} is made, but that could not be written down"
        with said_first(done), self.database.transaction() as state:
            yield state

    def forget_vms(self, slice_: Slice, vms: list[VM]) -> None:
        """Remove VMs that were being added, and their overlays."""
        plan = self.deployment.disk_plan(slice_, vms).undone("take back")
        self._forget(self.runner.run(plan, keep_going=True), slice_, vms, "Taken back")

    def deploy(self, slice_: Slice, *, resumed: bool = False) -> Slice:
        """Deploy a slice in `deploying`; if that fails, roll back and return it to `design`.

        `resumed`: as above. The slice's `left` keeps the objects on a host that does not answer.
        """
        if resumed:
            with self.database.transaction() as state:
                slice_ = state.slices[slice_.slice_id]
                losses.require_placed(state, slice_)
        number = secrets.randbits(32)
        report = self.run_on_free_ports(
            slice_, lambda: self.deployment.deploy_plan(slice_, new=not resumed, run=number)
        )
        pids = {} if report.error else self.pids_of(slice_, report, complete=True)
        if report.error:
            kept = self.deployment.design_plan(slice_)
            back = self._undo_running(slice_) if resumed else report.rollback(but=kept)
            left = left_by(self.runner.run(back, keep_going=True))
            sentence = _not_deployed(report.error, left, slice_, changed=bool(back.stages))
            with said_first(sentence):
                self._back_to_design(slice_.slice_id, left)
            raise report.error.within(sentence)
        done = f"The hosts run slice {slice_.slice_id}, but that could not be written down"
        with said_first(done), self.database.transaction() as state:
            stored = state.slices[slice_.slice_id]
            stored.status, stored.left = SliceStatus.RUNNING, []
            for vm in stored.vms:
                vm.status, vm.pid = status_now(vm), pids.get(vm.vm_id)
                vm.lost_with = None
            for network in stored.networks:
                network.status = NetworkStatus.RUNNING
            state.recount()
            return stored

    def repair(self, slice_: Slice) -> list[str]:
        """Bring back missing objects of a running slice, and return the steps that made some.

        A repair never rolls back, because running VMs stay as they are. A host that does not answer stops no other
        host. A lost VM that finds no worker is an error after the repair of the others.
        """
        with self.database.transaction() as state:
            slice_ = state.slices[slice_.slice_id]
            unplaced = losses.place_again(state, slice_)
        number = secrets.randbits(32)
        runs = [self.run_on_free_ports(slice_, lambda: self.deployment.deploy_plan(slice_, run=number))]
        lost = {r.step.host for r in runs[0].failures if isinstance(r.error, HostUnreachable)}
        if lost and not runs[0].interrupted:
            without = self.deployment.deploy_plan(slice_, run=number, absent=lost)
            runs.append(self.runner.run(elsewhere(without, lost)))
        results = [result for report in runs for result in report.results]
        repaired = list(dict.fromkeys(_what_it_did(r) for r in results if _did_something(r)))
        pids = {vm: pid for report in runs for vm, pid in self.pids_of(slice_, report).items()}
        self._note_repaired(slice_, pids, {r.step.host for report in runs for r in report.failures})
        if error := next((report.error for report in runs if report.error), None) or _unplaced(unplaced):
            brought = f"brought back: {', '.join(repaired)}; " if repaired else ""
            advice = f"repair the slice again when that is solved{way_out([error], slice_)}"
            raise error.within(f"{error}; {brought}what runs was left alone; {advice}")
        return repaired

    def run_on_free_ports(self, slice_: Slice, make_plan: Callable[[], Plan]) -> Report:
        """Run a deployment's plan. Where other programs hold VNC ports of its VMs, choose others and run it again.

        A port is found taken before anything is changed on its host. Changes of other hosts are rolled back.
        """
        for _ in range(PORT_CHANGES):
            report = self.runner.run(make_plan())
            taken = {r.step.host: ports for r in report.failures if (ports := self._ports_taken(r))}
            if not taken or report.interrupted:
                break
            self.runner.run(report.rollback(), keep_going=True)
            try:
                self._change_ports(slice_, taken)
            except Refused:  # no port is free, or the file cannot be saved: the report says what failed
                break
        return report

    def _ports_taken(self, result: StepResult) -> TakenPorts | None:
        if ROOM not in result.answers:
            return None
        try:
            return self.deployment.ports_taken(result.answers[ROOM].status, result.answers[ROOM].stdout)
        except BadAnswer as fault:
            result.error = InvalidAnswer(result.step.host, str(fault))
            return None

    def _change_ports(self, slice_: Slice, taken: Mapping[str, TakenPorts]) -> None:
        notices = []
        with self.database.transaction() as state:
            for vm in state.slices[slice_.slice_id].vms:
                here = taken.get(vm.worker_ip)
                if here and vm.vnc_port in here.wanted:
                    old, held = vm.vnc_port, state.slices.taken
                    vm.vnc_port = next_vnc_port(held, here.listening, slice_.realm, vm.worker_ip)
                    notices.append(
                        f"the VNC port of {vm.name} is {vm.vnc_port} now: another program on {vm.worker_ip} holds {old}"
                    )
            ports = {vm.vm_id: vm.vnc_port for vm in state.slices[slice_.slice_id].vms}
        for vm in slice_.vms:
            vm.vnc_port = ports[vm.vm_id]
        for notice in notices:
            self.runner.emit(Notice(notice))

    def pids_of(self, slice_: Slice, report: Report, *, complete: bool = False) -> dict[int, str]:
        """Return the pids of verified VMs, by id. An invalid answer becomes a failure of its step.

        With `complete`, a VM that should run and has no pid is a failure as well.
        """
        results = [r for r in report.results if PIDS in r.answers and not r.error]
        pids: dict[int, str] = {}
        for result in results:
            try:
                pids |= self.deployment.pids(slice_, result.step.host, result.answers[PIDS].stdout)
            except BadAnswer as fault:
                result.error = InvalidAnswer(result.step.host, str(fault), begun=True)
        missing = (vm for vm in slice_.vms if vm.vm_id not in pids and not vm.stays_off)
        silent = {vm.worker_ip for vm in missing} if complete else set()
        for result in results:
            if result.step.host in silent and not result.error:
                result.error = InvalidAnswer(result.step.host, "it names no process of a VM that it runs", begun=True)
        return pids

    def _note_repaired(self, slice_: Slice, pids: Mapping[int, str], failed: Collection[str]) -> None:
        """Record the pids, and the lost VMs that have a disk again.

        A lost VM that stays off has its disk unless its worker is among the `failed` hosts.
        """
        regained = []
        with self.database.transaction() as state:
            for vm in state.slices[slice_.slice_id].vms:
                is_off = vm.stays_off and vm.worker_ip not in {NOWHERE, *failed}
                if vm.lost_with and (vm.vm_id in pids or is_off):
                    regained.append(f"{vm.name} was lost with {vm.lost_with}: it has a new disk on {vm.worker_ip}")
                    vm.status, vm.lost_with = status_now(vm), None
                vm.pid = pids.get(vm.vm_id, vm.pid)
            state.recount()
        for notice in regained:
            self.runner.emit(Notice(notice))

    def take_back_deployment(self, slice_: Slice) -> None:
        """Remove all objects of a deployment but the overlays, and return the slice to `design`."""
        left = left_by(self.runner.run(self._undo_running(slice_), keep_going=True))
        if left:
            raise first_of(left).within(
                f"Slice {slice_.slice_id} is not all taken back: {left_to_do(left, 'try again later', slice_)}"
            )
        self._back_to_design(slice_.slice_id, left)

    def delete(self, slice_: Slice) -> None:
        """Remove a slice in `deleting`. Its `left` keeps objects that could not be removed."""
        plan = self.deployment.deletion_plan(slice_)
        left = left_by(self.runner.run(plan, keep_going=True))
        done = f"The hosts were cleared of slice {slice_.slice_id}, but that could not be written down"
        with said_first(done), self.database.transaction() as state:
            if left:
                state.slices[slice_.slice_id].left = list(left)
            else:
                _drop(state, slice_)
        if left:
            raise first_of(left).within(
                f"Slice {slice_.slice_id} is not all gone: {left_to_do(left, 'delete it again later', slice_)}"
            )

    def _forget(
        self, back: Report, slice_: Slice, vms: list[VM], why: str, unreachable: Sequence[HostUnreachable] = ()
    ) -> None:
        """Remove VMs whose overlays were removed, and a slice that was created with them.

        While an object of theirs is left, they stay `pending`.
        """
        if left := left_by(back):
            with self.database.transaction() as state:
                state.slices[slice_.slice_id].left = list(left)
            raise first_of(left).within(
                f"{why}; not all could be taken back: {left_to_do(left, 'log in again to retry', slice_)}"
            )
        with self.database.transaction() as state:
            stored = state.slices[slice_.slice_id]
            if stored.status == SliceStatus.CREATING:
                _drop(state, stored)
            else:
                drop_vms(state, stored, vms)
            now = time.time()
            for lost in unreachable:
                if lost.host in state.workers:  # no VM is placed there until it answers again
                    worker = state.workers[lost.host]
                    state.workers[lost.host] = replace(worker, up=False, problem=lost.problem, measured=now)
            state.recount()

    def _undo_running(self, slice_: Slice) -> Plan:
        return self.deployment.running_plan(slice_).undone("take back")

    def _back_to_design(self, slice_id: int, left: dict[str, CloudError]) -> None:
        with self.database.transaction() as state:
            stored = state.slices[slice_id]
            stored.status, stored.left = SliceStatus.DESIGN, list(left)
            for vm in stored.vms:
                vm.pid, vm.vnc_secret = None, None


def note_disks(slice_: Slice, vms: Iterable[VM]) -> None:
    """Record that new VMs of a slice have their disks, and are in design."""
    for vm in vms:
        vm.status, vm.lost_with = VMStatus.DESIGN, None
        known = slice_.vm(vm.vm_id)
        if known:
            known.status, known.lost_with = vm.status, None
    if not rights.pending(slice_):
        slice_.left, slice_.status = [], SliceStatus.DESIGN


def status_now(vm: VM) -> VMStatus:
    """Return the status of a VM after the deployment or repair of its slice."""
    return VMStatus.STOPPED if vm.stays_off else VMStatus.RUNNING


def _drop(state: State, slice_: Slice) -> None:
    """Remove a slice that has no objects on hosts any more."""
    user = state.users[slice_.owner]
    user.used_vms = max(0, user.used_vms - len(slice_.vms) - len(slice_.leaving))
    user.slices.remove(slice_.slice_id)
    del state.slices[slice_.slice_id]
    state.recount()


def drop_vms(state: State, slice_: Slice, vms: Sequence[VM]) -> None:
    """Remove VMs that have no objects on hosts any more."""
    gone = {vm.vm_id for vm in vms}
    slice_.vms = [vm for vm in slice_.vms if vm.vm_id not in gone]
    if not rights.pending(slice_):
        slice_.left = []
    user = state.users[slice_.owner]
    user.used_vms = max(0, user.used_vms - len(gone))


def _unplaced(problems: Sequence[str]) -> CloudError | None:
    return CloudError("; ".join(problems)) if problems else None


def _did_something(result: StepResult) -> bool:
    """Return whether a guarded command ran, or one without a guard reports what it made; others only read."""
    ran = ((result.step.do[outcome.action], outcome) for outcome in result.outcomes if outcome.status is not None)
    return any(action.unless or (result.step.objects and outcome.stdout.strip()) for action, outcome in ran)


def _what_it_did(result: StepResult) -> str:
    """Return the title and host of a step, with the objects that its commands report and its title does not name."""
    title, names = result.step.title, sorted(set(result.stdout.split()), key=lambda name: (len(name), name))
    made = ", ".join(printable(name)[:_LONGEST_NAME] for name in names[:_MOST_NAMES] if not title.endswith(f" {name}"))
    return f"{title}{f' ({made})' if made else ''} on {result.step.host}"


def _not_deployed(error: CloudError, left: dict[str, CloudError], slice_: Slice, *, changed: bool) -> str:
    if left:
        advice = "deploy or delete the slice to clean up"
        return f"{error}; not all could be taken back: {left_to_do(left, advice, slice_)}"
    back = "what was done has been taken back" if changed else "nothing was changed"
    return f"{error}{way_out([error], slice_)}; {back} and the slice is in design"
