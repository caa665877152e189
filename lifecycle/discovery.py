"""Measure cores, memory and disk of the workers, for placement and for views of quota and resources.

The database keeps measurements with their time. After a minute one session measures again for all sessions. It holds a
claim, which the kernel releases when the session dies.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import replace

from allocation.measuring import RESOURCES
from allocation.placement import NoRoom
from core.errors import (
    UNUSABLE,
    BadAnswer,
    CloudError,
    CommandFailed,
    FileFault,
    HostUnreachable,
    InvalidAnswer,
    Refused,
    printable,
)
from core.inventory import Worker
from database import State, Store
from deployment import DeploymentAPI
from remote.runner import Runner, StepResult

CLEAR_FIRST = "it was written off and answers again; it gets VMs when cli.py doctor --fix has cleared it"

FRESH_SECONDS = 60.0
"""A measurement of this age still counts at login and for placement."""

CLAIM_WAIT_S = 30.0
"""Longer than a session measures, even if hosts are silent."""

Clock = Callable[[], float]


def _now() -> float:
    return time.time()


class Discovery:
    """Measures workers of the inventory, all at once, and keeps the results in the database.

    `clock` returns seconds since 1970, which several processes and boots share. A measurement from the future, left by
    a clock that was set back, counts as old.
    """

    def __init__(self, database: Store, runner: Runner, clock: Clock = _now) -> None:
        self._database = database
        self._runner = runner
        self._clock = clock

    def workers(self) -> dict[str, Worker]:
        """Measure all workers now and return them by address.

        Workers that another session measures now are not measured twice. A worker that does not answer keeps its last
        measurement, with the reason why it is down.
        """
        return self._measure(self._clock(), CLAIM_WAIT_S)

    def known(self) -> dict[str, Worker]:
        """Return the workers with measurements of the last minute. Older ones are measured again first.

        While another session measures, return the kept measurements without waiting.
        """
        return self._measure(self._clock() - FRESH_SECONDS, 0.0)

    def refresh(self, chosen: Callable[[State], Collection[str]]) -> None:
        """Measure the workers that `chosen` names for new VMs, unless they were measured within the last minute.

        Only these workers get a connection, because the VMs' disks are made there next. If one is down or full,
        `chosen` names others. Where it finds no room, workers that are down or have old measurements are measured.
        Measurements without a time, from older versions of the file, count as they are.
        """
        state = self._database.load()
        for _ in range(len(state.inventory.all_workers) + 1):
            since = self._clock() - FRESH_SECONDS
            old = [a for a in self._older(state, since) if a not in state.workers or state.workers[a].measured]
            down = [address for address, worker in _listed(state).items() if not worker.up]
            if not old and not down:
                return
            try:
                stale = [address for address in chosen(state) if address in old]
            except NoRoom:
                self._note(self._answers(state, dict.fromkeys((*old, *down))))
                return
            if not stale:
                return
            self._note(self._answers(state, stale))
            state = self._database.load()

    def _measure(self, since: float, wait_s: float) -> dict[str, Worker]:
        """Measure the workers that were not measured after `since`, unless another session measures now."""
        state = self._database.load()
        if not self._older(state, since) and not _gone(state):
            return _listed(state)
        try:
            with self._database.claim_measuring(wait_s):
                state = self._database.load()
                return self._note(self._answers(state, self._older(state, since)))
        except FileFault:  # neither claim nor file can be written: the answers are for this session only
            return _merged(self._database.load(), self._answers(state, self._older(state, since)))
        except Refused:
            return _listed(self._database.load())

    def _older(self, state: State, since: float) -> list[str]:
        """Return the listed workers without a measurement between `since` and now."""
        now, workers = self._clock(), state.workers
        addresses = state.inventory.all_workers
        return [a for a in addresses if a not in workers or not since <= workers[a].measured <= now]

    def _answers(self, state: State, addresses: Iterable[str]) -> dict[str, Worker]:
        report = self._runner.run(DeploymentAPI(state.inventory).discovery_plan(addresses))
        return {result.step.host: self._measured(result) for result in report.results}

    def _note(self, found: dict[str, Worker]) -> dict[str, Worker]:
        """Keep measurements and return all workers, also where the file cannot be saved."""
        kept: dict[str, Worker] = {}
        with suppress(FileFault), self._database.transaction() as state:
            kept = _merged(state, found)
        return kept or _merged(self._database.load(), found)

    def _measured(self, result: StepResult) -> Worker:
        """Return the worker by its answer. A worker with an invalid answer gets no VMs."""
        now = self._clock()
        seen = int(now * 1000) / 1000  # rounded up, it would be from the future
        try:
            if not result.error:
                return replace(DeploymentAPI.measured(result.answers[RESOURCES].stdout, now), measured=seen)
            error: CloudError = result.error
        except BadAnswer as fault:
            error = InvalidAnswer(result.step.host, str(fault))
        if isinstance(error, HostUnreachable):
            return Worker(up=False, problem=error.problem, measured=seen)
        said = str(error).removeprefix(f"{error.host}: ") if isinstance(error, CommandFailed) else str(error)
        return Worker(up=False, problem=f"{UNUSABLE}: {printable(said)}", measured=seen)


def _gone(state: State) -> list[str]:
    listed = set(state.inventory.all_workers)
    return [address for address, worker in state.workers.items() if address not in listed and not worker.forgotten]


def _listed(state: State) -> dict[str, Worker]:
    return {address: state.workers[address] for address in state.inventory.all_workers if address in state.workers}


def _merged(state: State, found: dict[str, Worker]) -> dict[str, Worker]:
    """Put measurements into the state, remove workers that are no longer listed, and return the listed ones."""
    for address, worker in found.items():
        known = state.workers.get(address, Worker())
        if not worker.up:
            state.workers[address] = replace(known, up=False, problem=worker.problem, measured=worker.measured)
        elif known.forgotten:  # its old VMs would meet new ones
            state.workers[address] = replace(worker, up=False, forgotten=True, problem=CLEAR_FIRST)
        else:
            state.workers[address] = worker
    for address in _gone(state):
        del state.workers[address]
    state.recount()
    return _listed(state)
