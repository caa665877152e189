"""What was measured, and how it is kept: one sample per phase, contender and round. Pure but for the file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

Facts = dict[str, Any]
"""What there is to say about a sample besides its duration."""


class BenchError(Exception):
    """The measurement is worth nothing: a contender failed, or did not do what the others did."""


@dataclass(frozen=True)
class Sample:
    """One phase of one contender in one round of a series; `series` names the work and what was special."""

    series: str
    contender: str
    phase: str
    seconds: float
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class Spread:
    """Several durations of the same thing, in seconds."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The one in the middle."""
        return median(self.values)

    def __str__(self) -> str:
        between = f" ({show(min(self.values))} to {show(max(self.values))})" if len(self.values) > 1 else ""
        return f"{show(self.median)}{between}"


def show(seconds: float) -> str:
    """Seconds, or milliseconds where there are few."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.{0 if seconds >= 0.01 else 1}f} ms"


class Samples:
    """All samples of a run, in the order in which they were taken."""

    def __init__(self, samples: Iterable[Sample] = (), about: Facts | None = None) -> None:
        self._samples = list(samples)
        self.about: Facts = about or {}

    @property
    def all(self) -> list[Sample]:
        """Every one of them."""
        return list(self._samples)

    def add(self, samples: Iterable[Sample]) -> None:
        """Take more of them in."""
        self._samples.extend(samples)

    def of(self, series: str, contender: str, phase: str) -> list[Sample]:
        """Every round of it."""
        return [s for s in self._samples if (s.series, s.contender, s.phase) == (series, contender, phase)]

    def spread(self, series: str, contender: str, phase: str) -> Spread | None:
        """The durations of every round; None when it was not measured."""
        found = self.of(series, contender, phase)
        return Spread(tuple(sample.seconds for sample in found)) if found else None

    def ratio(self, series: str, phase: str, one: str, other: str) -> float | None:
        """The median of `one` as a part of the other's; None when one of them was not measured."""
        first, second = self.spread(series, one, phase), self.spread(series, other, phase)
        return first.median / second.median if first and second and second.median else None

    def facts(self, series: str, contender: str, phase: str) -> Facts:
        """What the last round has to say besides; empty when there was none."""
        found = self.of(series, contender, phase)
        return found[-1].facts if found else {}

    def drop(self, series: Iterable[str]) -> None:
        """Forget series that are about to be measured anew."""
        gone = set(series)
        self._samples = [sample for sample in self._samples if sample.series not in gone]

    @property
    def series(self) -> list[str]:
        """The names of the series, in the order in which they began."""
        return list(dict.fromkeys(sample.series for sample in self._samples))

    def contenders(self, series: str) -> list[str]:
        """Who took part."""
        return list(dict.fromkeys(sample.contender for sample in self._samples if sample.series == series))

    def phases(self, series: str) -> list[str]:
        """What was measured."""
        return list(dict.fromkeys(sample.phase for sample in self._samples if sample.series == series))

    def save(self, path: Path) -> None:
        """Keep them as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {"about": self.about, "samples": [asdict(sample) for sample in self._samples]}
        path.write_text(json.dumps(record, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Samples:
        """From such a file."""
        record = json.loads(path.read_text())
        return cls((Sample(**sample) for sample in record["samples"]), record["about"])
