"""Faults of a slice file: all of them at once, each with its line and a way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from core.errors import Refused

MOST_SHOWN = 50
MOST_GUESSED = 20


class Fault(NamedTuple):
    """A line of the file, and a sentence that says what is wrong there and what to write."""

    line: int
    sentence: str


class BadSliceFile(Refused):
    """A slice file that breaks rules: `faults` in the order of the lines."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = sorted(set(faults))
        more = len(self.faults) - MOST_SHOWN
        shown = [f"line {line}: {sentence}" for line, sentence in self.faults[:MOST_SHOWN]]
        super().__init__("\n".join([*shown, f"and {more} more faults"] if more > 0 else shown))


@dataclass
class FoundFaults:
    """The faults that a reader has found so far."""

    faults: list[Fault] = field(default_factory=list)

    def add(self, line: int, sentence: str) -> None:
        """Note a fault."""
        self.faults.append(Fault(line, sentence))

    def guess(self, word: str, known: Iterable[str]) -> str:
        """Return "; did you mean `...`?" where a known word is near, or an empty string.

        A comparison with 1,000 words takes a moment, so only the first faults have a guess.
        """
        near = difflib.get_close_matches(word[:60], list(known), n=1) if len(self.faults) < MOST_GUESSED else []
        return f"; did you mean `{near[0]}`?" if near else ""

    def close(self) -> None:
        """Raise `BadSliceFile` where a fault was noted."""
        if self.faults:
            raise BadSliceFile(self.faults)


def shown(text: str, longest: int = 40) -> str:
    """Return a word of the file in quotes, cut and without control characters."""
    cut = text if len(text) <= longest else f"{text[:longest]}..."
    return f"`{''.join(each if each.isprintable() else '?' for each in cut)}`"
