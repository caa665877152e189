"""Sum up the findings of a slice in a few sentences, for its owner or for an admin. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from inspection.codes import CODES, RESTART, START

if TYPE_CHECKING:
    from inspection.findings import Finding

SHOWN = 4
"""The number of problems of one slice that the menu shows."""

REPAIR_IT = "11 repairs it"
IN_MENU = {START: "15 starts it", RESTART: "15 restarts it"}
"""Advice in the words of the menu."""

ASK_OPERATOR = "ask the operator"


@dataclass(frozen=True)
class SliceProblems:
    """The problems of one slice, and what to do about them: in words of the menu, and in those of commands."""

    sentences: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()

    def for_commands(self) -> SliceProblems:
        """Return the problems with the advice of a command, which knows no numbers of the menu."""
        return replace(self, advice=self.commands)


def summary(found: Sequence[Finding], *, for_admin: bool) -> SliceProblems:
    """Return the problems, errors first, and advice that the reader can follow.

    Some advice needs root on a host. A student reads to ask the operator instead.
    """
    ordered = sorted(found, key=lambda finding: finding.severity != "error")
    sentences = list(dict.fromkeys(finding.sentence for finding in ordered))
    shown = sentences[:SHOWN]
    if len(sentences) > SHOWN:
        shown.append(f"and {len(sentences) - SHOWN} more problems")
    advice = dict.fromkeys(_advice(finding, for_admin=for_admin) for finding in ordered)
    commands = dict.fromkeys(_command(finding, for_admin=for_admin) for finding in ordered)
    return SliceProblems(tuple(shown), tuple(advice), tuple(commands))


def _advice(finding: Finding, *, for_admin: bool) -> str:
    if finding.is_repairable:
        return REPAIR_IT
    return IN_MENU.get(CODES[finding.code][2]) or _command(finding, for_admin=for_admin)


def _command(finding: Finding, *, for_admin: bool) -> str:
    return finding.advice if for_admin or finding.is_for_owner else ASK_OPERATOR
