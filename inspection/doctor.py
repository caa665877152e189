"""The doctor: all hosts against the whole database, and the removal of what belongs to no slice."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from audit import Audit, Entry, operator
from database import Database, State
from errors import CloudError
from inspection import findings, orphans
from inspection.findings import Finding
from inspection.inspector import Inspector, Look
from inspection.orphans import Orphan, Owners
from remote.plan import Step
from remote.runner import Runner


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found: sentences about what `--fix` would remove, and about what it did."""

    findings: tuple[Finding, ...]
    unseen: tuple[str, ...]
    removable: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    not_removed: tuple[str, ...] = ()


class Doctor:
    """Looks first and reads the file after: what was made in between has its slice in the file then."""

    def __init__(self, database: Database, inspector: Inspector, runner: Runner, audit: Audit) -> None:
        self._database = database
        self._inspector = inspector
        self._runner = runner
        self._audit = audit

    def examine(self) -> Diagnosis:
        """Everything that is wrong, on all hosts; nothing is changed."""
        look = self._inspector.look(self._inspector.inventory.hosts, tools=True)
        state = self._database.load()
        removable = [_sentence(step) for orphan in self._orphans(state, look) for step in orphan.steps]
        return Diagnosis(tuple(self._found(state, look)), tuple(look.errors), tuple(removable))

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
            look = self._inspector.look(self._inspector.inventory.hosts)
            steps = (step for orphan in self._orphans(state, look) for step in orphan.steps)
            plan = orphans.removal_plan(step for step in steps if agreed is None or _sentence(step) in agreed)
            report = self._runner.run(plan, keep_going=True)
        failed = {result.step: result.error for result in report.failures if result.error}
        removed = tuple(_sentence(step) for step in plan.steps if step not in failed)
        return removed, tuple(_not_removed(step.host, step.title, error) for step, error in failed.items())

    def _found(self, state: State, look: Look) -> list[Finding]:
        found = [*look.unseen]
        for sight in look.sights.values():
            found += findings.of_host(self._inspector.inventory, sight, look.began, look.ended)
        for tenant in sorted(state.slices.values(), key=lambda tenant: tenant.slice_id):
            if self._database.is_claimed(tenant.slice_id):
                continue
            if tenant.status == "running":
                found += self._inspector.comparison.of_slice(tenant, look.sights)
            elif tenant.status == "design":
                found += [f for s in look.sights.values() for f in self._inspector.comparison.overlays(tenant, s)]
        found += [orphan.finding for orphan in self._orphans(state, look)]
        # That the switch is down is said once, not once for each slice.
        return list({(f.code, f.host, f.what): f for f in reversed(found)}.values())[::-1]

    def _orphans(self, state: State, look: Look) -> list[Orphan]:
        owners = Owners(self._inspector.comparison, state.slices.values(), self._database.is_claimed)
        return [orphan for sight in look.sights.values() for orphan in orphans.orphans(owners, sight)]


def _sentence(step: Step) -> str:
    return f"{step.host}: {step.title}"


def _not_removed(host: str, title: str, error: CloudError) -> str:
    return f"{host}: {title}: {str(error).removeprefix(f'{host}: ').removeprefix(f'{title}: ')}"
