"""Changes of a design in the file: the time of each operation at 10, 100 and 1,000 VMs.

The use-cases run unchanged, on hosts that finish everything at once: the measured part is the database.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.samples import BenchError, Sample
from core.inventory import Inventory, Worker
from database import Database
from orchestrator import OrchestratorAPI
from storage import files
from tests.support.many import OWNERS, WillingHost, write_file

SIZES = {10: [10], 100: [10] * 10, 1000: [10] * 98 + [20]}
"""VMs of each slice; VLANs suffice for 100 slices, and one of them is created and deleted again here."""

ACTOR = OWNERS[0]
OPERATIONS = ("create slice", "add VM", "create link", "delete slice")
SAVE = "one save"
"""The floor of an operation: the file is replaced and its earlier version kept, without any computation."""


def series(vms: int) -> str:
    """Return the name that the samples are found under."""
    return f"design with {vms} VMs"


def measure(rounds: int, say: Callable[[str], None], sizes: Sequence[int] = tuple(SIZES)) -> Iterator[Sample]:
    """Design and delete a small slice, `rounds` times in files of each size."""
    for vms in sizes:
        name = series(vms)
        say(f"{name}, {rounds} rounds")
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            path = Path(folder) / "database.yaml"
            write_file(path, SIZES[vms])
            _add_workers(path)
            for _ in range(rounds):
                yield from _round(path, name)


def _round(path: Path, name: str) -> Iterator[Sample]:
    began = time.monotonic()
    Database(path).load()
    yield Sample(name, "ours", "load", time.monotonic() - began, {"bytes": path.stat().st_size})
    yield _saved(path, name)
    yield from operations(OrchestratorAPI(Database(path), lambda _address: WillingHost()), name)


def operations(api: OrchestratorAPI, name: str) -> Iterator[Sample]:
    """Create a slice with two VMs and a link, and delete it; yield the time of each operation."""
    slice_, sample = _timed(name, "create slice", lambda: api.create_slice(ACTOR, "new"))
    yield sample
    one, sample = _timed(name, "add VM", lambda: api.add_vm_to_slice(ACTOR, slice_.slice_id, "vm1", "cirros", 1))
    yield sample
    two, sample = _timed(name, "add VM", lambda: api.add_vm_to_slice(ACTOR, slice_.slice_id, "vm2", "cirros", 1))
    yield sample
    ends = (one.vm_id, "eth1", two.vm_id, "eth1")
    _, sample = _timed(name, "create link", lambda: api.create_link(ACTOR, slice_.slice_id, *ends))
    yield sample
    _, sample = _timed(name, "delete slice", lambda: api.delete_slice(ACTOR, slice_.slice_id))
    yield sample


def _saved(path: Path, name: str) -> Sample:
    content, like, floor = path.read_bytes(), path.stat(), path.with_name("floor")
    floor.write_bytes(content)
    began = time.monotonic()
    files.replace(floor, content, like, keep=path.with_name("floor.previous"))
    return Sample(name, "floor", SAVE, time.monotonic() - began)


def _timed(name: str, operation: str, call: Callable[[], tuple[bool, Any]]) -> tuple[Any, Sample]:
    began = time.monotonic()
    succeeded, value = call()
    took = time.monotonic() - began
    if not succeeded:
        raise BenchError(f"{operation}: {value}")
    return value, Sample(name, "ours", operation, took)


def _add_workers(path: Path) -> None:
    with Database(path).transaction() as state:
        workers = Inventory().workers_list
        state.inventory = replace(state.inventory, workers_list=workers)
        state.workers = {address: Worker(10_000, 10_000.0, 100_000.0) for address in workers}
        state.users[ACTOR].quota_vms = state.users[ACTOR].used_vms + 2
