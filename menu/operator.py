"""What the operator asks for on the command line: `doctor`, which looks at all hosts, and `prove`."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterable, Sequence

from core.errors import Refused
from menu.keyboard import Keyboard
from menu.prompts import Back, Prompts
from menu.proofs import Diagnosis, Hospital, Prover
from menu.screen import BAD, GOOD, WARNING, Screen
from menu.verdict import VerdictView

CLEAN, FOUND, BLIND = 0, 1, 2
"""Exit statuses: nothing found, something found, some host could not be looked at."""


NOBODY_TO_ASK = (
    "doctor --fix removes every VM and disk that the database does not name: see what doctor finds, and whether "
    "--database is the right file; on a terminal it asks before, elsewhere it needs --yes"
)


def diagnose(hospital: Hospital, wish: Namespace, screen: Screen, keyboard: Keyboard) -> int:
    """Carry out `doctor`; the exit status. Nothing is removed before somebody said yes to a list of it."""
    if wish.fix and not wish.yes and (wish.json or not screen.terminal):
        raise Refused(NOBODY_TO_ASK)
    with screen.waiting("Looking at the hosts"):
        diagnosis = hospital.fix() if wish.fix and wish.yes else hospital.examine()
    if wish.fix and not wish.yes and diagnosis.removable and _agrees(diagnosis.removable, wish, screen, keyboard):
        with screen.waiting("Removing"):
            diagnosis = hospital.fix(diagnosis.removable)
    if wish.json:
        record = {
            "findings": [finding.record() for finding in diagnosis.findings],
            "unseen": list(diagnosis.unseen),
            "removable": list(diagnosis.removable),
            "removed": list(diagnosis.removed),
            "not_removed": list(diagnosis.not_removed),
        }
        screen.line(json.dumps(record))
    else:
        _tell(diagnosis, screen)
    if diagnosis.unseen:
        return BLIND
    return FOUND if diagnosis.findings or diagnosis.not_removed else CLEAN


def _agrees(removable: Sequence[str], wish: Namespace, screen: Screen, keyboard: Keyboard) -> bool:
    _lines(screen, "would be removed", removable, WARNING)
    count = f"{len(removable)} {'thing' if len(removable) == 1 else 'things'}"
    try:
        if Prompts(keyboard, screen).yes(f"Remove {count} that {wish.database} does not name? (y/n): "):
            return True
    except (Back, EOFError):
        pass
    screen.line("Nothing was removed")
    return False


def _tell(diagnosis: Diagnosis, screen: Screen) -> None:
    _lines(screen, "removed", diagnosis.removed, GOOD)
    _lines(screen, "not removed", diagnosis.not_removed, BAD)
    for finding in sorted(diagnosis.findings, key=lambda finding: finding.severity):
        style = BAD if finding.severity == "error" else WARNING
        screen.line(f"{finding.severity:7}  {finding.code:20}  {finding.sentence} ({finding.advice})", style)
    count = len(diagnosis.findings)
    if count:
        screen.line(f"{count} {'finding' if count == 1 else 'findings'}")
    else:
        screen.line("Database and hosts agree: no findings", GOOD)


def _lines(screen: Screen, word: str, sentences: Iterable[str], style: str) -> None:
    for sentence in sentences:
        screen.line(f"{word}: {sentence}", style)


def prove(prover: Prover, wish: Namespace, screen: Screen) -> int:
    """Carry out `prove`; the exit status."""
    with screen.waiting("Looking at the hosts"):
        verdict = prover.prove()
    if wish.json:
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
