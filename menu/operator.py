"""What the operator asks for on the command line: `doctor`, which looks at all hosts, and `prove`."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterable

from menu.proofs import Diagnosis, Hospital, Prover
from menu.screen import BAD, GOOD, WARNING, Screen
from menu.verdict import VerdictView

CLEAN, FOUND, BLIND = 0, 1, 2
"""Exit statuses: nothing found, something found, some host could not be looked at."""


def diagnose(hospital: Hospital, wish: Namespace, screen: Screen) -> int:
    """Carry out `doctor`; the exit status."""
    with screen.waiting("Looking at the hosts"):
        diagnosis = hospital.fix() if wish.fix else hospital.examine()
    if wish.json:
        record = {
            "findings": [finding.record() for finding in diagnosis.findings],
            "unseen": list(diagnosis.unseen),
            "removed": list(diagnosis.removed),
            "not_removed": list(diagnosis.not_removed),
        }
        screen.line(json.dumps(record))
    else:
        _tell(diagnosis, screen)
    if diagnosis.unseen:
        return BLIND
    return FOUND if diagnosis.findings or diagnosis.not_removed else CLEAN


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
