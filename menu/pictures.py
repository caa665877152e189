"""Show the picture of a slice as text: in entry 17, in the command `graph`, and beside the tree of a slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from menu import rich_parts
from menu.screen import clean
from models import Slice

_WIDE = 120
"""Columns of the narrowest terminal that has both."""

_GAP = 4
"""Columns between the tree of a slice and its picture."""


def picture_lines(slice_: Slice, *, utf8: bool) -> list[str]:
    """Return the lines of a slice's picture; without `utf8` they have ASCII only."""
    from topology.picture import as_text, in_ascii, picture_of  # noqa: PLC0415 - not needed for the first prompt

    lines = as_text(picture_of(slice_))
    return lines if utf8 else in_ascii(lines)


def small_picture(slice_: Slice, *, utf8: bool) -> list[str]:
    """Return the wiring diagram with the names of its VMs; nothing where no links can be drawn."""
    from topology.picture import WIDEST_COLUMNS, diagram, in_ascii, picture_of  # noqa: PLC0415 - as above

    ends = {vm_id for link in slice_.links for vm_id, _ in link.ends}
    if not ends or not ends <= {vm.vm_id for vm in slice_.vms} or len(slice_.vms) > WIDEST_COLUMNS:
        return []
    names = [f"{number:>4} {clean(vm.name)}" for number, vm in enumerate(slice_.vms, start=1)]
    lines = [*diagram(picture_of(slice_)), "", *names]
    return lines if utf8 else in_ascii(lines)


@dataclass(frozen=True)
class Beside:
    """A part of the screen, and lines to its right where the terminal is wide enough for both."""

    left: rich_parts.RenderableType
    right: Callable[[bool], list[str]]
    """Returns the lines, for a terminal with or without UTF-8."""

    def __rich_console__(
        self, console: rich_parts.Console, options: rich_parts.ConsoleOptions
    ) -> Iterator[rich_parts.RenderableType]:
        """Yield both, or the left part alone."""
        lines = self.right(options.encoding.startswith("utf")) if options.max_width >= _WIDE else []
        needed = console.measure(self.left, options=options).maximum + _GAP + max(map(len, lines), default=0)
        if not lines or needed > options.max_width:
            yield self.left
            return
        both = rich_parts.Table.grid(padding=(0, _GAP, 0, 0))
        both.add_column()
        both.add_column(no_wrap=True)
        both.add_row(self.left, rich_parts.Text("\n".join(["", *lines])))
        yield both
