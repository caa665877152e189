"""The inspectors of all realms: each compares the slices of its realm with that realm's hosts and bridges.

A worker of two realms is asked for each. All hosts are asked side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

from core.inventory import Inventory
from core.status import SliceStatus
from database import Store
from inspection.findings import Finding
from inspection.inspector import CollectedFacts, Inspector, Survey, watched
from models import Slice
from remote.host import Host


class Inspectors:
    """The inspectors of a cloud, by the names of their realms."""

    def __init__(self, database: Store, inventory: Inventory, connect: Callable[[str], Host]) -> None:
        self._database = database
        self.by_realm = {realm: Inspector(inventory.of_realm(realm), connect) for realm in ("", *inventory.realms)}

    def collect(self) -> dict[str, CollectedFacts]:
        """Collect the facts of all hosts for operators, by realm."""
        return self._collect({realm: each.inventory.hosts for realm, each in self.by_realm.items()}, thorough=True)

    def survey(self, slices: Iterable[Slice]) -> tuple[Survey, dict[str, Survey]]:
        """Collect the facts of all hosts, and read the slices again: return the survey of all, and by realm."""
        whole, found = self._watch(slices, self.collect)
        return whole, {realm: whole.of_realm(realm, collected) for realm, collected in found.items()}

    def problems(self, slices: Iterable[Slice]) -> dict[int, list[Finding]]:
        """Return the findings of running slices by slice id."""
        chosen: dict[str, list[Slice]] = {"": []}
        for slice_ in slices:
            if slice_.status == SliceStatus.RUNNING:
                chosen.setdefault(slice_.realm, []).append(slice_)
        hosts = {realm: self.by_realm[realm].comparison.hosts_of(own) for realm, own in chosen.items()}
        whole, found = self._watch(chain(*chosen.values()), lambda: self._collect(hosts))
        unchanged = whole.unchanged_in(SliceStatus.RUNNING)
        return {each.slice_id: self.by_realm[each.realm].problems_of(each, found[each.realm]) for each in unchanged}

    def _watch(
        self, slices: Iterable[Slice], collect: Callable[[], dict[str, CollectedFacts]]
    ) -> tuple[Survey, dict[str, CollectedFacts]]:
        """Collect facts by realm, and read the slices again."""
        found: dict[str, CollectedFacts] = {}

        def first() -> CollectedFacts:
            found.update(collect())
            return found[""]

        return watched(self._database, slices, first), found

    def _collect(self, hosts: Mapping[str, Iterable[str]], *, thorough: bool = False) -> dict[str, CollectedFacts]:
        """Collect the facts of these hosts by realm, all side by side."""
        with ThreadPoolExecutor(max_workers=len(hosts)) as pool:
            found = pool.map(lambda realm: self.by_realm[realm].collect(hosts[realm], thorough=thorough), hosts)
            return dict(zip(hosts, found, strict=True))
