"""Check the words of an answer before they become facts: a host may lie. Pure."""

from __future__ import annotations

from typing import Any

from core.errors import BadAnswer, figure

LONGEST_LINE = 4096
"""Characters of a line that is searched by a pattern or kept; flows of slices and rules are far shorter."""

LONGEST_NAME = 255


def line(text: str, longest: int = LONGEST_LINE) -> str:
    """Return `text`, or raise `BadAnswer` if it has more than `longest` characters."""
    if len(text) > longest:
        raise BadAnswer(text[:40])
    return text


def name(value: Any) -> str:
    """Return `value`, or raise `BadAnswer` if it is no text, too long or not printable."""
    if not isinstance(value, str) or len(value) > LONGEST_NAME or not value.isprintable():
        raise BadAnswer("a name")
    return value


def number(text: str, highest: int) -> int:
    """Return `text` as a number from 0 to `highest`, or raise `BadAnswer`."""
    return figure(text, "is out of range", 0, highest)
