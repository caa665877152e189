"""Write parts of Markdown pages: tables, and the line that says where a page comes from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

NOTE = "This page is written by `.venv/bin/python -m docs.reference`. Change the code, not the page."


def page(title: str, *parts: str) -> str:
    """Return a whole page: its title, the note, and the parts with empty lines between."""
    return "\n\n".join((f"# {title}", NOTE, *(part.strip("\n") for part in parts))) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; `|` inside a cell is escaped."""
    lines = [_line(header), _line(["---"] * len(header)), *(_line([_cell(text) for text in row]) for row in rows)]
    return "\n".join(lines)


def code(text: str) -> str:
    """Return `text` as code, or nothing for an empty text."""
    return f"`{text}`" if text else ""


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
