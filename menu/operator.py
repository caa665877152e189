"""Carry out the operator's commands for all hosts: `doctor` and `prove`."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from core.errors import Refused
from menu.keyboard import Keyboard
from menu.prompts import Back, Prompts
from menu.screen import BAD, GOOD, WARNING, Screen
from menu.verdict import VerdictView

if TYPE_CHECKING:
    from inspection.doctor import Diagnosis, Doctor
    from inspection.isolation.prover import Prover

CLEAN, FOUND, BLIND = 0, 1, 2
"""Exit statuses: no findings, findings, a host whose facts are unknown."""


NEEDS_YES = (
    "doctor --fix removes every VM and disk that the database does not name. Read the findings of doctor first, and "
    "check that --database is the right file. Without a terminal to ask on, it needs --yes"
)


def diagnose(doctor: Doctor, args: Namespace, screen: Screen, keyboard: Keyboard) -> int:
    """Carry out `doctor` and return the exit status. Objects are removed only after a yes to their list."""
    if args.fix and not args.yes and (args.json or not screen.terminal):
        raise Refused(NEEDS_YES)
    with screen.waiting("Looking at the hosts"):
        diagnosis = doctor.fix() if args.fix and args.yes else doctor.examine()
    if args.fix and not args.yes and diagnosis.removable and _confirm(diagnosis.removable, args, screen, keyboard):
        with screen.waiting("Removing"):
            diagnosis = doctor.fix(diagnosis.removable)
    if args.json:
        record = {
            "findings": [finding.record() for finding in diagnosis.findings],
            "unseen": list(diagnosis.unseen),
            "removable": list(diagnosis.removable),
            "removed": list(diagnosis.removed),
            "not_removed": list(diagnosis.not_removed),
        }
        screen.line(json.dumps(record))
    else:
        _show(diagnosis, screen)
    if diagnosis.unseen:
        return BLIND
    return FOUND if diagnosis.findings or diagnosis.not_removed else CLEAN


def _confirm(removable: Sequence[str], args: Namespace, screen: Screen, keyboard: Keyboard) -> bool:
    _show_each(screen, "would be removed", removable, WARNING)
    count = f"{len(removable)} {'object' if len(removable) == 1 else 'objects'}"
    try:
        if Prompts(keyboard, screen, way_back="").yes(f"Remove {count} that {args.database} does not name? (y/n): "):
            return True
    except (Back, EOFError):
        pass
    screen.line("Nothing was removed")
    return False


def _show(diagnosis: Diagnosis, screen: Screen) -> None:
    _show_each(screen, "removed", diagnosis.removed, GOOD)
    _show_each(screen, "not removed", diagnosis.not_removed, BAD)
    for finding in sorted(diagnosis.findings, key=lambda finding: finding.severity):
        style = BAD if finding.severity == "error" else WARNING
        screen.line(f"{finding.severity:7}  {finding.code:20}  {finding.sentence} ({finding.advice})", style)
    count = len(diagnosis.findings)
    if count:
        screen.line(f"{count} {'finding' if count == 1 else 'findings'}")
    else:
        screen.line("Database and hosts agree: no findings", GOOD)


def _show_each(screen: Screen, word: str, sentences: Iterable[str], style: str) -> None:
    for sentence in sentences:
        screen.line(f"{word}: {sentence}", style)


def prove(prover: Prover, args: Namespace, screen: Screen) -> int:
    """Carry out `prove` and return the exit status."""
    with screen.waiting("Looking at the hosts"):
        verdict = prover.prove()
    if args.json:
        rows = [
            {"property": p.title, "checked": p.checked, "breaches": [breach.sentence for breach in p.breaches]}
            for p in verdict.properties
        ]
        screen.line(json.dumps({"properties": rows, "unseen": list(verdict.unseen)}))
    else:
        screen.show(VerdictView(verdict))
    if verdict.breaches:
        return FOUND
    return BLIND if verdict.unseen else CLEAN
