"""A plan as text for readers, at three depths.

Titles say what is made where, and what its undo leaves. Commands can be copied: a POSIX shell that reads them gets the
words of the plan. Scripts show all of it, and each script once.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from accounts.rights import way_to_run
from menu.facts import title_for
from menu.lines import Line, line, paragraph
from menu.plan_commands import commands, scripts
from menu.plan_titles import titles
from menu.screen import Screen
from models import Slice
from remote.plan import Plan


class Depth(Enum):
    """How much of a plan is shown."""

    TITLES = "titles"
    COMMANDS = "commands"
    SCRIPTS = "scripts"


def show(screen: Screen, plan: Plan, depth: Depth, slice_: Slice, viewer: str) -> None:
    """Show what deploying a slice does, or repairing it while it runs: both are the same plan."""
    purpose = f"to {way_to_run(slice_)} {title_for(slice_, viewer)}"
    screen.show_lines(lambda width: plan_lines(plan, depth, width, purpose))


def plan_lines(plan: Plan, depth: Depth, width: int, purpose: str = "") -> Iterator[Line]:
    """Yield a plan in lines of at most this width; those of files are longer, as they stay word for word.

    `purpose` ends the sentence that counts the steps, such as "to deploy slice 1000".
    """
    if not any(stage.steps for stage in plan.stages):
        yield line("nothing to do")
        return
    yield from paragraph(f"{_counts(plan)} {purpose}".rstrip(), "", width)
    if depth is Depth.TITLES:
        yield from titles(plan, width)
    else:
        yield from commands(plan, width, whole=depth is Depth.SCRIPTS)
    if depth is Depth.SCRIPTS:
        yield from scripts(plan)


def _counts(plan: Plan) -> str:
    """Return how many steps make something, how many only check, and on how many hosts."""
    steps = [*plan.steps]
    changes = sum(bool(step.objects) for step in steps)
    hosts = len({step.host for step in steps})
    return f"{_count(changes, 'change')} and {_count(len(steps) - changes, 'check')} on {_count(hosts, 'host')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
