"""Exclusive resources that the slices of a cloud hold together, and what workers promised to their VMs. Pure.

A store answers for the slices that it keeps; a state adds those that it has changed since.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import Protocol

from allocation.holdings import Holdings, Promise
from models import Slice


class Taken(Protocol):
    """Resources that slices hold, as strings of `Holdings.claims`, and promises of workers."""

    def among(self, things: Collection[str]) -> AbstractSet[str]:
        """Return those of `things` that a slice holds."""

    def promised(self, workers: Iterable[str], but: Collection[int] = ()) -> dict[str, Promise]:
        """Return what each of these workers promised to all slices together, `but` to some."""

    def slices_on(self, worker: str) -> AbstractSet[int]:
        """Return the slices to whose VMs a worker promised something."""

    def places(self) -> AbstractSet[tuple[str, str]]:
        """Return realms and workers: each worker that promised something to a slice of the realm."""


class TakenBy(Taken):
    """The resources of slices in memory."""

    def __init__(self, live: Iterable[Holdings]) -> None:
        self.live = (*live,)

    def among(self, things: Collection[str]) -> AbstractSet[str]:
        """Return those of `things` that a slice holds."""
        return self.claims.intersection(things)

    def promised(self, workers: Iterable[str], but: Collection[int] = ()) -> dict[str, Promise]:
        """Return what each of these workers promised to all slices together, `but` to some."""
        return {
            worker: total(size for number, size in self._promises.get(worker, {}).items() if number not in but)
            for worker in workers
        }

    def slices_on(self, worker: str) -> AbstractSet[int]:
        """Return the slices to whose VMs a worker promised something."""
        return self._promises.get(worker, {}).keys()

    def places(self) -> AbstractSet[tuple[str, str]]:
        """Return realms and workers: each worker that promised something to a slice of the realm."""
        return {(holdings.realm, worker) for holdings in self.live for worker in holdings.promised}

    @cached_property
    def claims(self) -> frozenset[str]:
        """Return all that the slices hold."""
        return frozenset().union(*(holdings.claims for holdings in self.live))

    @cached_property
    def _promises(self) -> dict[str, dict[int, Promise]]:
        found: dict[str, dict[int, Promise]] = defaultdict(dict)
        for holdings in self.live:
            for worker, promise in holdings.promised.items():
                found[worker][holdings.slice_id] = promise
        return dict(found)


class TakenNow(Taken):
    """The resources that slices hold in a state: `kept` ones, without the slices `gone`, and with the `fresh` ones.

    A slice that was changed is in both: as it is kept, and as it is.
    """

    def __init__(self, kept: Taken, gone: Iterable[Holdings], fresh: Iterable[Holdings]) -> None:
        self._kept = kept
        self._gone = TakenBy(gone)
        self._fresh = TakenBy(fresh)

    @property
    def gone(self) -> Collection[Holdings]:
        """Return the holdings of slices that were changed or removed, as they are kept."""
        return self._gone.live

    @property
    def fresh(self) -> Collection[Holdings]:
        """Return the present holdings of slices that were changed or added."""
        return self._fresh.live

    def among(self, things: Collection[str]) -> AbstractSet[str]:
        """Return those of `things` that a slice holds."""
        rest = [thing for thing in things if thing not in self._gone.claims]
        return self._fresh.among(things) | self._kept.among(rest)

    def promised(self, workers: Iterable[str], but: Collection[int] = ()) -> dict[str, Promise]:
        """Return what each of these workers promised to all slices together, `but` to some."""
        names = (*workers,)
        kept, fresh = self._kept.promised(names, {*but, *self._changed}), self._fresh.promised(names, but)
        return {worker: total((kept[worker], fresh[worker])) for worker in names}

    def slices_on(self, worker: str) -> AbstractSet[int]:
        """Return the slices to whose VMs a worker promised something."""
        return self._kept.slices_on(worker) - self._changed | self._fresh.slices_on(worker)

    def places(self) -> AbstractSet[tuple[str, str]]:
        """Return realms and workers, also if a worker promised something to slices `gone`."""
        return self._kept.places() | self._fresh.places()

    @property
    def changed_workers(self) -> AbstractSet[str]:
        """Return the workers whose promises differ from the kept ones."""
        return {worker for _, worker in self._gone.places() | self._fresh.places()}

    @property
    def clashes(self) -> bool:
        """Return whether two slices hold the same, one of them a fresh one: the kept ones keep this rule."""
        counts = Counter(claim for holdings in self.fresh for claim in holdings.claims)
        rest = [claim for claim in counts if claim not in self._gone.claims]
        return len(counts) < counts.total() or bool(self._kept.among(rest))

    @property
    def _changed(self) -> set[int]:
        return {holdings.slice_id for holdings in self.gone}


def taken_by(slices: Iterable[Slice]) -> Taken:
    """Return the resources that these slices hold."""
    return TakenBy(map(Holdings.of, slices))


def total(promises: Iterable[Promise]) -> Promise:
    """Return the sum of promises."""
    whole = Promise()
    for cores, ram_gb, disk_gb in promises:
        whole = Promise(whole.cores + cores, whole.ram_gb + ram_gb, whole.disk_gb + disk_gb)
    return whole
