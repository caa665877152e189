"""Break texts into lines that a view shows: in colour on a terminal, plain on a pipe."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

DIM = "dim"


@dataclass(frozen=True)
class Line:
    """A line in parts, each with its style on a terminal."""

    parts: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """Return the line without styles."""
        return "".join(text for text, _ in self.parts).rstrip()


def line(text: str = "", style: str = "") -> Line:
    """Return a line in one style."""
    return Line(((text, style),))


def paragraph(text: str, indent: str, width: int, style: str = "", head: Line | None = None) -> Iterator[Line]:
    """Yield the text in lines of this width, each after `indent`, or the first one after `head`."""
    begun = head or line(indent)
    used = sum(len(part) for part, _ in begun.parts) - len(indent)
    first, *others = textwrap.wrap(
        text, max(width - len(indent), 1), initial_indent="x" * used, break_on_hyphens=False
    ) or [""]
    yield Line((*begun.parts, (first[used:], style)))
    for each in others:
        yield Line(((indent, ""), (each, style)))


def broken(text: str, width: int) -> list[str]:
    """Return the text in lines of this width, broken at spaces, and within words that are longer."""
    return textwrap.wrap(text, max(width, 1), break_on_hyphens=False)
