"""Collect facts from hosts over SSH, by the plan of `collect.py`, and compare them with the database's slices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from core.errors import CloudError
from core.inventory import Inventory
from core.status import SliceStatus
from database import Store
from inspection import findings
from inspection.collect import collection_plan
from inspection.facts import Facts
from inspection.findings import Comparison, Finding
from inspection.parse import parse_answers
from models import Slice
from remote.host import Host
from remote.runner import Runner


@dataclass
class CollectedFacts:
    """The facts of hosts, collected between `began` and `ended`, and the errors of hosts that gave none.

    Times are in seconds since the epoch.
    """

    began: float
    ended: float = 0.0
    facts_by_host: dict[str, Facts] = field(default_factory=dict)
    errors: dict[str, CloudError] = field(default_factory=dict)

    @property
    def error_findings(self) -> list[Finding]:
        """Return the errors of hosts as findings."""
        return [findings.of_error(host, error) for host, error in self.errors.items()]

    @property
    def incomplete(self) -> list[str]:
        """Return the hosts whose facts are unknown, or known in part."""
        return [*self.errors, *(host for host, facts in self.facts_by_host.items() if facts.unread)]


@dataclass(frozen=True)
class Survey:
    """Collected facts, the slices `before` and `after` the collection, and the ids of `unchanged` ones."""

    collected: CollectedFacts
    before: Mapping[int, Slice]
    after: Mapping[int, Slice]
    unchanged: frozenset[int]

    @property
    def slices(self) -> list[Slice]:
        """Return all slices of both reads in the order of their ids. The later read wins."""
        return [slice_ for _, slice_ in sorted({**self.before, **self.after}.items())]

    def unchanged_in(self, status: SliceStatus) -> list[Slice]:
        """Return the slices that had this status during the whole collection."""
        return [self.after[number] for number in sorted(self.unchanged) if self.after[number].status == status]

    def of_realm(self, realm: str, collected: CollectedFacts) -> Survey:
        """Return the survey of one realm's slices, with the facts that were collected for them."""
        before, after = (
            {number: slice_ for number, slice_ in slices.items() if slice_.realm == realm}
            for slices in (self.before, self.after)
        )
        return Survey(collected, before, after, self.unchanged & after.keys())

    def is_busy(self, slice_id: int) -> bool:
        """Return whether the slice may have changed during the collection."""
        return slice_id not in self.unchanged


class Inspector:
    """Collects the facts of hosts, in one round trip to each host."""

    def __init__(self, inventory: Inventory, connect: Callable[[str], Host]) -> None:
        self._connect = connect
        self.inventory = inventory
        self.comparison = Comparison(inventory)

    def collect(self, hosts: Iterable[str], *, thorough: bool = False) -> CollectedFacts:
        """Collect the facts of the hosts, side by side. `thorough` adds the facts for operators."""
        asked = list(dict.fromkeys(hosts))
        collected = CollectedFacts(time.time())
        # Each thread also parses: the answer of a fast host is parsed while a slow host still answers.
        with ThreadPoolExecutor(max_workers=max(len(asked), 1)) as pool:
            results = pool.map(partial(self._collect_from, thorough=thorough), asked)
            for host, result in zip(asked, results, strict=True):
                if isinstance(result, Facts):
                    collected.facts_by_host[host] = result
                else:
                    collected.errors[host] = result
        collected.ended = time.time()
        return collected

    def _collect_from(self, host: str, *, thorough: bool) -> Facts | CloudError:
        plan = collection_plan(self.inventory, [host], thorough=thorough)
        (result,) = Runner(self._connect).run(plan).results
        if result.error:
            return result.error
        answers = {name: end.stdout if end.status == 0 else None for name, end in result.answers.items()}
        return parse_answers(host, answers)

    def problems_of(self, slice_: Slice, collected: CollectedFacts) -> list[Finding]:
        """Return the findings of a slice, with the errors of its hosts."""
        hosts = self.comparison.hosts_of([slice_])
        errors = [finding for finding in collected.error_findings if finding.host in hosts]
        return [*errors, *self.comparison.of_slice(slice_, collected.facts_by_host)]


def watched(database: Store, slices: Iterable[Slice], collect: Callable[[], CollectedFacts]) -> Survey:
    """Collect facts, and read the slices again afterwards.

    `slices` come from a read before. A slice is unchanged if both reads agree and no change had claimed it. Objects
    that appeared or disappeared meanwhile belong to a slice of one of the two reads.
    """
    before = {slice_.slice_id: slice_ for slice_ in slices}
    free = [number for number in before if not database.is_claimed(number)]
    collected = collect()
    after = {slice_.slice_id: slice_ for slice_ in database.load_whole().slices.values()}
    same = (n for n in free if n in after and after[n].to_dict() == before[n].to_dict())
    unchanged = frozenset(number for number in same if not database.is_claimed(number))
    return Survey(collected, before, after, unchanged)
