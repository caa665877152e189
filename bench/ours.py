"""This project as a contender: its use-cases, called as the menu calls them."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.clock import StageClock
from bench.samples import BenchError, Facts
from bench.work import FLAVOR, OWNER, Work
from core.inventory import MAX_SLICES, Inventory
from database import Database
from orchestrator import OrchestratorAPI, Result
from remote.plan import Command, Plan, Stage, Step
from remote.runner import Report, Runner
from remote.ssh import Connections

OVERCOMMIT = 1000.0
"""Halted guests are idle, so the lab's few cores may be promised many times."""


class Ours:
    """One process with its connections, which are made in a separate phase; the slices follow one after the other."""

    def __init__(self, work: Work, database: Path, image: Path, slice_ids: tuple[int, ...] = ()) -> None:
        self._work = work
        self._store = Database(database)
        if not slice_ids:
            prepare(self._store, work, image)
        self._inventory = self._store.load().inventory
        self._connections = Connections(self._inventory.ssh)
        self._api = OrchestratorAPI(self._store, self._connections.host)
        self._slice_ids = list(slice_ids)

    def connect(self) -> Facts:
        """Connect to every host, and run one empty batch there."""
        steps = tuple(Step(host, "connect", (Command(("true",)),)) for host in self._inventory.hosts)
        self._run(Plan((Stage("connect", steps),)))
        return {}

    def design(self) -> Facts:
        """Discover the workers, and create slices, VMs with overlays, and links."""
        value_of(self._api.discover_workers())
        for number, vms in enumerate(self._work.parts, start=1):
            slice_id = value_of(self._api.create_slice(OWNER, f"part{number}")).slice_id
            self._slice_ids.append(slice_id)
            ids = [
                value_of(self._api.add_vm_to_slice(OWNER, slice_id, f"vm{n}", FLAVOR, 2, internet_enabled=True)).vm_id
                for n in range(1, vms + 1)
            ]
            for first, eth_a, second, eth_b in self._work.links(vms):
                value_of(self._api.create_link(OWNER, slice_id, ids[first], eth_a, ids[second], eth_b))
        return {"slices": self._slice_ids}

    def deploy(self) -> Facts:
        """Run `deploy_slice`, from the preflight to the verification."""
        return self._change(self._api.deploy_slice)

    def status(self) -> Facts:
        """Ask the hosts as "View my Slices" does, whether all of every slice exists and runs."""
        before = self._round_trips()
        if problems := value_of(self._api.problems(OWNER)):
            raise BenchError(f"not all of it runs: {problems}")
        return {"round_trips": _since(before, self._round_trips())}

    def delete(self) -> Facts:
        """Run `delete_slice`."""
        return self._change(self._api.delete_slice)

    def _change(self, method: Any) -> Facts:
        before, clock = self._round_trips(), StageClock()
        began = time.monotonic()
        for slice_id in self._slice_ids:
            value_of(method(OWNER, slice_id, clock))
            clock.end()
        rest = time.monotonic() - began - sum(clock.wall_times.values())
        trips = _since(before, self._round_trips())
        return {"round_trips": trips, "stages": clock.stages, "wall_times": clock.wall_times, "database": rest}

    def _run(self, plan: Plan) -> Report:
        report = Runner(self._connections.host).run(plan)
        if report.error:
            raise report.error
        return report

    def _round_trips(self) -> dict[str, int]:
        return {address: self._connections.host(address).round_trips for address in self._inventory.hosts}


def prepare(store: Database, work: Work, image: Path) -> None:
    """Set the flavor without a system, a large quota, and only the workers that take part."""
    with store.transaction() as state:
        state.flavors[FLAVOR] = work.flavor(image)
        state.users[OWNER].quota_vms, state.users[OWNER].quota_slices = work.vms, MAX_SLICES
        state.inventory = _for(work, state.inventory)


def _for(work: Work, inventory: Inventory) -> Inventory:
    hypervisor = replace(inventory.hypervisor, cpu_overcommit=OVERCOMMIT)
    return replace(inventory, hypervisor=hypervisor, workers_list=inventory.workers_list[: work.workers])


def value_of(answer: Result[Any]) -> Any:
    """Return the value of a use-case that succeeded; raise `RuntimeError` for a failure."""
    if not answer[0]:
        raise RuntimeError(answer[1])
    return answer[1]


def _since(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {address: after[address] - count for address, count in before.items()}
