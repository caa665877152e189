"""This project as a contender: its use-cases, called as the menu calls them."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.clock import StageClock
from bench.samples import BenchError, Facts
from bench.work import FLAVOR, OWNER, Work
from core.inventory import Inventory
from database import Database
from models import MAX_SLICES
from orchestrator import OrchestratorAPI, Result
from remote.plan import Command, Plan, Stage, Step
from remote.runner import Report, Runner
from remote.ssh import Connections

OVERCOMMIT = 1000.0
"""Guests that halt are idle: the lab's few cores may be promised many times."""


class Ours:
    """One process with its connections, which are made in a phase of their own; the slices one after the other."""

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
        """A connection to every host, and one empty batch on it."""
        steps = tuple(Step(host, "connect", (Command(("true",)),)) for host in self._inventory.hosts)
        self._run(Plan((Stage("connect", steps),)))
        return {}

    def design(self) -> Facts:
        """Discovery, empty slices, their VMs with their overlays, their links."""
        _value(self._api.discover_workers())
        for number, vms in enumerate(self._work.parts, start=1):
            slice_id = _value(self._api.create_slice(OWNER, f"part{number}")).slice_id
            self._slice_ids.append(slice_id)
            ids = [
                _value(self._api.add_vm_to_slice(OWNER, slice_id, f"vm{n}", FLAVOR, 2, internet_enabled=True)).vm_id
                for n in range(1, vms + 1)
            ]
            for first, eth_a, second, eth_b in self._work.links(vms):
                _value(self._api.create_link(OWNER, slice_id, ids[first], eth_a, ids[second], eth_b))
        return {"slices": self._slice_ids}

    def deploy(self) -> Facts:
        """`deploy_slice`, from the preflight to what was read back."""
        return self._change(self._api.deploy_slice)

    def status(self) -> Facts:
        """What "View my Slices" asks of the hosts: is all of every slice there, and does it run."""
        before = self._round_trips()
        if problems := _value(self._api.problems(OWNER)):
            raise BenchError(f"not all of it runs: {problems}")
        return {"round_trips": _since(before, self._round_trips())}

    def delete(self) -> Facts:
        """`delete_slice`."""
        return self._change(self._api.delete_slice)

    def _change(self, method: Any) -> Facts:
        before, clock = self._round_trips(), StageClock()
        began = time.monotonic()
        for slice_id in self._slice_ids:
            _value(method(OWNER, slice_id, clock))
            clock.end()
        rest = time.monotonic() - began - sum(clock.walls.values())
        trips = _since(before, self._round_trips())
        return {"round_trips": trips, "stages": clock.stages, "walls": clock.walls, "database": rest}

    def _run(self, plan: Plan) -> Report:
        report = Runner(self._connections.host).run(plan)
        if report.error:
            raise report.error
        return report

    def _round_trips(self) -> dict[str, int]:
        return {address: self._connections.host(address).round_trips for address in self._inventory.hosts}


def prepare(store: Database, work: Work, image: Path) -> None:
    """The flavor without a system, a quota that is large enough, and only the workers that take part."""
    with store.transaction() as state:
        state.flavors[FLAVOR] = work.flavor(image)
        state.users[OWNER].quota_vms, state.users[OWNER].quota_slices = work.vms, MAX_SLICES
        state.inventory = _for(work, state.inventory)


def _for(work: Work, inventory: Inventory) -> Inventory:
    hypervisor = replace(inventory.hypervisor, cpu_overcommit=OVERCOMMIT)
    return replace(inventory, hypervisor=hypervisor, workers_list=inventory.workers_list[: work.workers])


def _value(answer: Result[Any]) -> Any:
    if not answer[0]:
        raise RuntimeError(answer[1])
    return answer[1]


def _since(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {address: after[address] - count for address, count in before.items()}
