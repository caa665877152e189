"""The parts of a run: all promises, or the requested ones. Pure.

All contenders do the rings of 2 and 8 on two workers. Over slow links the two slowest do the ring of 2 only, because a
round with 8 VMs takes them minutes. Larger work, lines and four workers are for ours and the floors; the ring of 20 is
also for pyinfra and libvirt.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.rounds import SLOW, TITLES, Series
from bench.work import Work

PARTS = (
    *("start", "commands", "design", "faculty", "image", "together"),
    *("boot", "create", "join", "deploy", "links"),
)
ROUNDS = 5
OTHERS = ("ours", "floor", "first", "pyinfra", "libvirt")
EVERYBODY = (*OTHERS, *SLOW)
FLOORS = ("ours", "floor", "first")
BOTH = ("ours", "floor")

AT_ONCE = ((1, 8), (2, 8), (20, 2))
"""Numbers of processes, and of VMs in each one's slice."""

BOOTING = Work("ring", 2)

_Row = tuple[Work, tuple[str, ...]]

_DEPLOYED: tuple[_Row, ...] = (
    (Work("ring", 8), EVERYBODY),
    (Work("ring", 20), OTHERS),
    *((Work("ring", vms), FLOORS) for vms in (40, 80)),
    *((Work("ring", vms, 4), BOTH) for vms in (2, 8, 20, 40, 80)),
    (Work("ring", 2), EVERYBODY),
    *((Work("line", vms), BOTH) for vms in (2, 8, 20, 40, 80)),
)
_OVER_LINKS: tuple[_Row, ...] = (
    (Work("ring", 8), ("ours", "floor", "pyinfra", "libvirt")),
    (Work("ring", 20), BOTH),
    (Work("ring", 2), ("ours", "floor", "pyinfra", "libvirt", *SLOW)),
)
_DELAYS = (100, 20)


@dataclass(frozen=True)
class Request:
    """The requested parts; an empty field means the default, and `slow_rounds` 0 as many rounds as all others."""

    parts: tuple[str, ...] = PARTS
    rounds: int = ROUNDS
    slow_rounds: int = 0
    works: tuple[Work, ...] = ()
    contenders: tuple[str, ...] = ()
    delays: tuple[int, ...] = ()

    @property
    def series(self) -> list[Series]:
        """Return the work to deploy, with its links."""
        found = []
        if "deploy" in self.parts:
            found += [self._one(row, 0) for row in self._rows(_DEPLOYED)]
        if "links" in self.parts:
            found += [self._one(row, delay) for delay in self.delays or _DELAYS for row in self._rows(_OVER_LINKS)]
        return found

    @property
    def together(self) -> tuple[tuple[int, int], ...]:
        """Return numbers of processes, and of VMs in each one's slice."""
        return AT_ONCE if "together" in self.parts else ()

    def _rows(self, rows: tuple[_Row, ...]) -> tuple[_Row, ...]:
        return tuple((work, FLOORS) for work in self.works) or rows

    def _one(self, row: _Row, delay: int) -> Series:
        work, contenders = row
        return Series(work, self.contenders or contenders, self.rounds, self.slow_rounds or self.rounds, delay)


def check(contenders: tuple[str, ...]) -> None:
    """Raise ValueError, with a sentence, for the name of an unknown contender."""
    if unknown := [name for name in contenders if name not in TITLES]:
        raise ValueError(f"there is no contender {', '.join(unknown)}; there are {', '.join(TITLES)}")
