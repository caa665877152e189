"""The inspectors of all realms: each compares the slices of its realm with that realm's hosts and bridges.

A worker of two realms is asked for each. All hosts are asked side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from core.inventory import Inventory
from database import Store
from inspection.findings import Finding
from inspection.inspector import CollectedFacts, Inspector, Survey, watched
from models import Slice
from remote.host import Host


class Inspectors:
    """The inspectors of a cloud, by the names of their realms."""

    def __init__(self, database: Store, inventory: Inventory, connect: Callable[[str], Host]) -> None:
        self._database = database
        self.by_realm = {
            realm: Inspector(database, inventory.of_realm(realm), connect) for realm in ("", *inventory.realms)
        }

    def collect(self) -> dict[str, CollectedFacts]:
        """Collect the facts of all hosts for operators, by realm."""
        with ThreadPoolExecutor(max_workers=len(self.by_realm)) as pool:
            found = pool.map(lambda each: each.collect(each.inventory.hosts, thorough=True), self.by_realm.values())
            return dict(zip(self.by_realm, found, strict=True))

    def survey(self, slices: Iterable[Slice]) -> tuple[Survey, dict[str, Survey]]:
        """Collect the facts of all hosts, and read the slices again: return the survey of all, and by realm."""
        found: dict[str, CollectedFacts] = {}

        def collect() -> CollectedFacts:
            found.update(self.collect())
            return found[""]

        whole = watched(self._database, slices, collect)
        return whole, {realm: whole.of_realm(realm, collected) for realm, collected in found.items()}

    def problems(self, slices: Iterable[Slice]) -> dict[int, list[Finding]]:
        """Return the findings of running slices by slice id."""
        chosen = list(slices)
        found: dict[int, list[Finding]] = {}
        for realm in dict.fromkeys(slice_.realm for slice_ in chosen):
            found |= self.by_realm[realm].problems([slice_ for slice_ in chosen if slice_.realm == realm])
        return found
