"""Folders that tests read from."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
PLANS = DATA / "plans"
RING_TITLES = DATA / "ring_titles.txt"
SCENARIOS = ROOT / "tests" / "scenarios"
PROGRAMS = ROOT / "tests" / "support" / "bin"
"""Programs that replace those for root only."""
