"""Compare all hosts with the whole database, and remove objects of ours that belong to no slice."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from accounts.audit import Audit, AuditEntry, operator
from core.errors import CloudError
from core.status import SliceStatus
from database import Store
from inspection import findings, orphans
from inspection.findings import Finding
from inspection.inspector import CollectedFacts, Inspector, Survey
from inspection.orphans import Orphan, Owners
from inspection.realms import Inspectors
from models import Slice
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
        state = self._database.load_whole()
        inspectors = self._inspectors(state)
        whole, surveys = inspectors.survey(state.slices.values())
        collected = {realm: survey.collected for realm, survey in surveys.items()}
        ownerless = self._orphans(inspectors, whole.slices, whole.is_busy, collected)
        facts_by_host = {host: facts for each in collected.values() for host, facts in each.facts_by_host.items()}
        found = (*self._found(inspectors, surveys), *(orphan.finding for orphan in ownerless))
        # A dead switch is one problem of its host, not one of each slice.
        once = {(finding.code, finding.host, finding.what): finding for finding in reversed(found)}
        marks = [_mark(host) for host in self._forgotten(self._database.load()) if host in facts_by_host]
        removable = (*(_sentence(step) for orphan in ownerless for step in orphan.steps), *marks)
        unseen = dict.fromkeys(host for each in collected.values() for host in each.errors)
        return Diagnosis(tuple(once.values())[::-1], tuple(unseen), tuple(dict.fromkeys(removable)))

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
            inspectors = self._inspectors(state)
            collected = inspectors.collect()
            found = self._orphans(inspectors, state.slices.values(), self._database.is_claimed, collected)
            steps = dict.fromkeys(step for orphan in found for step in orphan.steps)
            wanted = [step for step in steps if agreed is None or _sentence(step) in agreed]
            # The file is locked meanwhile, so collection and removal together get the time of two collections.
            seconds = 2 * state.inventory.ssh.timeouts.read_only
            plan = orphans.removal_plan(wanted, seconds - (time.monotonic() - began))
            report = Runner(self._connect).run(plan, keep_going=True)
            failed = {result.step: result.error for result in report.failures if result.error}
            removed = tuple(_sentence(step) for step in plan.steps if step not in failed)
            cleared = self._cleared(state, collected.values(), found, removed)
            for host in sorted(cleared):
                if agreed is not None and _mark(host) not in agreed:
                    continue
                state.workers[host] = replace(state.workers[host], forgotten=False, problem="", measured=0.0)
                removed = (*removed, _mark(host))
        return removed, tuple(_not_removed(step.host, step.title, error) for step, error in failed.items())

    def _inspectors(self, state: State) -> Inspectors:
        return Inspectors(self._database, state.inventory_in_use, self._connect)

    @staticmethod
    def _forgotten(state: State) -> list[str]:
        """Return the hosts of all realms that were written off."""
        return [host for host in state.inventory.all_hosts if host in state.workers and state.workers[host].forgotten]

    def _cleared(
        self, state: State, collected: Iterable[CollectedFacts], found: Sequence[Orphan], removed: Collection[str]
    ) -> set[str]:
        """Return the written-off hosts that answer again and hold no object of ours."""
        left = {o.finding.host for o in found if not o.steps or not {_sentence(step) for step in o.steps} <= {*removed}}
        for each in collected:
            left |= {*each.incomplete}
        return {host for host in self._forgotten(state) if host not in left}

    def _found(self, inspectors: Inspectors, surveys: Mapping[str, Survey]) -> Iterator[Finding]:
        everything = [facts for survey in surveys.values() for facts in survey.collected.facts_by_host.values()]
        yield from findings.shared_folders(everything)
        for realm, inspector in inspectors.by_realm.items():
            yield from self._found_in(inspector, surveys[realm])

    def _found_in(self, inspector: Inspector, survey: Survey) -> Iterator[Finding]:
        collected, comparison = survey.collected, inspector.comparison
        yield from collected.error_findings
        for host in self._forgotten(self._database.load()):
            if host in collected.facts_by_host:
                yield Finding("host-forgotten", host, "it was written off and answers again")
        for facts in collected.facts_by_host.values():
            yield from findings.of_host(inspector.inventory, facts, collected.began, collected.ended)
        for slice_ in survey.unchanged_in(SliceStatus.RUNNING):
            yield from comparison.of_slice(slice_, collected.facts_by_host)
        for slice_ in survey.unchanged_in(SliceStatus.DESIGN):
            yield from comparison.unfinished(slice_)
            yield from (
                finding for facts in collected.facts_by_host.values() for finding in comparison.overlays(slice_, facts)
            )

    def _orphans(
        self,
        inspectors: Inspectors,
        slices: Iterable[Slice],
        busy: Callable[[int], bool],
        collected: Mapping[str, CollectedFacts],
    ) -> list[Orphan]:
        """Return the objects without a slice. A worker may serve realms together, a network node serves its own."""
        staging, slices = self._database.images_are_claimed(), list(slices)
        claimed = {slice_.slice_id for slice_ in slices if busy(slice_.slice_id)}
        found: list[Orphan] = []
        for realm, inspector in inspectors.by_realm.items():
            owners = partial(Owners, inspector.comparison, busy=claimed.__contains__, staging=staging)
            own = [slice_ for slice_ in slices if slice_.realm == realm]
            others = [(slice_, _workers_of(slice_)) for slice_ in slices if slice_.realm != realm]
            of_own = owners(own)
            for host, facts in collected[realm].facts_by_host.items():
                also = [slice_ for slice_, workers in others if host in workers or slice_.slice_id in claimed]
                alone = not also or host == inspector.inventory.network_node
                found += orphans.orphans(of_own if alone else owners([*own, *also]), facts)
        return found


def _workers_of(slice_: Slice) -> set[str]:
    """Return the workers of a slice's VMs, also of those that an unfinished change removes."""
    return {vm.worker_ip for design in slice_.designs for vm in design.vms}


def _mark(host: str) -> str:
    """Return a sentence about the mark that keeps VMs away from a written-off host."""
    return f"{host}: host-forgotten: the mark that keeps VMs away"


def _sentence(step: Step) -> str:
    return f"{step.host}: {step.title}"


def _not_removed(host: str, title: str, error: CloudError) -> str:
    return f"{host}: {title}: {str(error).removeprefix(f'{host}: ').removeprefix(f'{title}: ')}"
