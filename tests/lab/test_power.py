"""VMs that are stopped, started, restarted and reset by commands: real QEMU, hosts and guests."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import Lab
from tests.support.lab.power_desk import PATTERN, PowerDesk
from tests.support.lab.visitor import HOSTS, IMAGES, unmount, wait_until

pytestmark = pytest.mark.lab

BUTTON, DIALOG = 30.0, 5.0
"""Seconds for a guest to obey its power button, and for QEMU to answer."""

SLACK = 15.0
"""Seconds for everything else on a busy machine."""


@pytest.fixture(scope="module")
def desk(lab: Lab, home: Path) -> Iterator[PowerDesk]:
    desk = PowerDesk(lab, home)
    yield desk
    desk.run("delete", "lab", "--yes")


def test_a_vm_is_stopped_and_all_that_looks_knows_it(desk: PowerDesk) -> None:
    b, guest = desk.vm("b"), desk.guest("b")
    guest.console.close()
    output, seconds = desk.run("stop", "lab", "b")
    assert (output, seconds < SLACK) == ("Stopped: b\n", True)
    assert not desk.processes(b)
    assert desk.run("show", "lab")[0].count("stopped") == 1
    assert "problem" not in desk.run("show", "lab")[0]
    assert desk.run("repair", "lab")[0] == "Nothing was missing: 0 changes\n"
    assert desk.run("doctor")[0] == "Database and hosts agree: no findings\n"
    desk.run("prove")
    assert not desk.processes(b)


def test_a_guest_that_does_not_obey_is_switched_off(desk: PowerDesk) -> None:
    desk.run("start", "lab")
    a = desk.guest("a")
    a.run("kill $(pidof acpid)")
    a.console.close()
    began = time.monotonic()
    status, output, _ = desk.ended("stop", "lab", "a")
    assert (status, output) == (3, "Stopped: a\nSwitched off, because the guest did not obey within 30 s: a\n")
    assert BUTTON <= time.monotonic() - began < BUTTON + SLACK
    assert not desk.processes(desk.vm("a"))


def test_a_stopped_vm_is_started_with_its_disk_and_addresses(desk: PowerDesk) -> None:
    desk.run("start", "lab")  # without a carrier the guest of a would get no address
    b, a = desk.vm("b"), desk.guest("a")
    desk.run("stop", "lab", "b", "--now", "--yes")
    assert a.run("cat /sys/class/net/eth1/carrier").strip() == "0"
    desk.write(b, PATTERN)
    assert desk.run("start", "lab")[0] == "Started: b\nRan already: a\n"
    assert a.run("cat /sys/class/net/eth1/carrier").strip() == "1"
    address = desk.guest("b").addresses()["eth1"]
    assert address == f"192.168.{desk.slice.links[0].vlan_id % 256}.11"
    assert a.reaches(address)
    desk.run("stop", "lab", "b", "--now", "--yes")
    assert desk.has(b, PATTERN)
    desk.run("start", "lab", "b")


def test_a_reset_brings_a_clean_disk_and_keeps_the_addresses(desk: PowerDesk) -> None:
    before = desk.vm("b")
    desk.run("stop", "lab", "b", "--now", "--yes")
    desk.write(before, PATTERN)
    desk.run("start", "lab", "b")
    pids = desk.processes(before)
    output, seconds = desk.run("reset", "lab", "b", "--yes")
    assert output == "Reset: b\n"
    assert seconds < SLACK
    after = desk.vm("b")
    assert (after.disk_id != before.disk_id, after.vnc_port) == (True, before.vnc_port)
    assert [nic.mac for nic in after.interfaces] == [nic.mac for nic in before.interfaces]
    assert set(desk.processes(after)).isdisjoint(pids)
    assert not desk.has(after, PATTERN)
    assert desk.guest("b").addresses()["eth1"] == f"192.168.{desk.slice.links[0].vlan_id % 256}.11"
    assert desk.run("doctor")[0] == "Database and hosts agree: no findings\n"


def test_a_guest_that_powers_itself_off_is_told_and_started(desk: PowerDesk) -> None:
    b = desk.vm("b")
    desk.run("stop", "lab", "b", "--now", "--yes")  # a console has one client, and the test before may be it
    desk.run("start", "lab", "b")
    desk.guest("b").console.run("poweroff -f &", 5)
    wait_until(lambda: not desk.processes(b), "the end of b", 30)
    assert "VM b powered itself off" in desk.run("show", "lab")[0]
    a = desk.guest("a")
    assert a.run("cat /sys/class/net/eth1/carrier").strip() == "0"
    assert desk.run("start", "lab", "b")[0] == "Started: b\n"
    assert a.run("cat /sys/class/net/eth1/carrier").strip() == "1"
    assert "problem" not in desk.run("show", "lab")[0]


def test_a_qemu_that_does_not_answer_is_ended_all_the_same(desk: PowerDesk) -> None:
    b = desk.vm("b")
    (pid,) = desk.processes(b)
    desk.on_worker(b, "kill", "-STOP", pid)
    began = time.monotonic()
    status, output, _ = desk.ended("stop", "lab", "b")
    assert (status, output.startswith("Stopped: b\n")) == (3, True)
    assert time.monotonic() - began < DIALOG + SLACK
    assert not desk.processes(b)
    desk.run("start", "lab", "b")


def test_a_reset_that_fails_leaves_vms_as_they_were(desk: PowerDesk) -> None:
    b = desk.vm("b")
    (pid,) = desk.processes(b)
    desk.on_worker(b, "mv", "/usr/bin/qemu-img", "/usr/bin/qemu-img.away")
    status, _, errors = desk.ended("reset", "lab", "b", "--yes")
    desk.on_worker(b, "mv", "/usr/bin/qemu-img.away", "/usr/bin/qemu-img")
    assert (status, errors.strip().endswith("; as before: b")) == (1, True)
    after = desk.vm("b")
    assert (after.disk_id, after.status_before, after.old_disk) == (b.disk_id, None, None)
    assert desk.processes(b) not in ([], [pid])
    assert desk.run("doctor")[0] == "Database and hosts agree: no findings\n"


@contextmanager
def full_disk(lab: Lab, host: str) -> Iterator[None]:
    """Keep the images of a worker on a disk without room for one more byte."""
    fill = f"""set -e; mount --bind {IMAGES} /mnt; size=$(du -sk /mnt | cut -f1)
      mount -t tmpfs -o size=$((size + 4096))k,mode=755 tmpfs {IMAGES}; chown ubuntu: {IMAGES}
      cp -a --sparse=always /mnt/. {IMAGES}/; dd if=/dev/zero of={IMAGES}/fill bs=4k 2>/dev/null || :"""
    lab.exec(host, ["sh", "-c", fill])
    try:
        yield
    finally:
        unmount(lab, host, IMAGES)
        unmount(lab, host, "/mnt")


def test_a_reset_on_a_full_disk_loses_nothing(desk: PowerDesk, lab: Lab) -> None:
    desk.run("stop", "lab", "--now", "--yes")
    b = desk.vm("b")
    with full_disk(lab, HOSTS[b.worker_ip]):
        status, _, errors = desk.ended("reset", "lab", "b", "--yes")
    assert (status, "No space left" in errors, "as before: b" in errors) == (1, True, True), errors
    assert (desk.vm("b").disk_id, desk.vm("b").status_before) == (b.disk_id, None)
    assert desk.run("start", "lab")[0] == "Started: a, b\n"
    assert desk.run("doctor")[0] == "Database and hosts agree: no findings\n"


def test_a_worker_that_is_lost_leaves_its_vms_unfinished(desk: PowerDesk, lab: Lab) -> None:
    b = desk.vm("b")
    lab.cut(HOSTS[b.worker_ip])
    status, _, errors = desk.ended("stop", "lab", "--now", "--yes")
    lab.reconnect(HOSTS[b.worker_ip])
    assert (status, "stopped: a" in errors, "b" in errors.rpartition("not finished")[2]) == (1, True, True)
    assert desk.run("stop", "lab", "--now", "--yes")[0] == "Stopped: a, b\n"
    desk.run("start", "lab")
