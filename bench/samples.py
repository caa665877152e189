"""Samples, and the file that keeps them: one sample per phase, contender and round. Pure but for the file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

Facts = dict[str, Any]
"""The facts of a sample apart from its duration."""


class BenchError(Exception):
    """A worthless measurement: a contender failed, or did other work than the rest."""


@dataclass(frozen=True)
class Sample:
    """One phase of one contender in one round of a series; `series` names the work and its circumstances."""

    series: str
    contender: str
    phase: str
    seconds: float
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class Spread:
    """Several durations of the same phase, in seconds."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Return the median."""
        return median(self.values)

    def __str__(self) -> str:
        between = f" ({show(min(self.values))} to {show(max(self.values))})" if len(self.values) > 1 else ""
        return f"{show(self.median)}{between}"


def show(seconds: float) -> str:
    """Return a duration in seconds, or in milliseconds where it is short."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.{0 if seconds >= 0.01 else 1}f} ms"


class Samples:
    """All samples of a run, in the order of their measurement."""

    def __init__(self, samples: Iterable[Sample] = (), about: Facts | None = None) -> None:
        self._samples = list(samples)
        self.about: Facts = about or {}

    @property
    def all(self) -> list[Sample]:
        """Return all samples."""
        return list(self._samples)

    def add(self, samples: Iterable[Sample]) -> None:
        """Add samples."""
        self._samples.extend(samples)

    def of(self, series: str, contender: str, phase: str) -> list[Sample]:
        """Return the samples of every round."""
        return [s for s in self._samples if (s.series, s.contender, s.phase) == (series, contender, phase)]

    def spread(self, series: str, contender: str, phase: str) -> Spread | None:
        """Return the durations of every round; None where the phase was not measured."""
        found = self.of(series, contender, phase)
        return Spread(tuple(sample.seconds for sample in found)) if found else None

    def ratio(self, series: str, phase: str, one: str, other: str) -> float | None:
        """Return the median of `one` relative to that of `other`; None where either was not measured."""
        first, second = self.spread(series, one, phase), self.spread(series, other, phase)
        return first.median / second.median if first and second and second.median else None

    def facts(self, series: str, contender: str, phase: str) -> Facts:
        """Return the facts of the last round; empty where there was none."""
        found = self.of(series, contender, phase)
        return found[-1].facts if found else {}

    def drop(self, series: Iterable[str]) -> None:
        """Remove series that are about to be measured again."""
        gone = set(series)
        self._samples = [sample for sample in self._samples if sample.series not in gone]

    @property
    def series(self) -> list[str]:
        """Return the names of the series, in the order of their start."""
        return list(dict.fromkeys(sample.series for sample in self._samples))

    def contenders(self, series: str) -> list[str]:
        """Return the contenders of a series."""
        return list(dict.fromkeys(sample.contender for sample in self._samples if sample.series == series))

    def phases(self, series: str) -> list[str]:
        """Return the measured phases of a series."""
        return list(dict.fromkeys(sample.phase for sample in self._samples if sample.series == series))

    def save(self, path: Path) -> None:
        """Write the samples to a file as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        record = {"about": self.about, "samples": [asdict(sample) for sample in self._samples]}
        path.write_text(json.dumps(record, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Samples:
        """Return the samples of such a file."""
        record = json.loads(path.read_text())
        return cls((Sample(**sample) for sample in record["samples"]), record["about"])
