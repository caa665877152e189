"""Write off a worker that is dead for good: its VMs are lost, and their slices go on without it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, replace

from accounts.audit import Audit, AuditEntry, operator
from core.errors import CloudError, HostUnreachable, Refused
from core.inventory import Worker
from core.status import SliceStatus
from database import Store
from lifecycle.changes import Changes
from lifecycle.discovery import Discovery
from lifecycle.losses import CHANGE_ENDED, Loss, losses, place_again, write_off
from remote.events import Listener, ignore
from remote.host import Host
from remote.host_keys import KeyRefused
from remote.known_hosts import forget
from remote.plan import Command, Plan, Stage, Step
from remote.runner import Runner
from storage.state import State

WRITTEN_OFF = "it was written off"


@dataclass(frozen=True)
class Remains:
    """The reason why a worker cannot be used, and the losses of each slice with it."""

    problem: str
    losses: tuple[Loss, ...]


@dataclass(frozen=True)
class WrittenOff:
    """The results for the slices of a worker, as sentences. `unfinished`: tasks that are left, with their ways out."""

    done: tuple[str, ...]
    unfinished: tuple[str, ...]


class Hosts:
    """Writes off workers that do not come back."""

    def __init__(
        self,
        database: Store,
        discovery: Discovery,
        connect: Callable[[str], Host],
        audit: Audit,
    ) -> None:
        self._database = database
        self._discovery = discovery
        self._connect = connect
        self._audit = audit

    def examine(self, address: str) -> Remains:
        """Return the losses with a worker; raise `Refused` where it may not be written off."""
        problem = self._require_dead(address)
        return Remains(problem, tuple(losses(self._database.load(), address)))

    def forget(self, address: str, listen: Listener = ignore) -> WrittenOff:
        """Write off the VMs of a worker, and finish the deletions that waited for it."""
        with self._audit.noted(AuditEntry(operator(), "forget host"), announced=True) as entry:
            self._require_dead(address)
            self._discovery.workers()  # the other workers may have room
            lost, unplaced = self._write_off(address)
            for loss in lost:
                self._audit.write(
                    AuditEntry(operator(), "forget host", loss.slice_id), f"{address}: {loss.sentence}", 0.0
                )
            done = [f"{loss.title}: {_told(loss, unplaced)}" for loss in lost if loss.status != SliceStatus.DELETING]
            deleted, left = self._delete([loss for loss in lost if loss.status == SliceStatus.DELETING], listen)
            entry.result = f"{address}: {len(lost)} {'slice' if len(lost) == 1 else 'slices'} written off"
        return WrittenOff((*done, *deleted), (*unplaced.values(), *left))

    def forget_key(self, address: str) -> None:
        """Forget the key of a host that was installed again; the next manager that connects remembers the new one."""
        with self._audit.noted(AuditEntry(operator(), "forget host key")) as entry:
            ssh = self._database.load().inventory.ssh
            try:
                if not forget(self._database.shared_keys, ssh.known_hosts, address, ssh.port):
                    raise Refused(f"No key of {address} is known; nothing was changed")
            except KeyRefused as fault:
                raise Refused(str(fault)) from fault
            entry.result = address

    def _write_off(self, address: str) -> tuple[list[Loss], dict[int, str]]:
        """Change the file in one transaction. Return the losses, and by slice why VMs have no place yet."""
        with ExitStack() as claims:
            claimed = {loss.slice_id for loss in losses(self._database.load(), address)}
            for slice_id in sorted(claimed):
                claims.enter_context(self._database.claim(slice_id))
            with self._database.transaction() as state:
                lost = losses(state, address)
                _require_claimed(claimed, lost)
                worker = state.workers.get(address, Worker())
                state.workers[address] = replace(worker, up=False, problem=WRITTEN_OFF, forgotten=True)
                for loss in lost:
                    write_off(state, state.slices[loss.slice_id], address)
                problems = {loss.slice_id: self._place(state, loss) for loss in lost}
                state.recount()
        return lost, {slice_id: problem for slice_id, problem in problems.items() if problem}

    def _place(self, state: State, loss: Loss) -> str:
        if loss.status == SliceStatus.DELETING:
            return ""
        problems = place_again(state, state.slices[loss.slice_id])
        return f"slice {loss.slice_id}: {'; '.join(problems)}" if problems else ""

    def _delete(self, deleting: list[Loss], listen: Listener) -> tuple[list[str], list[str]]:
        """Finish deletions. Return sentences about finished ones, and about those that another host stops."""
        done, left = [], []
        changes = Changes(self._database, self._connect)
        for loss in deleting:
            try:
                with changes.of(loss.slice_id, listen) as change:
                    slice_ = change.state.slices.get(loss.slice_id)
                    if slice_ and slice_.status == SliceStatus.DELETING:
                        change.delete(slice_)
                done.append(f"slice {loss.slice_id} of {loss.owner} is deleted")
            except CloudError as error:
                left.append(str(error))
        return done, left

    def _require_dead(self, address: str) -> str:
        """Return why a worker cannot be used; raise `Refused` for the network node and unknown or working hosts."""
        state = self._database.load()
        if address in state.inventory.network_nodes:
            raise Refused(
                f"{address} is the network node: start another machine under its address, or name another one in "
                "network_node and in the section in_use; then repair the running slices and delete again what is being "
                "deleted"
            )
        if not _is_known(state, address):
            raise Refused(f"No worker {address} is known: no workers_list names it, and no VM is on it")
        step = Step(address, "presence", (Command(("true",), as_user=True),))
        seconds = state.inventory.ssh.timeouts.read_only
        plan = Plan((Stage("look", (step,)),), timeout=seconds, deadline=seconds, repeatable=True)
        report = Runner(self._connect).run(plan)
        if not isinstance(report.error, HostUnreachable):
            raise Refused(
                f"{address} answers, and its VMs may run: delete the slices that are on it, which clears it, or switch "
                "it off first; nothing was changed"
            )
        return str(report.error)


def _is_known(state: State, address: str) -> bool:
    return (
        address in state.inventory.all_workers
        or address in state.workers
        or bool(state.slices.taken.slices_on(address))
    )


def _require_claimed(claimed: Collection[int], lost: list[Loss]) -> None:
    for loss in lost:
        if loss.slice_id not in claimed:
            raise Refused(f"Slice {loss.slice_id} came to this host just now; try again")


def _told(loss: Loss, unplaced: Collection[int]) -> str:
    parts = []
    if loss.is_changing:
        parts.append(CHANGE_ENDED)
    if loss.pending:
        parts.append(f"{', '.join(loss.pending)} not added")
    if loss.vms:
        where = "not all placed again yet" if loss.slice_id in unplaced else "placed again on other workers"
        parts.append(f"{', '.join(loss.vms)} lost, {where}")
        makes_disks = {
            SliceStatus.CREATING: "finishing the creation makes new disks",
            SliceStatus.DESIGN: "a deployment makes new disks",
        }
        parts.append(makes_disks.get(loss.status, "a repair starts them again, with new disks"))
    return "; ".join(parts)
