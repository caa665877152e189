"""A plan as text for readers, at three depths.

Titles say what is made where, and what its undo leaves. Commands can be copied: a POSIX shell that reads them gets the
words of the plan. Scripts show all of it, and each script once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from menu import draw
from menu.lines import Line, line, paragraph
from menu.plan_commands import commands, scripts
from menu.plan_titles import titles
from menu.views import ByWidth
from remote.plan import Plan

PIPE_WIDTH = 80
"""Columns where no terminal says how many it has."""


class Depth(Enum):
    """How much of a plan is shown."""

    TITLES = "titles"
    COMMANDS = "commands"
    SCRIPTS = "scripts"


@dataclass(frozen=True)
class PlanView:
    """A plan at one depth; `purpose` ends the sentence that counts its steps, such as "to deploy slice 1000"."""

    plan: Plan
    depth: Depth = Depth.TITLES
    purpose: str = ""

    def drawn(self) -> draw.RenderableType:
        """Return the lines for the width of the terminal, in colour."""
        return ByWidth(lambda width: draw.Group(*(each.drawn for each in self.shown(width))))

    def lines(self) -> list[str]:
        """Return the lines for a pipe."""
        return [each.text for each in self.shown(PIPE_WIDTH)]

    def shown(self, width: int) -> Iterator[Line]:
        """Yield the lines; none is longer than `width` but those of files, which stay word for word."""
        if not any(stage.steps for stage in self.plan.stages):
            yield line("nothing to do")
            return
        yield from paragraph(f"{_counts(self.plan)} {self.purpose}".rstrip(), "", width)
        if self.depth is Depth.TITLES:
            yield from titles(self.plan, width)
        else:
            yield from commands(self.plan, width, whole=self.depth is Depth.SCRIPTS)
        if self.depth is Depth.SCRIPTS:
            yield from scripts(self.plan)


def _counts(plan: Plan) -> str:
    """Return how many steps make something, how many only check, and on how many hosts."""
    steps = [*plan.steps]
    changes = sum(bool(step.objects) for step in steps)
    hosts = len({step.host for step in steps})
    return f"{_count(changes, 'change')} and {_count(len(steps) - changes, 'check')} on {_count(hosts, 'host')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
