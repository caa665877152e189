"""Show the isolation proof as a table for a terminal, or as plain lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from menu import rich_parts
from menu.screen import BAD, GOOD, clean

if TYPE_CHECKING:
    from inspection.isolation.proof import Property
    from inspection.isolation.prover import Verdict


@dataclass(frozen=True)
class VerdictView:
    """The isolation proof as a table: property, number of checks, result."""

    verdict: Verdict

    def drawn(self) -> rich_parts.RenderableType:
        """Return a table with the breaches below it."""
        table = rich_parts.Table(
            box=rich_parts.ROUNDED,
            title=rich_parts.Text("Isolation proof", "bold"),
            title_justify="left",
            border_style="dim",
        )
        for column in ("Property", "Checked", "Result"):
            table.add_column(column, overflow="fold", justify="right" if column == "Checked" else "left")
        for each in self.verdict.properties:
            table.add_row(
                clean(each.title), str(each.checked), rich_parts.Text(_result(each), BAD if each.breaches else GOOD)
            )
        return rich_parts.Group(
            table, *(rich_parts.Text(clean(line), BAD) for line in self._breaches()), rich_parts.Text(clean(self._last))
        )

    def lines(self) -> list[str]:
        """Return one line per property, one per breach, and the result."""
        rows = [f"{each.title}: {each.checked} checked, {_result(each)}" for each in self.verdict.properties]
        return [*rows, *self._breaches(), self._last]

    def _breaches(self) -> list[str]:
        found = [f"breach: {breach.sentence}" for each in self.verdict.properties for breach in each.breaches]
        return [*found, *(f"not checked: {host} (the operator's doctor says why)" for host in self.verdict.unseen)]

    @property
    def _last(self) -> str:
        count = self.verdict.breaches
        if count:
            found = f"{count} {'breach' if count == 1 else 'breaches'}"
            return f"Isolation does not hold: {found}. Repairing the slices closes most, and an operator the others"
        seen = " on the hosts that were checked" if self.verdict.unseen else ""
        return f"Isolation holds{seen}: {sum(each.checked for each in self.verdict.properties)} checks"


def _result(each: Property) -> str:
    count = len(each.breaches)
    return "holds" if not count else f"{count} {'breach' if count == 1 else 'breaches'}"
