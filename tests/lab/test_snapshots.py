"""Snapshots of VMs by commands, inside real disks, of VMs that run and of VMs that do not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab
from tests.support.lab.power_desk import OTHER, PATTERN, PowerDesk

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def desk(lab: Lab, home: Path) -> Iterator[PowerDesk]:
    desk = PowerDesk(lab, home)
    yield desk
    desk.run("delete", "lab", "--yes")


def tags(desk: PowerDesk, name: str) -> list[str]:
    """Return the tags of the snapshots in a VM's disk."""
    vm = desk.vm(name)
    listed = desk.on_worker(vm, "qemu-img", "snapshot", "-l", "-U", desk.disk(vm)).splitlines()
    return [line.split()[1] for line in listed[2:]]


def test_the_disk_of_a_stopped_vm_comes_back(desk: PowerDesk) -> None:
    desk.run("stop", "lab", "b", "--now", "--yes")
    b = desk.vm("b")
    desk.write(b, PATTERN)
    assert desk.run("snapshot", "lab", "base", "b")[0] == "Snapshot base: b\n"
    desk.write(b, OTHER)
    assert desk.run("restore", "lab", "base", "--yes")[0] == "Restored base: b\n"
    assert desk.has(b, PATTERN)
    assert not desk.processes(b)
    desk.on_worker(b, "qemu-img", "check", "-q", desk.disk(b))
    assert tags(desk, "b") == ["cloud-base"]
    desk.run("start", "lab", "b")


def test_a_vm_that_runs_goes_on_while_its_snapshot_is_taken(desk: PowerDesk) -> None:
    before = desk.processes(desk.vm("b"))
    output, seconds = desk.run("snapshot", "lab", "live")
    assert output == "Snapshot live: a, b\n"
    assert seconds < 15
    assert desk.processes(desk.vm("b")) == before
    assert (tags(desk, "a"), tags(desk, "b")) == (["cloud-live"], ["cloud-base", "cloud-live"])
    assert len(desk.run("snapshots", "lab")[0].splitlines()) == 3
    assert desk.run("doctor")[0] == "Database and hosts agree: no findings\n"
    address = desk.guest("b").addresses()["eth1"]
    assert desk.run("restore", "lab", "live", "b", "--yes")[0] == "Restored live: b\n"
    assert desk.processes(desk.vm("b")) not in ([], before)
    assert desk.guest("b").addresses()["eth1"] == address
    assert desk.guest("a").reaches(address)


def test_snapshots_of_vms_that_run_are_deleted(desk: PowerDesk) -> None:
    assert desk.run("snapshot", "lab", "live", "--delete")[0] == "Deleted live: a, b\n"
    assert (tags(desk, "a"), tags(desk, "b")) == ([], ["cloud-base"])
    desk.on_worker(desk.vm("b"), "qemu-img", "snapshot", "-l", "-U", desk.disk(desk.vm("b")))
    assert desk.run("doctor")[0] == "Database and hosts agree: no findings\n"


def test_a_qemu_that_does_not_answer_leaves_no_snapshot(desk: PowerDesk) -> None:
    b = desk.vm("b")
    (pid,) = desk.processes(b)
    desk.on_worker(b, "kill", "-STOP", pid)
    status, _, errors = desk.ended("snapshot", "lab", "stuck", "b")
    desk.on_worker(b, "kill", "-CONT", pid)
    assert status == 1
    assert "QEMU of b did not answer in time" in errors
    desk.ended("snapshot", "lab", "stuck", "--delete")
    assert "cloud-stuck" not in tags(desk, "b")
    assert "stuck" not in desk.run("snapshots", "lab")[0]


def test_a_reset_names_and_loses_the_snapshots(desk: PowerDesk) -> None:
    status, _, errors = desk.ended("reset", "lab", "b")
    assert (status, "needs --yes" in errors) == (1, True)
    desk.run("reset", "lab", "b", "--yes")
    assert tags(desk, "b") == []
    assert desk.run("snapshots", "lab")[0] == ""
