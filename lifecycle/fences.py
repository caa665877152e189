"""Raise the fences of claims above those that hosts have seen, after an older copy of the database was restored."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from accounts.audit import Audit, AuditEntry, operator
from core.errors import BadAnswer, InvalidAnswer, figure
from database import State, Store
from remote.host import Host
from remote.plan import Command, Plan, Stage, Step
from remote.runner import Runner
from shell.scripts import load

HIGHEST = 10**15
"""The highest fence that is believed: a million claims a second for thirty years."""

_LIST_FENCES = load("collect/list-fences")
_LOCK = re.compile(r"images|slice-[1-9][0-9]{0,8}")
_ANSWER = "fences"


@dataclass(frozen=True)
class Raised:
    """The highest fence of each lock that a host has seen, and why hosts could not be asked."""

    seen: dict[str, int]
    unseen: dict[str, str]


class Fences:
    """Reads the fences of all hosts, and raises those of the store."""

    def __init__(self, database: Store, connect: Callable[[str], Host], audit: Audit) -> None:
        self._database = database
        self._connect = connect
        self._audit = audit

    def above_all_hosts(self) -> Raised:
        """Let the next claim of each slice have a higher fence than its hosts have seen."""
        with self._audit.noted(AuditEntry(operator(), "raise fences")) as entry:
            state = self._database.load()
            self._database.raise_fences({})  # a store without fences refuses that before a host is asked
            seen: dict[str, int] = {}
            unseen: dict[str, str] = {}
            for result in Runner(self._connect).run(fences_plan(state)).results:
                host, error = result.step.host, result.error
                try:
                    found = {} if error else fences_in(result.answers[_ANSWER].stdout)
                except BadAnswer as fault:
                    found, error = {}, InvalidAnswer(host, str(fault))
                if error:
                    unseen[host] = str(error)
                seen |= {lock: max(fence, seen.get(lock, 0)) for lock, fence in found.items()}
            self._database.raise_fences(seen)
            entry.result = f"{len(seen)} fences seen; {len(unseen)} hosts not asked"
        return Raised(seen, unseen)


def fences_plan(state: State) -> Plan:
    """Return the plan that asks all hosts, also those that have VMs and are not listed any more, for their fences."""
    used = sorted(worker for _, worker in state.slices.taken.places())
    hosts = dict.fromkeys((*state.inventory.all_hosts, *state.workers, *used))
    command = Command(_LIST_FENCES.argv(), name=_ANSWER)
    steps = tuple(Step(host, "fences", (command,)) for host in hosts)
    seconds = state.inventory.ssh.timeouts.read_only
    return Plan((Stage("look", steps),), timeout=seconds, deadline=seconds, repeatable=True)


def fences_in(text: str) -> dict[str, int]:
    """Return the fence of each lock in a host's answer; raise `BadAnswer` for another answer."""
    return dict(_fences(text.splitlines()))


def _fences(lines: Iterable[str]) -> Iterable[tuple[str, int]]:
    for line in lines:
        lock, _, number = line.partition(" ")
        if not _LOCK.fullmatch(lock):
            raise BadAnswer("it names a fence of no lock of ours")
        yield lock, figure(number, "is no fence", 0, HIGHEST)
