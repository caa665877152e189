"""What a run measures: by default what ends in a quarter of an hour on two cores, or everything. Pure.

The slow contenders do fewer rounds, or every run would be theirs; the report says how many each did.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.rounds import SLOW, TITLES, Series
from bench.work import Work

PARTS = ("deploy", "links", "together", "boot", "image", "design", "start")
ROUNDS = 5
MOST_WITH_ALL = 8
MOST_WITH_OTHERS = 20
EVERYBODY = ("ours", "floor", "first", "pyinfra", "libvirt", "ansible", "ssh")
OTHERS = ("ours", "floor", "free", "first", "pyinfra", "libvirt")
FLOORS = ("ours", "floor", "first")


@dataclass(frozen=True)
class Wish:
    """What was asked for; empty means: whatever the run has by default."""

    parts: tuple[str, ...] = PARTS
    full: bool = False
    rounds: int = ROUNDS
    slow_rounds: int = 1
    works: tuple[Work, ...] = ()
    contenders: tuple[str, ...] = ()
    delays: tuple[int, ...] = ()

    @property
    def series(self) -> list[Series]:
        """What is deployed, and over what links."""
        found = [*(_deploy(self) if "deploy" in self.parts else ()), *(_links(self) if "links" in self.parts else ())]
        return [self._narrowed(series) for series in found]

    @property
    def together(self) -> list[tuple[int, int, int]]:
        """Processes, VMs of each one's slice, rounds."""
        if "together" not in self.parts:
            return []
        rounds = self.rounds if self.full else min(self.rounds, 3)
        return [(1, 8, rounds), (2, 8, rounds), (20, 2, rounds)]

    @property
    def boot(self) -> list[tuple[Work, int]]:
        """What boots, and how often."""
        if "boot" not in self.parts:
            return []
        return [(Work("ring", 8), self.rounds)] if self.full else [(Work("ring", 2), min(self.rounds, 3))]

    @property
    def image_rounds(self) -> int:
        """How often the image is copied."""
        return self.rounds if self.full else min(self.rounds, 3)

    def _narrowed(self, series: Series) -> Series:
        wanted = self.contenders or series.contenders
        return Series(series.work, wanted, series.rounds, series.slow_rounds, series.delay)


@dataclass(frozen=True)
class _Row:
    """A line of the tables below."""

    work: Work
    contenders: tuple[str, ...]
    rounds: int | None = None
    delay: int = 0


_SHORT = (
    _Row(Work("ring", 8), EVERYBODY),
    _Row(Work("ring", 20), FLOORS),
    _Row(Work("ring", 40), FLOORS),
    _Row(Work("ring", 80), ("ours",), rounds=1),
)
_SHORT_LINKS = (_Row(Work("ring", 8), ("ours", "floor"), delay=100),)


def _full() -> list[_Row]:
    rings = [_Row(Work("ring", vms), _who(vms)) for vms in (2, 8, 20, 40, 80)]
    lines = [_Row(Work("line", vms), FLOORS) for vms in (2, 8, 20, 40, 80)]
    wide = [_Row(Work("ring", vms, 4), FLOORS) for vms in (2, 8, 20, 40, 80)]
    return [*rings, *lines, *wide]


def _full_links() -> list[_Row]:
    sizes = ((8, EVERYBODY), (20, ("ours", "floor")))
    return [_Row(Work("ring", vms), who, delay=delay) for delay in (20, 100) for vms, who in sizes]


def _who(vms: int) -> tuple[str, ...]:
    if vms <= MOST_WITH_ALL:
        return (*OTHERS, *SLOW)
    return OTHERS if vms <= MOST_WITH_OTHERS else FLOORS


def _deploy(wish: Wish) -> list[Series]:
    if wish.works:
        return _asked(wish, (0,))
    return _series(wish, _full() if wish.full else _SHORT)


def _links(wish: Wish) -> list[Series]:
    if wish.works:
        return _asked(wish, wish.delays)
    return _series(wish, _full_links() if wish.full else _SHORT_LINKS)


def _asked(wish: Wish, delays: tuple[int, ...]) -> list[Series]:
    return [Series(work, FLOORS, wish.rounds, wish.slow_rounds, delay) for work in wish.works for delay in delays]


def _series(wish: Wish, rows: list[_Row] | tuple[_Row, ...]) -> list[Series]:
    found = []
    for row in rows:
        rounds = min(wish.rounds, row.rounds or wish.rounds)
        found.append(Series(row.work, row.contenders, rounds, min(rounds, wish.slow_rounds), row.delay))
    return found


def check(contenders: tuple[str, ...]) -> None:
    """ValueError with a sentence for a name that nobody has."""
    if unknown := [name for name in contenders if name not in TITLES]:
        raise ValueError(f"there is no contender {', '.join(unknown)}; there are {', '.join(TITLES)}")
