"""Compare all hosts with the whole database, and remove objects of ours that belong to no slice."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from accounts.audit import Audit, AuditEntry, operator
from core.errors import CloudError
from core.status import SliceStatus
from database import Store
from inspection import findings, orphans
from inspection.findings import Finding
from inspection.inspector import CollectedFacts, Inspector, Survey
from inspection.orphans import Orphan, Owners
from remote.host import Host
from remote.plan import Step
from remote.runner import Runner
from storage.state import State


@dataclass(frozen=True)
class Diagnosis:
    """The result of the doctor.

    `unseen`: hosts without facts. `removable`: sentences about objects that `--fix` would remove.
    """

    findings: tuple[Finding, ...]
    unseen: tuple[str, ...]
    removable: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    not_removed: tuple[str, ...] = ()


class Doctor:
    """Finds problems on all hosts, and removes objects of ours without a slice."""

    def __init__(self, database: Store, connect: Callable[[str], Host], audit: Audit) -> None:
        self._database = database
        self._connect = connect
        self._audit = audit

    def examine(self) -> Diagnosis:
        """Return all problems on all hosts. This changes nothing."""
        state = self._database.load()
        inspector = self._inspector(state)
        survey = inspector.survey(state.slices.values(), state.inventory.hosts, thorough=True)
        staging = self._database.images_are_claimed()
        owners = Owners(inspector.comparison, survey.slices, survey.is_busy, staging=staging)
        ownerless = self._orphans(owners, survey.collected)
        found = (*self._found(inspector, survey), *(orphan.finding for orphan in ownerless))
        # A dead switch is one problem of its host, not one of each slice.
        once = {(finding.code, finding.host, finding.what): finding for finding in reversed(found)}
        marks = [
            _mark(host) for host in self._forgotten(self._database.load()) if host in survey.collected.facts_by_host
        ]
        removable = (*(_sentence(step) for orphan in ownerless for step in orphan.steps), *marks)
        return Diagnosis(tuple(once.values())[::-1], tuple(survey.collected.errors), removable)

    def fix(self, agreed: Collection[str] | None = None) -> Diagnosis:
        """Remove objects that carry our mark and belong to no slice, then return the problems that are left.

        `agreed` limits the removal to these sentences of an earlier `removable`.

        The file stays locked from the collection to the removal, so that no slice is created or changed in between.
        """
        with self._audit.noted(AuditEntry(operator(), "remove orphans"), announced=True) as entry:
            removed, left = self._remove(agreed)
            if removed or left:
                entry.result = "; ".join((f"{len(removed)} removed", *left))
        after = self.examine()
        return replace(after, removed=removed, not_removed=left)

    def _remove(self, agreed: Collection[str] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return sentences about removed objects, and about objects that could not be removed."""
        with self._database.transaction() as state:
            began = time.monotonic()
            inspector = self._inspector(state)
            collected = inspector.collect(state.inventory.hosts, thorough=True)
            staging = self._database.images_are_claimed()
            owners = Owners(inspector.comparison, state.slices.values(), self._database.is_claimed, staging=staging)
            found = self._orphans(owners, collected)
            steps = (step for orphan in found for step in orphan.steps)
            wanted = [step for step in steps if agreed is None or _sentence(step) in agreed]
            # The file is locked meanwhile, so collection and removal together get the time of two collections.
            seconds = 2 * state.inventory.ssh.timeouts.read_only
            plan = orphans.removal_plan(wanted, seconds - (time.monotonic() - began))
            report = Runner(self._connect).run(plan, keep_going=True)
            failed = {result.step: result.error for result in report.failures if result.error}
            removed = tuple(_sentence(step) for step in plan.steps if step not in failed)
            cleared = self._cleared(state, collected, found, removed)
            for host in sorted(cleared):
                if agreed is not None and _mark(host) not in agreed:
                    continue
                state.workers[host] = replace(state.workers[host], forgotten=False, problem="", measured=0.0)
                removed = (*removed, _mark(host))
        return removed, tuple(_not_removed(step.host, step.title, error) for step, error in failed.items())

    def _inspector(self, state: State) -> Inspector:
        return Inspector(self._database, state.inventory, self._connect)

    @staticmethod
    def _forgotten(state: State) -> list[str]:
        """Return the hosts of the inventory that were written off."""
        return [host for host in state.inventory.hosts if host in state.workers and state.workers[host].forgotten]

    def _cleared(
        self, state: State, collected: CollectedFacts, found: Sequence[Orphan], removed: Collection[str]
    ) -> set[str]:
        """Return the written-off hosts that answer again and hold no object of ours."""
        left = {o.finding.host for o in found if not o.steps or not {_sentence(step) for step in o.steps} <= {*removed}}
        return {
            host
            for host in self._forgotten(state)
            if host in collected.facts_by_host and host not in {*left, *collected.incomplete}
        }

    def _found(self, inspector: Inspector, survey: Survey) -> Iterator[Finding]:
        collected, comparison = survey.collected, inspector.comparison
        yield from collected.error_findings
        for host in self._forgotten(self._database.load()):
            if host in collected.facts_by_host:
                yield Finding("host-forgotten", host, "it was written off and answers again")
        yield from findings.shared_folders(collected.facts_by_host.values())
        for facts in collected.facts_by_host.values():
            yield from findings.of_host(inspector.inventory, facts, collected.began, collected.ended)
        for slice_ in survey.unchanged_in(SliceStatus.RUNNING):
            yield from comparison.of_slice(slice_, collected.facts_by_host)
        for slice_ in survey.unchanged_in(SliceStatus.DESIGN):
            yield from comparison.unfinished(slice_)
            yield from (
                finding for facts in collected.facts_by_host.values() for finding in comparison.overlays(slice_, facts)
            )

    @staticmethod
    def _orphans(owners: Owners, collected: CollectedFacts) -> list[Orphan]:
        return [orphan for facts in collected.facts_by_host.values() for orphan in orphans.orphans(owners, facts)]


def _mark(host: str) -> str:
    """Return a sentence about the mark that keeps VMs away from a written-off host."""
    return f"{host}: host-forgotten: the mark that keeps VMs away"


def _sentence(step: Step) -> str:
    return f"{step.host}: {step.title}"


def _not_removed(host: str, title: str, error: CloudError) -> str:
    return f"{host}: {title}: {str(error).removeprefix(f'{host}: ').removeprefix(f'{title}: ')}"
