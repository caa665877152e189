"""Several slices at the same time on the same hosts, each deployed by a process of its own: 20 students, or two."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

from bench import hosts, jobs
from bench.floor import Floor
from bench.rounds import Arena, Ask
from bench.samples import BenchError, Facts, Sample
from bench.work import Work

CHANGES = ("deploy", "delete")
TRIES = 20


def series(processes: int, vms: int) -> str:
    """Return the name of the series of these samples."""
    return f"{processes} x ring:{vms} at once"


def measure(arena: Arena, processes: int, vms: int, rounds: int) -> Iterator[Sample]:
    """Deploy `processes` rings of `vms` VMs at once; a phase lasts until the last one is done."""
    work = Work("ring", processes * vms, per_slice=vms)
    for number in range(1, rounds + 1):
        arena.say(f"{series(processes, vms)}, round {number} of {rounds}")
        for one in (_ours, _floor) if number % 2 else (_floor, _ours):
            before = hosts.count(arena.lab)
            yield from one(arena, work, series(processes, vms))
            left = {what: n for what, n in hosts.count(arena.lab).items() if n != before[what]}
            if left:
                raise BenchError(f"left behind after {series(processes, vms)}: {left}")


def _ours(arena: Arena, work: Work, name: str) -> Iterator[Sample]:
    with ExitStack() as stack:
        designer = stack.enter_context(arena.driver(arena.record(work, "ours")))
        slice_ids = designer("design")["slices"]
        asks: list[Ask] = []
        for slice_id in slice_ids:
            record = arena.record(work, "ours", [slice_id])
            asks.append(stack.enter_context(arena.driver(record, f"-{slice_id}")))
        yield _at_once(name, "ours", "connect", [partial(_connected, ask) for ask in asks])
        for phase in CHANGES:
            yield _at_once(name, "ours", phase, [partial(ask, phase) for ask in asks])
            if phase == "deploy":
                _expect(arena, work)


def _floor(arena: Arena, work: Work, name: str) -> Iterator[Sample]:
    inventory = arena.inventory
    floors = [Floor(arena.lab, jobs.life_of(slice_, inventory)) for slice_ in work.slices(inventory, arena.image(work))]
    for floor in floors:
        floor.run("design")
    for phase in CHANGES:
        yield _at_once(name, "floor", phase, [partial(floor.run, phase) for floor in floors])
        if phase == "deploy":
            _expect(arena, work)


def _connected(ask: Ask) -> Facts:
    """Connect, and try again where sshd drops one of many simultaneous clients (MaxStartups)."""
    began = time.monotonic()
    for refused in range(TRIES):
        try:
            ask("connect")
        except BenchError as error:
            if "HostUnreachable" not in str(error):
                raise
        else:
            return {"seconds": time.monotonic() - began, "refused": refused}
    raise BenchError(f"a host refused {TRIES} connections in a row")


def _at_once(name: str, contender: str, phase: str, calls: Sequence[Callable[[], Facts]]) -> Sample:
    began = time.monotonic()
    with ThreadPoolExecutor(max_workers=len(calls)) as pool:
        facts = [future.result() for future in [pool.submit(call) for call in calls]]
    took = time.monotonic() - began
    each = sorted(round(fact["seconds"], 3) for fact in facts)
    return Sample(name, contender, phase, took, {"each": each, "refused": sum(f.get("refused", 0) for f in facts)})


def _expect(arena: Arena, work: Work) -> None:
    wanted, found = hosts.expected(work), hosts.count(arena.lab)
    if wrong := {what: found[what] for what, number in wanted.items() if found[what] != number}:
        raise BenchError(f"after {work.title} were deployed at once there are {wrong} instead of {wanted}")
