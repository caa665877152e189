"""Slices made from files: `create` against the disks alone, each worker's commands as one local script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import hosts, jobs
from bench.floor import Floor
from bench.ours import Ours, value_of
from bench.rounds import Arena
from bench.samples import BenchError, Facts, Sample
from bench.work import FLAVOR, OWNER, SECRET, Work
from database import Database

PAIRED = "40 VMs on 20 links from a file"
RING = "ring of 20 from a file"
CREATE = "create"


class Creating(Ours):
    """One process with its connections, which makes a slice from the text of a slice file."""

    def __init__(self, work: Work, database: Path, image: Path, text: str) -> None:
        super().__init__(work, database, image)
        self._text = text

    def connect(self) -> Facts:
        """Connect to every host, and measure the workers."""
        super().connect()
        value_of(self._api.discover_workers())
        return {}

    def create(self) -> Facts:
        """Read the file, and create its slice with all disks."""
        design = value_of(self._api.designs.read(OWNER, self._text))
        slice_ = value_of(self._api.designs.create(OWNER, design))
        self._slice_ids = [slice_.slice_id]
        return {"slice": slice_.slice_id}


def files() -> dict[str, tuple[int, str]]:
    """Return for each series the number of VMs and the slice file; every second link of the pairs is a LAN of three."""
    return {PAIRED: (40, _file(40, _pairs(40))), RING: (20, _file(20, [[n, (n + 1) % 20] for n in range(20)]))}


def measure(arena: Arena, rounds: int) -> Iterator[Sample]:
    """Create each slice, and make the same disks by local scripts; both are removed again."""
    for number in range(1, rounds + 1):
        for name, (vms, text) in files().items():
            arena.say(f"{name}, round {number} of {rounds}")
            yield from _round(arena, name, Work("ring", vms), text)


def _round(arena: Arena, name: str, work: Work, text: str) -> Iterator[Sample]:
    before = hosts.count(arena.lab)
    record: dict[str, Any] = arena.record(work, "create") | {"text": text}
    with arena.driver(record) as ask:
        ask("connect")
        facts = ask(CREATE)
        _expect(arena, work.vms, before)
        store = Database(Path(record["database"])).load()
        slice_, inventory = store.slices[facts["slice"]], store.inventory
        ask("delete")
    yield Sample(name, "ours", CREATE, facts["seconds"])
    for vm in slice_.vms:
        vm.vnc_secret = SECRET
    floor = Floor(arena.lab, jobs.life_of(slice_, inventory))
    seconds = floor.run("design")["seconds"]
    _expect(arena, work.vms, before)
    floor.run("delete")
    _expect(arena, 0, before)
    yield Sample(name, "floor", CREATE, seconds)


def _expect(arena: Arena, disks: int, before: dict[str, int]) -> None:
    found = hosts.count(arena.lab)["overlays"] - before["overlays"]
    if found != disks:
        raise BenchError(f"there are {found} overlays instead of {disks}")


def _pairs(vms: int) -> list[list[int]]:
    pairs = [[first, first + 1] for first in range(0, vms, 2)]
    return [[*pair, (pair[1] + 1) % vms] if place % 2 else pair for place, pair in enumerate(pairs)]


def _file(vms: int, links: list[list[int]]) -> str:
    names = "".join(f"  v{number}: {{flavor: {FLAVOR}, nics: 4}}\n" for number in range(vms))
    ends = "".join(f"- [{', '.join(f'v{number}' for number in link)}]\n" for link in links)
    return f"slice: bench\nvms:\n{names}links:\n{ends}"
