"""Folders that tests read from."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
PLANS = DATA / "plans"
RING_TITLES = DATA / "ring_titles.txt"
SCENARIOS = ROOT / "tests" / "scenarios"
LONGEST_ON_THE_LAB = (
    *(ROOT / "tests" / "lab" / f"test_{name}.py" for name in ("debian", "consoles", "managers", "power")),
    *(ROOT / "tests" / "lab" / f"test_{name}.py" for name in ("drift", "students")),
    SCENARIOS / "test_every_death.py",
    *(
        ROOT / "tests" / "lab" / f"test_{name}.py"
        for name in ("readiness", "wires", "slices", "isolation", "failures", "diagnosis", "stack", "students_reach")
    ),
)
"""The files that take longest on the lab, in this order. They begin, so that the labs end at the same time."""

PROGRAMS = ROOT / "tests" / "support" / "bin"
"""Programs that replace those for root only."""
