"""A worker that lies or drips bytes is named, gets no VMs, and delays no session beyond its deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import pytest

from database import Database
from lab import Lab
from tests.lab.test_drift import cli
from tests.lab.test_failures import replaced
from tests.support.lab.visitor import Menu, age_measurements

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("idle_guests")]

COLLECT_SECONDS, FIX_SECONDS = 10, 20
"""The deadlines of docs/operations.md, without the start of the program."""

SLACK = 5

_SH = "/usr/bin/sh"
_DRIPS = """#!/bin/bash
[ "$1" = -s ] || exec /usr/bin/dash "$@"
while IFS= read -r line; do
  [[ ! $line =~ ([0-9a-f]{24}) ]] || break
done
for stream in 1 2; do printf '\\n%s 0 begin\\n' "${BASH_REMATCH[1]}" >&$stream; done
while printf x; do sleep 1; done
"""
"""A replacement for the shell that reads batches: it begins each of them, and then prints a byte a second."""


@contextmanager
def dripping(lab: Lab, host: str) -> Iterator[None]:
    lab.exec(host, ["install", "-m", "755", "/dev/stdin", f"{_SH}.liar"], input=_DRIPS)
    lab.exec(host, ["ln", "-sf", "sh.liar", _SH])
    try:
        yield
    finally:
        lab.exec(host, ["ln", "-sf", "dash", _SH])


class LockWatch:
    """A thread that takes the file's lock again and again, like another session; `longest` is the longest wait."""

    def __init__(self, lab: Lab) -> None:
        self._database = Database(lab.database)
        self._over = threading.Event()
        self.longest = 0.0

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            began = time.monotonic()
            with self._database.transaction():
                self.longest = max(self.longest, time.monotonic() - began)


def test_a_worker_that_drips_bytes_delays_no_session_beyond_its_deadline(lab: Lab) -> None:
    """The bounds are for what is waited for; the start of the program takes as long as it takes on this machine."""
    began = time.monotonic()
    Menu(lab).close()
    start = time.monotonic() - began
    age_measurements(lab.database)
    with dripping(lab, "worker1"):
        began = time.monotonic()
        menu = Menu(lab)
        assert time.monotonic() - began < start + COLLECT_SECONDS + SLACK
        worker = Database(lab.database).load().workers["10.0.10.1"]
        assert not worker.up
        assert "was not done within 10 s" in worker.problem
        slice_id = menu.create_slice("beside")
        menu.add_vm(slice_id, "one")
        with LockWatch(lab) as watch:
            began = time.monotonic()
            status, said = cli(lab, "doctor", "--fix", "--yes")
            assert time.monotonic() - began < start + COLLECT_SECONDS + FIX_SECONDS + COLLECT_SECONDS + SLACK
        assert status == 2
        assert "10.0.10.1" in said
        assert watch.longest < FIX_SECONDS + SLACK
    menu.delete(slice_id)
    menu.close()


def test_a_worker_that_cannot_be_is_named_to_all_and_gets_no_vms(lab: Lab) -> None:
    with replaced(lab, "worker1", "/usr/bin/nproc", "echo 99999999"):
        menu = Menu(lab, "student")
        resources = menu.choose(1)
        assert "gives an invalid answer: 99999999 cores" in resources
        slice_id = menu.create_slice("elsewhere")
        for name in ("one", "two"):
            menu.add_vm(slice_id, name)
        assert {vm.worker for vm in menu.topology(slice_id).values()} == {"worker2"}
    menu.delete(slice_id)
    menu.close()


def test_an_answer_of_escapes_reaches_no_terminal(lab: Lab) -> None:
    with replaced(lab, "worker1", "/usr/bin/nproc", "printf '\\033[2J\\n'"):
        menu = Menu(lab)
        resources = menu.choose(1)
        assert "gives an invalid answer: [2J cores" in resources
        assert "\x1b[2J" not in resources
    menu.close()
