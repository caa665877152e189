"""The contenders in turn on one lab, round after round, with a count of objects on the hosts after each change."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import frozen, hosts, jobs
from bench.floor import Floor
from bench.samples import BenchError, Facts, Sample
from bench.work import Work
from core.inventory import Inventory
from database import Database
from lab import Lab, paths

IMAGE = "blank.qcow2"
LEAVE_SECONDS = 30.0
ROOT = Path(__file__).parents[1]

TITLES = {
    "ours": "this project",
    "floor": "the floor",
    "free": "the floor without barriers",
    "first": "the first floor",
    "pyinfra": "pyinfra",
    "ansible": "Ansible",
    "libvirt": "libvirt (VMs only)",
    "ssh": "one ssh per command",
}
FLOORS = ("floor", "free", "first")
SLOW = ("ssh", "ansible")
"""Contenders that need minutes where others need seconds: they may do fewer rounds."""

PHASES = {
    **dict.fromkeys(FLOORS, ("design", "deploy", "status", "delete")),
    "first": ("design", "deploy", "delete"),
    "ours": ("design", "connect", "deploy", "status", "delete"),
    "pyinfra": ("connect", "design", "deploy", "status", "delete"),
    "ansible": ("connect", "design", "deploy", "status", "delete"),
    "libvirt": ("connect", "deploy", "delete"),
    "ssh": ("design", "deploy", "delete"),
}

STATUS_REQUESTS = 5
"""Number of status requests in a round; they change nothing, so each round has several."""

Say = Callable[[str], None]
Ask = Callable[[str], Facts]


@dataclass(frozen=True)
class Series:
    """A work, its contenders and rounds, and the link to the hosts (milliseconds of a round trip)."""

    work: Work
    contenders: tuple[str, ...]
    rounds: int
    slow_rounds: int
    delay: int = 0

    @property
    def name(self) -> str:
        """Return the name of the series of these samples."""
        return f"{self.work} {self.delay} ms"


class Arena:
    """A lab that is up and ready for every contender; `programs` has the other orchestrators' programs."""

    def __init__(self, lab: Lab, programs: Path, say: Say) -> None:
        self.lab = lab
        self.say = say
        self.desk = lab.folder / "bench"
        self.desk.mkdir(exist_ok=True)
        paths.caller().own(self.desk)
        self._programs = programs
        self._libvirt = False
        hosts.prepare(lab, IMAGE)

    def run(self, series: Series) -> Iterator[Sample]:
        """Run all rounds of a series; every second round has the reverse order."""
        self.lab.set_round_trip(series.delay)
        try:
            for number in range(1, series.rounds + 1):
                for contender in series.contenders if number % 2 else reversed(series.contenders):
                    if contender not in SLOW or number <= series.slow_rounds:
                        self.say(f"{series.name}, round {number} of {series.rounds}: {TITLES[contender]}")
                        yield from self._life(series, contender)
        finally:
            self.lab.set_round_trip(0)

    def _life(self, series: Series, contender: str) -> Iterator[Sample]:
        """Run the work from design to deletion; check that its objects exist, and that none is left in the end."""
        before = hosts.count(self.lab)
        others = self._with_other_objects(series.work, contender)
        others("design")
        with self.asking(series.work, contender) as ask:
            for phase in _asked_for(contender):
                facts = ask(phase)
                yield Sample(series.name, contender, phase, facts.pop("seconds"), facts)
                if phase == "deploy":
                    self._expect_work(series.work, contender)
        others("delete")
        _expect(contender, "delete", before, hosts.count(self.lab))

    def _expect_work(self, work: Work, contender: str) -> None:
        same = hosts.VMS if contender == "libvirt" else hosts.SAME
        wanted, found = hosts.expected(work), hosts.count(self.lab)
        _expect(contender, "deploy", {what: wanted[what] for what in same}, found)

    def _with_other_objects(self, work: Work, contender: str) -> Callable[[str], object]:
        """Create and remove the other objects for a contender that only starts VMs."""
        if contender != "libvirt":
            return lambda _phase: None
        if not self._libvirt:
            hosts.start_libvirt(self.lab)
            self._libvirt = True
        return Floor(self.lab, jobs.life(work, self.inventory, self.image(work))).run

    @contextmanager
    def asking(self, work: Work, contender: str) -> Iterator[Ask]:
        """Yield a contender that is ready for the work and runs one phase after the other."""
        if contender in FLOORS:
            yield Floor(self.lab, self._floor(work, contender), barriers=contender != "free").run
        else:
            with self.driver(self.record(work, contender)) as ask:
                yield ask

    def _floor(self, work: Work, contender: str) -> jobs.Life:
        if contender == "first":
            return frozen.life(work, self.inventory)
        return jobs.life(work, self.inventory, self.image(work))

    def image(self, work: Work) -> Path:
        """Return the base image: the lab's own guest, or a disk that halts its guest, so that it stays idle."""
        return self.lab.image if work.boots else self.desk / IMAGE

    @property
    def inventory(self) -> Inventory:
        """Return the inventory of the lab."""
        return Database(self.lab.database).load().inventory

    def record(self, work: Work, contender: str, slice_ids: Sequence[int] = ()) -> dict[str, Any]:
        """Return the settings of a driver; it gets its own copy of the lab's database, unless it has slices already."""
        database = self.desk / f"{contender}.yaml"
        if not slice_ids:
            shutil.copyfile(self.lab.database, database)
            database.chmod(0o600)
            paths.caller().own(database)
        record: dict[str, Any] = {
            "contender": contender,
            "work": asdict(work),
            "database": str(database),
            "image": str(self.image(work)),
            "slice_ids": list(slice_ids),
            "folder": str(self.desk / contender),
            "programs": str(self._programs),
        }
        if contender in {"ansible", "pyinfra"}:
            inventory = self.inventory
            life = jobs.life(work, inventory, self.image(work))
            record["life"] = {phase: [turn.to_dict() for turn in turns] for phase, turns in life.items()}
            record["hosts"] = [*inventory.workers_list[: work.workers], inventory.network_node]
            record["ssh"] = _for_pyinfra(inventory)
        return record

    @contextmanager
    def driver(self, record: dict[str, Any], tag: str = "") -> Iterator[Ask]:
        """Yield a process in the manager's namespace that drives the hosts, one phase after the other."""
        contender = record["contender"]
        file = self.desk / f"{contender}{tag}.json"
        file.write_text(json.dumps(record))
        paths.caller().own(file)
        python, module = sys.executable, "bench.driver"
        if contender == "pyinfra":
            python, module = str(self._programs / "python"), "bench.with_pyinfra"
        # Its own session keeps Ctrl-C away, because the benchmark removes everything in order.
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "start_new_session": True}
        with self.lab.popen([python, "-m", module, str(file)], cwd=ROOT, **pipes) as process:
            try:
                asked(process, contender, "ready")  # no phase includes its imports
                yield lambda phase: asked(process, contender, phase)
                process.communicate(timeout=LEAVE_SECONDS)
            finally:
                if process.poll() is None:  # an `ssh` that it waits for would outlive it
                    os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def arena(workers: int, programs: Path, say: Say, name: str = "bench") -> Iterator[Arena]:
    """Yield a separate lab that is removed after any failure."""
    lab = Lab(name, workers=workers, report=say)
    lab.down()
    try:
        lab.up()
        yield Arena(lab, programs, say)
    finally:
        lab.down()


def asked(process: subprocess.Popen[Any], contender: str, phase: str) -> Facts:
    """Return the answer of a driver to one phase."""
    begin(process, phase)
    return answer(process, contender, phase)


def begin(process: subprocess.Popen[Any], phase: str) -> None:
    """Let a driver begin with a phase."""
    assert process.stdin  # noqa: S101 - for the type checker: it is a pipe
    process.stdin.write(f"{phase}\n")
    process.stdin.flush()


def answer(process: subprocess.Popen[Any], contender: str, phase: str) -> Facts:
    """Return the driver's answer at the end of a phase; other lines are messages of the contender's program."""
    assert process.stdout  # noqa: S101 - as above
    for line in process.stdout:
        if line.startswith("{"):
            facts: Facts = json.loads(line)
            if "error" in facts:
                raise BenchError(f"{phase} of {contender}: {facts['error']}")
            return facts
    raise BenchError(f"{phase} of {contender}: the driver ended without an answer")


def _asked_for(contender: str) -> Iterator[str]:
    for phase in PHASES[contender]:
        yield from [phase] * (STATUS_REQUESTS if phase == "status" and contender not in SLOW else 1)


def _expect(contender: str, phase: str, wanted: dict[str, int], found: dict[str, int]) -> None:
    wrong = [f"{found[what]} {what} instead of {number}" for what, number in wanted.items() if found[what] != number]
    if wrong:
        raise BenchError(f"after the {phase} of {contender} there are {', '.join(wrong)}")


def _for_pyinfra(inventory: Inventory) -> dict[str, Any]:
    ssh = inventory.ssh
    return {
        "ssh_user": ssh.user,
        "ssh_port": ssh.port,
        "ssh_key": ssh.key_file,
        "ssh_known_hosts_file": ssh.known_hosts,
        "ssh_strict_host_key_checking": "accept-new",
        "ssh_allow_agent": False,
        "ssh_look_for_keys": False,
    }
