"""Show what became of VMs after a change of power, or of their snapshots."""

from __future__ import annotations

from collections.abc import Sequence

from machines.power import DISOBEYED
from menu.screen import GOOD, WARNING, Screen


def show_told(told: Sequence[str], screen: Screen) -> None:
    """Show what became of VMs, a line for each sentence."""
    for sentence in told:
        color = WARNING if sentence.startswith(DISOBEYED) else GOOD
        screen.line(f"{sentence[0].upper()}{sentence[1:]}", color)
