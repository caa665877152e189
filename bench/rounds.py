"""Both contenders in turn on one lab, round after round, with a look at the hosts after each phase."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import hosts
from bench.contenders import Facts
from bench.driver import PHASES
from lab import Lab

CONTENDERS = ("ours", "ssh")
IMAGE = "blank.qcow2"
LEAVE_SECONDS = 30.0

Say = Callable[[str], None]


class BenchError(Exception):
    """The measurement is worth nothing: a contender failed, or did not do what the other one did."""


@dataclass(frozen=True)
class Measured:
    """One phase of one contender in one round."""

    contender: str
    phase: str
    facts: Facts

    @property
    def seconds(self) -> float:
        """How long it took."""
        return float(self.facts["seconds"])


def measure(vms: int, repeat: int, say: Say) -> list[Measured]:
    """All rounds, on a lab of our own that is taken down whatever happens."""
    with _lab(say) as lab:
        hosts.prepare(lab, IMAGE)
        empty = hosts.count(lab)
        results: list[Measured] = []
        for number in range(1, repeat + 1):
            for contender in CONTENDERS if number % 2 else reversed(CONTENDERS):
                say(f"round {number} of {repeat}: {contender}")
                results += _life(lab, contender, vms, empty)
        return results


def _life(lab: Lab, contender: str, vms: int, empty: dict[str, int]) -> Iterator[Measured]:
    """One ring from design to deletion. The same objects must be there, and in the end nothing more than before."""
    with _driver(lab, contender, vms) as answer:
        for phase in PHASES:
            yield Measured(contender, phase, answer(phase))
            found = hosts.count(lab)
            if phase == "deploy":
                same = {what: found[what] for what in hosts.SAME}
                _expect(contender, phase, hosts.expected(vms), same)
        _expect(contender, "delete", empty, found)


def _expect(contender: str, phase: str, wanted: dict[str, int], found: dict[str, int]) -> None:
    wrong = [f"{found[what]} {what} instead of {number}" for what, number in wanted.items() if found[what] != number]
    if wrong:
        raise BenchError(f"after the {phase} of {contender} there are {', '.join(wrong)}")


@contextmanager
def _lab(say: Say) -> Iterator[Lab]:
    lab = Lab("bench", report=say)
    lab.down()
    try:
        lab.up()
        yield lab
    finally:
        lab.down()


@contextmanager
def _driver(lab: Lab, contender: str, vms: int) -> Iterator[Callable[[str], Facts]]:
    """A process in the manager's namespace that drives the hosts, with a database of its own as the lab made it."""
    database, image = lab.folder / f"{contender}.yaml", lab.folder / IMAGE
    shutil.copyfile(lab.database, database)
    shutil.copystat(lab.database, database)
    owner = lab.database.stat()
    shutil.chown(database, owner.st_uid, owner.st_gid)
    argv = [sys.executable, "-m", "bench.driver", contender, str(vms), str(database), str(image)]
    root = Path(__file__).parents[1]
    # A session of its own: Ctrl-C is for us, who take everything down in order. nsenter and setpriv become the driver.
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "start_new_session": True}
    with lab.popen(argv, cwd=root, **pipes) as process:
        try:
            yield lambda phase: _asked(process, contender, phase)
            process.communicate(timeout=LEAVE_SECONDS)
        finally:
            if process.poll() is None:  # an `ssh` that it waits for would outlive it
                os.killpg(process.pid, signal.SIGKILL)


def _asked(process: subprocess.Popen[Any], contender: str, phase: str) -> Facts:
    assert process.stdin  # noqa: S101 - for the type checker: it is a pipe
    assert process.stdout  # noqa: S101 - as above
    process.stdin.write(f"{phase}\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise BenchError(f"{phase} of {contender}: the driver ended without an answer")
    facts: Facts = json.loads(line)
    if "error" in facts:
        raise BenchError(f"{phase} of {contender}: {facts['error']}")
    return facts
