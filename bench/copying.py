"""The copy of a base image of 500 MB to workers that lack it, against `scp` of the same file."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from bench import hosts
from bench.one_ssh import ssh_options
from bench.rounds import ROOT, Arena
from bench.samples import BenchError, Facts, Sample
from bench.work import Work
from database import Database
from deployment import DeploymentAPI
from lab import paths
from lab.command import run
from remote.events import Event, StepDone
from remote.plan import Command, Plan, Stage, Step
from remote.runner import Runner
from remote.ssh import Connections

MEGABYTES = 500
NAME = "big.qcow2"
SERIES = f"image of {MEGABYTES} MB"
WORKERS = (1, 2, 4)
"""Numbers of workers that get the image at the same time."""

SECONDS = 300.0
_BLOCK = 1 << 20


class Copying:
    """Overlays of VMs whose base image is missing: one VM on each worker, all in one plan."""

    def __init__(self, work: Work, database: Path, image: Path, number: int) -> None:
        self._inventory = Database(database).load().inventory
        slice_ = work.slices(self._inventory, image)[number]
        self._plan = DeploymentAPI(self._inventory).disk_plan(slice_, slice_.vms)
        self._runner = Runner(Connections(self._inventory.ssh).host, self._listen)
        self._copied = 0.0

    def connect(self) -> Facts:
        """Connect to every worker."""
        steps = tuple(Step(host, "connect", (Command(("true",)),)) for host in self._inventory.workers_list)
        self._runner.run(Plan((Stage("connect", steps),)))
        return {}

    def copy(self) -> Facts:
        """Copy the image and make the overlays; `copied` is the longest time of an image alone, with its digest."""
        report = self._runner.run(self._plan)
        if report.error:
            raise report.error
        return {"copied": self._copied}

    def _listen(self, event: Event) -> None:
        if isinstance(event, StepDone) and event.step.title.startswith("base image"):
            self._copied = max(self._copied, event.seconds)


def measure(arena: Arena, rounds: int) -> Iterator[Sample]:
    """Measure copies to one worker, to several at once, and to one worker for two slices at once."""
    image = arena.desk / NAME
    arena.say(f"making an {SERIES}")
    make_image(image)
    for number in range(1, rounds + 1):
        arena.say(f"{SERIES}, round {number} of {rounds}")
        for workers in WORKERS:
            calls: list[Callable[[], Iterator[Sample]]] = [
                lambda workers=workers: _ours(arena, image, workers, 1),  # type: ignore[misc]
                lambda workers=workers: _scp(arena, image, workers),  # type: ignore[misc]
            ]
            for call in calls if number % 2 else reversed(calls):
                yield from call()
        yield from _ours(arena, image, 1, 2)


def phase(workers: int, processes: int) -> str:
    """Return the name of a phase: which copies go where."""
    return f"{workers} workers" if workers > 1 else "1 worker" if processes == 1 else "1 worker, two slices at once"


def make_image(path: Path) -> None:
    """Create a qcow2 file of that size that does not compress, because a real base image is compressed already."""
    raw = path.with_suffix(".raw")
    with raw.open("wb") as file:
        for _ in range(MEGABYTES * 1_000_000 // _BLOCK):
            file.write(os.urandom(_BLOCK))
    run(["qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", raw, path])
    raw.unlink()
    paths.caller().own(path)


def _ours(arena: Arena, image: Path, workers: int, processes: int) -> Iterator[Sample]:
    # Each worker has one VM; two processes need the image where there are two slices.
    work = Work("line", workers * processes, workers, per_slice=workers)
    records = [
        {**arena.record(work, "ours"), "contender": "copy", "image": str(image), "number": number}
        for number in range(processes)
    ]
    try:
        with ExitStack() as stack:
            asks = [stack.enter_context(arena.driver(record, f"-{number}")) for number, record in enumerate(records)]
            for ask in asks:
                ask("connect")
            began = time.monotonic()
            with ThreadPoolExecutor() as pool:
                facts = list(pool.map(lambda ask: ask("copy"), asks))
            copied = max(fact["copied"] for fact in facts)
            yield Sample(SERIES, "ours", phase(workers, processes), time.monotonic() - began, {"copied": copied})
    finally:
        _forget(arena)


def _scp(arena: Arena, image: Path, workers: int) -> Iterator[Sample]:
    inventory = arena.inventory
    ssh = inventory.ssh
    began = time.monotonic()
    running = [
        arena.lab.popen(
            ["scp", "-q", *ssh_options(ssh), "-P", str(ssh.port), str(image), f"{ssh.user}@{worker}:vm_images/{NAME}"],
            cwd=ROOT, stdin=subprocess.DEVNULL,
        )
        for worker in inventory.workers_list[:workers]
    ]  # fmt: skip
    statuses = [process.wait(SECONDS) for process in running]
    took = time.monotonic() - began
    _forget(arena)
    if any(statuses):
        raise BenchError(f"scp ended with {statuses}")
    yield Sample(SERIES, "scp", phase(workers, 1), took)


def _forget(arena: Arena) -> None:
    for worker in hosts.workers(arena.lab):
        script = f"rm -rf {hosts.IMAGES}/slice-* {hosts.IMAGES}/{NAME} {hosts.IMAGES}/.{NAME}*"
        arena.lab.exec(worker, ["sh", "-c", script])
