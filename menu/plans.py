"""Show a plan as text for readers, at three depths.

Titles name the objects of each step and their undo. Commands can be copied: a POSIX shell reads the words of the plan
from them. Scripts show the whole plan, and each script once.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from menu.lines import Line, line, paragraph
from menu.plan_commands import commands, scripts
from menu.plan_titles import counts, is_removal, titles
from menu.screen import Screen
from menu.texts import counted, title_for
from models import Slice
from remote.plan import Plan


class Depth(Enum):
    """The depth at which a plan is shown."""

    TITLES = "titles"
    COMMANDS = "commands"
    SCRIPTS = "scripts"


def show(screen: Screen, plan: Plan, depth: Depth, slice_: Slice, viewer: str, verb: str) -> None:
    """Show a plan for a slice; `verb` says what the plan does to the slice."""
    purpose = f"to {verb} {title_for(slice_, viewer)}"
    screen.show_lines(lambda width: plan_lines(plan, depth, width, purpose))


def plan_lines(plan: Plan, depth: Depth, width: int, purpose: str = "") -> Iterator[Line]:
    """Yield a plan in lines of at most this width. Lines of files may be longer, because they stay unchanged.

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
    """Return the numbers of steps that make or remove objects, of steps that only check, and of hosts."""
    changes, others, hosts = counts(plan)
    checks = "" if is_removal(plan) else f" and {counted(others, 'check')}"
    return f"{counted(changes, 'change')}{checks} on {counted(hosts, 'host')}"
