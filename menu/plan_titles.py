"""Write the titles of a plan: for each step its objects, and their undo in a word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, zip_longest

from menu.lines import DIM, Line, broken, line, paragraph
from remote.plan import Plan, Stage, Step

UNDO = {
    "removed": "",
    "kept": "for other slices",
    "shared": "until its last slice",
    "implied": "by another undo",
}
"""The words of the last column, each with its explanation."""

_NARROW = 64
"""Columns; on fewer, the cells of a step stand below each other."""

_LONGEST_TITLE = 26
_GAP = "  "
_NUMBER = re.compile(r"[0-9]+")


def titles(plan: Plan, width: int) -> Iterator[Line]:
    """Yield a line for each step that makes or removes something; the checks between them stand together."""
    changes = [step for step in plan.steps if step.objects]
    removal = is_removal(plan)
    table = _Table(changes, width, removal=removal)
    yield from table.heading()
    for stage in plan.stages:
        if not stage.steps:
            continue
        only_checks = not any(step.objects for step in stage.steps)
        yield Line(((stage.title, "bold"), (" (only checks)" if only_checks else "", DIM)))
        for hosts, steps in _places(stage):
            yield from table.place(hosts, steps, "if left: " if removal else "" if only_checks else "checks: ")
    words = dict.fromkeys(table.end_of(step) for step in changes)
    if legend := "; ".join(f"{word}: {UNDO[word]}" for word in words if UNDO[word]):
        yield from paragraph(legend, "", width, DIM)


def counts(plan: Plan) -> tuple[int, int, int]:
    """Return the numbers of steps that make or remove objects, of steps that only check, and of hosts."""
    steps = [*plan.steps]
    changes = len([step for step in steps if step.objects])
    return changes, len(steps) - changes, len({step.host for step in steps})


def is_removal(plan: Plan) -> bool:
    """Return whether a plan is the undo of another plan: its steps have objects and no undo."""
    steps = [*plan.steps]
    return any(step.objects for step in steps) and not any(step.undo for step in steps)


def _places(stage: Stage) -> Iterator[tuple[str, tuple[Step, ...]]]:
    """Yield hosts with their steps, and together those that are only checked, in the same way."""

    def alike(entry: tuple[str, tuple[Step, ...]]) -> tuple[str, ...]:
        host, steps = entry
        return (host,) if any(step.objects for step in steps) else tuple(step.title for step in steps)

    for _, entries in groupby(stage.by_host.items(), alike):
        hosts, steps = zip(*entries, strict=True)
        yield ", ".join(hosts), steps[0]


class _Table:
    """The columns title, objects and undo; the widths are those that the steps which make something need.

    A `removal` has no undo: its last column says which objects stay for other slices.
    """

    def __init__(self, changes: Sequence[Step], width: int, *, removal: bool) -> None:
        self._width = width
        self._removal = removal
        self._indent = _GAP * 2
        self._title = min(max((len(step.title) for step in changes), default=0), _LONGEST_TITLE)
        undo = max((len(self.end_of(step)) for step in changes), default=0)
        room = width - len(self._indent) - self._title - undo - 2 * len(_GAP)
        self._objects = min(room, max((len(_fitting(step.objects, room)) for step in changes), default=0))
        self._has_rows = bool(changes) and width >= _NARROW

    def heading(self) -> Iterator[Line]:
        """Yield the names of the columns."""
        if self._has_rows:
            heading = ("removes", "") if self._removal else ("makes", "undo")
            yield self._row("step", *heading, DIM)

    def end_of(self, step: Step) -> str:
        """Return in a word what becomes of the objects of a step at the end of the slice."""
        if not self._removal:
            return _undo_word(step)
        return "shared" if step.lock else "removed"

    def place(self, host: str, steps: Iterable[Step], verb: str) -> Iterator[Line]:
        """Yield what happens on a host; checks that come first stand beside its name, after `verb`."""
        head: Line | None = line(f"{_GAP}{host}{_GAP}", "cyan")
        if len(host) > self._width // 2:  # many hosts, which leave no room beside them
            yield from paragraph(host, _GAP, self._width, "cyan")
            head = None
        for makes, group in groupby(steps, lambda step: bool(step.objects)):
            alike = [*group]
            if makes and head:
                yield head
            if makes:
                yield from self._changes(alike)
            else:
                checks = verb + ", ".join(step.title for step in alike)
                yield from paragraph(checks, self._indent, self._width, DIM, head)
            head = None

    def _changes(self, steps: Iterable[Step]) -> Iterator[Line]:
        """Yield the row of each step; what is too long for its cell goes on in the next line."""
        for step in steps:
            if not self._has_rows:
                yield from paragraph(f"{step.title}: {self.end_of(step)}", self._indent, self._width)
                room = self._width - len(self._indent) - len(_GAP)
                yield from paragraph(_fitting(step.objects, room), self._indent + _GAP, self._width, "green")
                continue
            objects = broken(_fitting(step.objects, self._objects), self._objects)
            cells = zip_longest(broken(step.title, self._title), objects, [self.end_of(step)], fillvalue="")
            yield from (self._row(*texts) for texts in cells)

    def _row(self, title: str, objects: str, undo: str, style: str = "") -> Line:
        title, objects = f"{self._indent}{title:{self._title}}{_GAP}", f"{objects:{self._objects}}{_GAP}"
        return Line(((title, style), (objects, style or "green"), (undo, DIM)))


def _undo_word(step: Step) -> str:
    """Return in a word what becomes of the objects of a step when it is undone."""
    if step.residue or (step.lock and not step.undo):
        return "kept"
    if not step.undo:
        return "implied"
    return "shared" if step.lock else "removed"


def _fitting(objects: Sequence[str], width: int) -> str:
    """Return as many of the objects as one line holds, and the number of the others."""
    runs = _runs(objects)
    shown = len(runs)
    while len(text := _listed(runs, shown)) > width and shown > 1:
        shown -= 1
    return text


def _listed(runs: Sequence[list[str]], shown: int) -> str:
    names, others = ", ".join(map(_spelled, runs[:shown])), sum(map(len, runs[shown:]))
    return f"{names} and {others} more" if others else names


def _runs(objects: Iterable[str]) -> list[list[str]]:
    """Return the names in runs: in each of them one number counts up."""
    runs: list[list[str]] = []
    for name in objects:
        run = next((run for run in runs if _spelled([*run, name])), None)
        if run is None:
            runs.append([name])
        else:
            run.append(name)
    return runs


def _spelled(run: Sequence[str]) -> str:
    """Return a run of names as a shell reads it, such as `tap_1000_eth{0..2}`, or "" where the names are no run."""
    first, *others = run
    if not others:
        return first
    for number in _NUMBER.finditer(first):
        head, tail, low = first[: number.start()], first[number.end() :], int(number[0])
        if [f"{head}{low + place}{tail}" for place in range(len(run))] == [*run]:
            return f"{head}{{{low}..{low + len(others)}}}{tail}"
    return ""
