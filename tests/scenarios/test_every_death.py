"""A manager killed at every moment of a change; the next manager finishes or rolls back, with nothing left over.

`make test` runs a selection of these deaths, `make torture` all of them. `mortal.py` defines a moment.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from lab import Lab, paths
from tests.support.lab.mortal import SIZE
from tests.support.lab.visitor import HOSTS, IMAGES, Menu, empty_database, traces
from tests.support.paths import ROOT
from tests.support.scale import LONG, scaled

pytestmark = [pytest.mark.lab, pytest.mark.torture]

MORTAL = ROOT / "tests/support/lab/mortal.py"
T = TypeVar("T")
Moment = tuple[str, int]


@dataclass
class Grave:
    """A separate database on the lab, and managers that work on it until they die."""

    lab: Lab
    database: Path

    def live(self, action: str, slice_id: int) -> dict[str, Any]:
        """Run `action` to its end; return its answer and its moments."""
        said = self.ended(action, slice_id)
        assert said["done"], said["answer"]
        return said

    def ended(self, action: str, slice_id: int) -> dict[str, Any]:
        """Run `action`, which may be refused; return its answer and its moments."""
        process = self._start(action, slice_id)
        said: dict[str, Any] = json.loads(process.communicate(timeout=180)[0])
        return said

    def die(self, action: str, slice_id: int, moment: Moment) -> None:
        """Begin `action`; its manager is killed at `moment`."""
        process = self._start(action, slice_id, *map(str, moment))
        said = process.communicate(timeout=180)[0]
        assert process.returncode == -signal.SIGKILL, (moment, said)

    def slice(self, slice_id: int) -> dict[str, Any] | None:
        """Return the slice's record in the file."""
        found: dict[str, Any] | None = yaml.safe_load(self.database.read_text())["slices"].get(str(slice_id))
        return found

    def is_unfinished(self, slice_id: int) -> bool:
        record = self.slice(slice_id)
        if not record:
            return False
        begun = any(vm["status"] == "pending" or "status_before" in vm for vm in record["vms"])
        return record["status"] in {"deploying", "deleting"} or "before" in record or begun

    def recover(self, slice_id: int, answer: str, *, by_menu: bool) -> None:
        """Start the next manager, which finds the unfinished change, if any, and gets one answer."""
        if by_menu:
            unfinished = self.is_unfinished(slice_id)
            menu = Menu(self.lab, "admin", self.database, *([answer] if unfinished else []))
            assert bool(re.search("when its manager stopped|was not finished", menu.greeting)) == unfinished
            assert "Error" not in menu.greeting
            menu.close()
        elif self.is_unfinished(slice_id):
            self.live({"f": "finish", "t": "take back"}[answer], slice_id)
        assert not self.is_unfinished(slice_id)

    def files(self) -> set[str]:
        """Return the files of the database's folder, without empty lock files of a manager that died early."""
        return {path.name for path in self.database.parent.iterdir() if ".slice-" not in path.name}

    def _start(self, *words: object) -> subprocess.Popen[str]:
        argv = [sys.executable, str(MORTAL), str(self.database), *map(str, words)]
        return self.lab.popen(argv, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def grave(lab: Lab, home: Path) -> Grave:
    """Return a database with two flavors: image `blank` is on the workers, `copied` takes several pieces."""
    flavors = {}
    for name, size in (("blank", 64 << 10), ("copied", 5 << 20)):
        raw, image = home / f"{name}.raw", home / f"{name}.qcow2"
        raw.write_bytes(os.urandom(size))
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, image], check=True)
        raw.unlink()
        paths.caller().own(image)
        flavors[name] = {"cores": 1, "ram_gb": 0.1, "disk_gb": 0.01, "image": str(image)}
    folder = home / "database"
    folder.mkdir()
    paths.caller().own(folder)
    database = empty_database(lab, folder / "database.yaml", lambda record: record["flavors"].update(flavors))
    Menu(lab, "admin", database).close()  # every login leaves these files in the folder
    grave = Grave(lab, database)
    grave.live("delete", int(grave.live("design", 0)["answer"]))  # the image stays
    return grave


@pytest.fixture(scope="module")
def ring(grave: Grave) -> Iterator[int]:
    """Return a ring of 4 in design, with internet."""
    slice_id = int(grave.live("design", 0)["answer"])
    yield slice_id
    grave.live("delete", slice_id)


def deaths(counts: dict[str, int], **bounded: int) -> list[Moment]:
    """Return all moments in the long run, or else a few of each kind, spread over the change."""
    moments = {kind: [(kind, n) for n in range(1, total + 1)] for kind, total in counts.items()}
    return [
        m
        for kind, all_of_it in moments.items()
        for m in (all_of_it if LONG else spread(all_of_it, bounded.get(kind, 0)))
    ]


def spread(items: Sequence[T], count: int) -> list[T]:
    """Return `count` of the items, the last one included."""
    return [items[(place + 1) * len(items) // count - 1] for place in range(min(count, len(items)))]


def seen(lab: Lab) -> dict[str, str]:
    """Return the traces, without numbers and order of Open vSwitch's ports and without ids of disks."""
    return {
        host: "\n".join(sorted(re.sub(r"(in_port=|output:|\.id-)\w+", r"\1N", text).splitlines()))
        for host, text in traces(lab).items()
    }


def _lines(state: dict[str, str]) -> list[str]:
    return [f"{host}: {line}" for host, text in state.items() for line in text.splitlines()]


def agree(lab: Lab, expected: dict[str, str], moment: object) -> None:
    """Check that the hosts are as expected; a link's state may need a moment."""
    deadline = time.monotonic() + 5
    while (found := seen(lab)) != expected and time.monotonic() < deadline:
        time.sleep(0.2)
    lines = difflib.unified_diff(_lines(expected), _lines(found), "expected", f"after a death at {moment}", n=0)
    assert found == expected, "\n".join(lines)


def test_a_deployment(lab: Lab, grave: Grave, ring: int) -> None:
    designed, before, files = grave.database.read_bytes(), seen(lab), grave.files()
    counts = grave.live("deploy", ring)["counts"]
    running = seen(lab)
    _back_to_design(grave, ring, designed)
    agree(lab, before, "none")
    count = 0
    for moment in deaths(counts, step=4, batch=1, bytes=1):
        for answer in scaled([("t", "f")[count % 2]], ["t", "f"]):
            count += 1
            grave.die("deploy", ring, moment)
            begun = grave.is_unfinished(ring)
            grave.recover(ring, answer, by_menu=count % 5 == 1)
            record = grave.slice(ring)
            assert record
            if record["status"] == "running":
                assert not begun or answer == "f"
                agree(lab, running, moment)
                _expect_pids(lab, record)
                _back_to_design(grave, ring, designed)
            else:
                assert not begun or answer == "t"
            agree(lab, before, (moment, answer))
            assert grave.files() == files
            grave.database.write_bytes(designed)
    print(f"deploy: {counts}, {count} deaths")  # noqa: T201


def test_a_take_back(lab: Lab, grave: Grave, ring: int) -> None:
    """Kill the manager that rolls back, too."""
    designed, before = grave.database.read_bytes(), seen(lab)
    grave.die("deploy", ring, ("stage", 4))
    half = grave.database.read_bytes()
    counts = grave.live("take back", ring)["counts"]
    moments = deaths(counts, bytes=1)
    for moment in moments:
        grave.database.write_bytes(designed)
        grave.die("deploy", ring, ("stage", 4))
        grave.die("take back", ring, moment)
        grave.recover(ring, "t", by_menu=False)
        agree(lab, before, moment)
    assert half != designed
    grave.database.write_bytes(designed)
    print(f"take back: {counts}, {len(moments)} deaths")  # noqa: T201


@pytest.mark.parametrize("verb", scaled(["reset"], ["reset", "stop", "start"]))
def test_a_change_of_power(lab: Lab, grave: Grave, ring: int, verb: str) -> None:
    files = grave.files()
    grave.live("deploy", ring)
    if verb == "start":
        grave.live("stop", ring)
    states = {}
    for way in ("before", "after"):
        states[way] = seen(lab)
        counts = grave.live({"before": verb, "after": _BACK.get(verb, verb)}[way], ring)["counts"]
    moments = deaths(counts, step=2, file=1)
    for count, moment in enumerate(moments):
        answer = ("f", "t")[count % 2]
        grave.die(verb, ring, moment)
        begun = grave.is_unfinished(ring)
        _end_change_of_power(grave, ring, answer)
        if seen(lab) != states["before"]:
            assert not begun or answer == "f"
            agree(lab, states["after"], moment)
            grave.live(_BACK.get(verb, verb), ring)
        agree(lab, states["before"], moment)
        record = grave.slice(ring)
        assert record
        if verb != "start":
            _expect_pids(lab, record)
        assert grave.files() == files
    if verb == "start":
        grave.live("start", ring)
    _roll_back(grave, ring)  # the file keeps the marks of the new disks
    print(f"{verb}: {counts}, {len(moments)} deaths")  # noqa: T201


_BACK = {"stop": "start", "start": "stop"}


def _end_change_of_power(grave: Grave, slice_id: int, answer: str) -> None:
    """Finish an unfinished change, or take it back; a reset that has discarded old disks can only be finished."""
    if not grave.is_unfinished(slice_id):
        return
    said = grave.ended({"f": "finish", "t": "take back"}[answer], slice_id)
    if not said["done"]:
        assert "the old disk is gone" in said["answer"]
        grave.live("finish", slice_id)


def test_a_change_of_a_running_slice(lab: Lab, grave: Grave, ring: int) -> None:
    """Exchange a link for a VM: after each death the slice is as before or as wanted, and the other VMs run on."""
    grave.live("deploy", ring)
    running, before, files = grave.database.read_bytes(), seen(lab), grave.files()
    counts = grave.live("change", ring)["counts"]
    changed = seen(lab)
    _change_back(grave, ring, running)
    agree(lab, before, "none")
    moments = deaths(counts, step=4, batch=2, file=1)
    for count, moment in enumerate(moments):
        grave.die("change", ring, moment)
        grave.recover(ring, ("f", "t")[count % 2], by_menu=count % 5 == 1)
        record = grave.slice(ring)
        assert record
        _expect_pids(lab, record)
        if len(record["vms"]) > SIZE:
            agree(lab, changed, moment)
            _change_back(grave, ring, running)
        agree(lab, before, moment)
        assert grave.files() == files
        grave.database.write_bytes(running)
    _roll_back(grave, ring)
    print(f"change: {counts}, {len(moments)} deaths")  # noqa: T201


def _change_back(grave: Grave, slice_id: int, running: bytes) -> None:
    """Bring the slice back, and the file: VMs that ran on have the pids that it names."""
    grave.live("change back", slice_id)
    grave.database.write_bytes(running)


def test_a_deletion(lab: Lab, grave: Grave) -> None:
    nothing, empty = seen(lab), grave.database.read_bytes()
    slice_id = int(grave.live("design", 1)["answer"])
    designed, files = grave.database.read_bytes(), grave.files()
    grave.live("deploy", slice_id)
    running = grave.database.read_bytes()
    counts = grave.live("delete", slice_id)["counts"]
    agree(lab, nothing, "none")
    moments = deaths(counts, step=2, file=1)
    for count, moment in enumerate(moments):
        grave.database.write_bytes(designed)
        grave.live("deploy", slice_id)
        grave.die("delete", slice_id, moment)
        grave.recover(slice_id, "f", by_menu=count % 4 == 0)
        if grave.slice(slice_id):  # it died before its first write
            assert moment == ("file", 1)
            grave.live("delete", slice_id)
        agree(lab, nothing, moment)
        assert grave.files() == files
    assert running != designed != empty
    print(f"delete: {counts}, {len(moments)} deaths")  # noqa: T201


def test_a_vm_that_is_added_with_a_copy_of_its_image(lab: Lab, grave: Grave, ring: int) -> None:
    designed, before, files = grave.database.read_bytes(), seen(lab), grave.files()
    counts = grave.live("add", ring)["counts"]
    added = seen(lab)
    _forget_added(lab, grave, designed)
    moments = deaths(counts, step=1, piece=2, file=1)
    count = 0
    for moment in moments:
        for answer in scaled([("t", "f")[count % 2]], ["t", "f"]):
            count += 1
            grave.die("add", ring, moment)
            grave.recover(ring, answer, by_menu=count % 5 == 1)
            record = grave.slice(ring)
            assert record
            if len(record["vms"]) > 4:
                agree(lab, added, moment)
            else:
                assert f"slice-{ring}/added" not in "".join(traces(lab).values())
            assert grave.files() == files
            _forget_added(lab, grave, designed)
            agree(lab, before, moment)
    print(f"add: {counts}, {count} deaths")  # noqa: T201


@pytest.mark.usefixtures("ring")
def test_a_slice_that_is_created_at_once(lab: Lab, grave: Grave) -> None:
    designed, before, files = grave.database.read_bytes(), seen(lab), grave.files()
    slice_id = yaml.safe_load(designed)["next_vm_id"]
    counts = grave.live("create", 0)["counts"]
    created = seen(lab)
    _forget_created(lab, grave, designed, slice_id)
    agree(lab, before, "none")
    count = 0
    for moment in deaths(counts, step=4, piece=2, file=3, batch=1):
        for answer in scaled([("t", "f")[count % 2]], ["t", "f"]):
            count += 1
            grave.die("create", 0, moment)
            grave.recover(slice_id, answer, by_menu=count % 5 == 1)
            record = grave.slice(slice_id)
            if record:
                assert (record["status"], len(record["vms"]), len(record["links"])) == ("design", 4, 4)
                agree(lab, created, moment)
            else:
                assert f"slice-{slice_id}" not in "".join(traces(lab).values())
                assert yaml.safe_load(grave.database.read_text())["users"] == yaml.safe_load(designed)["users"]
            assert grave.files() == files
            _forget_created(lab, grave, designed, slice_id)
            agree(lab, before, moment)
    print(f"create: {counts}, {count} deaths")  # noqa: T201


def _forget_created(lab: Lab, grave: Grave, designed: bytes, slice_id: int) -> None:
    """Remove the disks and the cached images of the created slice, and restore the file."""
    grave.database.write_bytes(designed)
    made = f"{IMAGES}/copied.qcow2 {IMAGES}/.copied.qcow2.seal {IMAGES}/slice-{slice_id}"
    for host in ("worker1", "worker2"):
        lab.exec(host, ["sh", "-c", f"rm -rf {made}"])


def _back_to_design(grave: Grave, slice_id: int, designed: bytes) -> None:
    """Roll a running slice back, and restore the file."""
    _roll_back(grave, slice_id)
    grave.database.write_bytes(designed)


def _roll_back(grave: Grave, slice_id: int) -> None:
    """Roll a running slice back, as if its manager had died at the very end."""
    record = yaml.safe_load(grave.database.read_text())
    record["slices"][str(slice_id)]["status"] = "deploying"
    grave.database.write_text(yaml.safe_dump(record, sort_keys=False))
    grave.live("take back", slice_id)


def _expect_pids(lab: Lab, record: dict[str, Any]) -> None:
    for vm in record["vms"]:
        host = HOSTS[vm["worker_ip"]]
        assert "qemu-system-x86_64" in lab.exec(host, ["cat", f"/proc/{vm['pid']}/cmdline"]).stdout


def _forget_added(lab: Lab, grave: Grave, designed: bytes) -> None:
    """Remove the disk and the cached image of the added VM, and restore the file."""
    grave.database.write_bytes(designed)
    cached = f"{IMAGES}/copied.qcow2 {IMAGES}/.copied.qcow2.seal"
    for host in ("worker1", "worker2"):
        lab.exec(host, ["sh", "-c", f"rm -f {cached} {IMAGES}/slice-*/added_img.qcow2 {IMAGES}/slice-*/added.id-*"])
