"""Looks at hosts and says what was found: the runner on one side, the pure comparison on the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from core.errors import CloudError
from core.inventory import Inventory
from core.status import SliceStatus
from database import Database
from inspection import findings
from inspection.collect import commands, look_plan
from inspection.facts import Sight
from inspection.findings import Comparison, Finding
from inspection.parse import read
from models import Slice
from remote.runner import Host, Runner


@dataclass
class Look:
    """Hosts as they were seen at one moment, and those that could not be looked at."""

    began: float
    ended: float = 0.0
    sights: dict[str, Sight] = field(default_factory=dict)
    errors: dict[str, CloudError] = field(default_factory=dict)

    @property
    def unseen(self) -> list[Finding]:
        """Why hosts could not be looked at."""
        return [findings.of_error(host, error) for host, error in self.errors.items()]

    @property
    def partly(self) -> list[str]:
        """The hosts of which a part is not known, or nothing at all."""
        return [*self.errors, *(host for host, sight in self.sights.items() if sight.unread)]


@dataclass(frozen=True)
class Survey:
    """A look, the slices `before` and `after` it, and the ids of those that nobody changed meanwhile."""

    look: Look
    before: Mapping[int, Slice]
    after: Mapping[int, Slice]
    steady: frozenset[int]

    @property
    def slices(self) -> list[Slice]:
        """All that were there at some time, as they were last, by their ids."""
        return [slice_ for _, slice_ in sorted({**self.before, **self.after}.items())]

    def steady_in(self, status: SliceStatus) -> list[Slice]:
        """The slices that were in this status all the time."""
        return [self.after[number] for number in sorted(self.steady) if self.after[number].status == status]

    def is_busy(self, slice_id: int) -> bool:
        """Whether the slice was, or may have been, changed meanwhile."""
        return slice_id not in self.steady


class Inspector:
    """One round trip to each host that is asked."""

    def __init__(self, database: Database, inventory: Inventory, connect: Callable[[str], Host]) -> None:
        self._database = database
        self._connect = connect
        self.inventory = inventory
        self.comparison = Comparison(inventory)

    def look(self, hosts: Iterable[str], *, thorough: bool = False) -> Look:
        """What is on the hosts; `thorough`: also what only operators are told of."""
        asked = list(dict.fromkeys(hosts))
        look = Look(time.time())
        with ThreadPoolExecutor(max_workers=max(len(asked), 1)) as pool:  # what one said is read while others answer
            for host, seen in zip(asked, pool.map(partial(self._look_at, thorough=thorough), asked), strict=True):
                if isinstance(seen, Sight):
                    look.sights[host] = seen
                else:
                    look.errors[host] = seen
        look.ended = time.time()
        return look

    def _look_at(self, host: str, *, thorough: bool) -> Sight | CloudError:
        (result,) = Runner(self._connect).run(look_plan(self.inventory, [host], thorough=thorough)).results
        if result.error:
            return result.error
        said = [outcome.stdout if outcome.status == 0 else None for outcome in result.outcomes]
        return read(host, dict(zip(commands(self.inventory, host, thorough=thorough), said, strict=True)))

    def survey(self, slices: Iterable[Slice], hosts: Iterable[str], *, thorough: bool = False) -> Survey:
        """A look at the hosts between two at the file: `slices` are those of the first, or some of them.

        A slice that is the same in both, and that nobody works on, was as the file says all the time. What was made or
        removed in between has its slice in one of the two.
        """
        before = {slice_.slice_id: slice_ for slice_ in slices}
        free = [number for number in before if not self._database.is_claimed(number)]
        look = self.look(hosts, thorough=thorough)
        after = self._database.load().slices
        same = (n for n in free if n in after and after[n].to_dict() == before[n].to_dict())
        steady = frozenset(number for number in same if not self._database.is_claimed(number))
        return Survey(look, before, after, steady)

    def ailments(self, slices: Iterable[Slice]) -> dict[int, list[Finding]]:
        """What is missing of running slices, by slice; a host that does not answer is a finding of each of them."""
        running = [slice_ for slice_ in slices if slice_.status == SliceStatus.RUNNING]
        survey = self.survey(running, self.comparison.hosts_of(running))
        return {slice_.slice_id: self._of(slice_, survey.look) for slice_ in survey.steady_in(SliceStatus.RUNNING)}

    def _of(self, slice_: Slice, look: Look) -> list[Finding]:
        hosts = self.comparison.hosts_of([slice_])
        unseen = [finding for finding in look.unseen if finding.host in hosts]
        return [*unseen, *self.comparison.of_slice(slice_, look.sights)]
