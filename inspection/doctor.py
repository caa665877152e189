"""The doctor: all hosts against the whole database, and the removal of what belongs to no slice."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from accounts.audit import Audit, Entry, operator
from core.errors import CloudError
from core.status import SliceStatus
from database import Database
from inspection import findings, orphans
from inspection.findings import Finding
from inspection.inspector import Inspector, Look, Survey
from inspection.orphans import Orphan, Owners
from remote.plan import Step
from remote.runner import Runner
from storage.state import State


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found: sentences about what `--fix` would remove, and about what it did."""

    findings: tuple[Finding, ...]
    unseen: tuple[str, ...]
    removable: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    not_removed: tuple[str, ...] = ()


class Doctor:
    """Compares the hosts with the whole file, and removes what has no slice."""

    def __init__(self, database: Database, inspector: Inspector, runner: Runner, audit: Audit) -> None:
        self._database = database
        self._inspector = inspector
        self._runner = runner
        self._audit = audit

    def examine(self) -> Diagnosis:
        """Everything that is wrong, on all hosts; nothing is changed."""
        slices = self._database.load().slices.values()
        survey = self._inspector.survey(slices, self._inspector.inventory.hosts, thorough=True)
        lost = self._orphans(Owners(self._inspector.comparison, survey.slices, survey.is_busy), survey.look)
        found = (*self._found(survey), *(orphan.finding for orphan in lost))
        # That the switch is down is said once, not once for each slice.
        once = {(finding.code, finding.host, finding.what): finding for finding in reversed(found)}
        marks = [_mark(host) for host in self._forgotten(self._database.load()) if host in survey.look.sights]
        removable = (*(_sentence(step) for orphan in lost for step in orphan.steps), *marks)
        return Diagnosis(tuple(once.values())[::-1], tuple(survey.look.errors), removable)

    def fix(self, agreed: Collection[str] | None = None) -> Diagnosis:
        """Remove what carries our mark and belongs to no slice; what is wrong besides is told as by `examine`.

        With `agreed`, what an earlier look called `removable`, nothing else is removed.

        The file is locked meanwhile: nobody can make a slice, or begin to change one, between the look and the removal.
        """
        with self._audit.noted(Entry(operator(), "remove orphans"), announced=True) as entry:
            removed, left = self._remove(agreed)
            if removed or left:
                entry.result = "; ".join((f"{len(removed)} removed", *left))
        after = self.examine()
        return replace(after, removed=removed, not_removed=left)

    def _remove(self, agreed: Collection[str] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Sentences about what was removed, and about what could not be."""
        with self._database.transaction() as state:
            began = time.monotonic()
            look = self._inspector.look(self._inspector.inventory.hosts, thorough=True)
            owners = Owners(self._inspector.comparison, state.slices.values(), self._database.is_claimed)
            found = self._orphans(owners, look)
            steps = (step for orphan in found for step in orphan.steps)
            wanted = [step for step in steps if agreed is None or _sentence(step) in agreed]
            # As long as two looks for one and the removal together: nobody can change the file meanwhile.
            seconds = 2 * self._inspector.inventory.ssh.timeouts.look
            plan = orphans.removal_plan(wanted, seconds - (time.monotonic() - began))
            report = self._runner.run(plan, keep_going=True)
            failed = {result.step: result.error for result in report.failures if result.error}
            removed = tuple(_sentence(step) for step in plan.steps if step not in failed)
            cleared = self._cleared(state, look, found, removed)
            for host in sorted(cleared):
                if agreed is not None and _mark(host) not in agreed:
                    continue
                state.workers[host] = replace(state.workers[host], forgotten=False, problem="", measured=0.0)
                removed = (*removed, _mark(host))
        return removed, tuple(_not_removed(step.host, step.title, error) for step, error in failed.items())

    def _forgotten(self, state: State) -> list[str]:
        """Return the hosts that were written off, of those that are looked at."""
        return [
            host for host in self._inspector.inventory.hosts if host in state.workers and state.workers[host].forgotten
        ]

    def _cleared(self, state: State, look: Look, found: Sequence[Orphan], removed: Collection[str]) -> set[str]:
        """Return the hosts that were written off, are back, and have nothing of ours any more."""
        left = {o.finding.host for o in found if not o.steps or not {_sentence(step) for step in o.steps} <= {*removed}}
        return {host for host in self._forgotten(state) if host in look.sights and host not in {*left, *look.partly}}

    def _found(self, survey: Survey) -> Iterator[Finding]:
        look, comparison = survey.look, self._inspector.comparison
        yield from look.unseen
        for host in self._forgotten(self._database.load()):
            if host in look.sights:
                yield Finding("host-forgotten", host, "it was written off and answers again")
        yield from findings.shared_folders(look.sights.values())
        for sight in look.sights.values():
            yield from findings.of_host(self._inspector.inventory, sight, look.began, look.ended)
        for slice_ in survey.steady_in(SliceStatus.RUNNING):
            yield from comparison.of_slice(slice_, look.sights)
        for slice_ in survey.steady_in(SliceStatus.DESIGN):
            yield from (finding for sight in look.sights.values() for finding in comparison.overlays(slice_, sight))

    @staticmethod
    def _orphans(owners: Owners, look: Look) -> list[Orphan]:
        return [orphan for sight in look.sights.values() for orphan in orphans.orphans(owners, sight)]


def _mark(host: str) -> str:
    """Return the sentence for the mark that keeps VMs away from a host that was written off."""
    return f"{host}: host-forgotten: the mark that keeps VMs away"


def _sentence(step: Step) -> str:
    return f"{step.host}: {step.title}"


def _not_removed(host: str, title: str, error: CloudError) -> str:
    return f"{host}: {title}: {str(error).removeprefix(f'{host}: ').removeprefix(f'{title}: ')}"
