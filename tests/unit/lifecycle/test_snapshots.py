"""Snapshots of VMs' disks on fake hosts: what is recorded is what the disks have, whatever fails."""

from __future__ import annotations

from contextlib import suppress

import pytest

from core.status import VMStatus
from models import Slice
from remote.events import Event, StepDone
from tests.support.desk import WORKERS, Desk, deployed
from tests.support.dying import ManagerDiesError


def tags(desk: Desk) -> dict[str, list[str]]:
    """Return the names of VMs -> the tags in their disks."""
    found = {disk: sorted(tags) for worker in WORKERS for disk, tags in desk.cloud.hosts[worker].snapshots.items()}
    return {disk.rpartition("/")[2].removesuffix("_img.qcow2"): names for disk, names in found.items() if names}


def recorded(slice_: Slice) -> dict[str, list[str]]:
    """Return the names of VMs -> the tags of the snapshots in the file."""
    return {vm.name: sorted(f"cloud-{each.name}" for each in vm.snapshots) for vm in slice_.vms if vm.snapshots}


def write(desk: Desk, name: str, text: str) -> None:
    """Change the content of a VM's disk."""
    vm = next(vm for vm in desk.slice().vms if vm.name == name)
    desk.cloud.hosts[vm.worker_ip].files[f"{vm.qcow_image}".removeprefix("~/")] = text


def read(desk: Desk, name: str) -> str:
    vm = next(vm for vm in desk.slice().vms if vm.name == name)
    return desk.cloud.hosts[vm.worker_ip].files[f"{vm.qcow_image}".removeprefix("~/")]


def test_a_snapshot_is_taken_brought_back_and_deleted(desk: Desk) -> None:
    deployed(desk, "vm1")
    write(desk, "vm0", "good")
    assert desk.ok(desk.api.snapshots.take("student", 1000, "base")) == ["snapshot base: vm0, vm1, vm2"]
    assert tags(desk) == recorded(desk.slice()) == {name: ["cloud-base"] for name in ("vm0", "vm1", "vm2")}
    assert [(s.vm, s.name, s.size_mib, s.complete) for s in desk.ok(desk.api.snapshots.list("student", 1000))] == [
        ("vm0", "base", 7, True), ("vm1", "base", 7, True), ("vm2", "base", 7, True),
    ]  # fmt: skip
    write(desk, "vm0", "broken")
    before = desk.slice()
    assert desk.ok(desk.api.snapshots.restore("student", 1000, "base")) == ["restored base: vm0, vm1, vm2"]
    after = desk.slice()
    assert read(desk, "vm0") == "good"
    assert [vm.status for vm in after.vms] == [VMStatus.RUNNING, VMStatus.STOPPED, VMStatus.RUNNING]
    assert [vm.disk_id for vm in after.vms] == [vm.disk_id for vm in before.vms]
    assert desk.ok(desk.api.snapshots.delete("student", 1000, "base", [1001])) == ["deleted base: vm0"]
    assert desk.ok(desk.api.snapshots.delete("student", 1000, "base")) == ["deleted base: vm1, vm2"]
    assert tags(desk) == recorded(desk.slice()) == {}


def test_a_reset_discards_snapshots_with_the_disk(desk: Desk) -> None:
    deployed(desk)
    desk.ok(desk.api.snapshots.take("student", 1000, "base"))
    desk.ok(desk.api.power.reset("student", 1000, [1001]))
    assert set(tags(desk)) == set(recorded(desk.slice())) == {"vm1", "vm2"}


def test_each_snapshot_holds_the_room_of_the_disk(desk: Desk) -> None:
    deployed(desk)
    used = desk.database.load().workers[WORKERS[1]].used_disk_gb
    desk.ok(desk.api.snapshots.take("student", 1000, "one"))
    state = desk.database.load()
    assert state.workers[WORKERS[1]].used_disk_gb == 2 * used
    with desk.database.transaction() as changed:
        changed.workers[WORKERS[1]].max_disk_gb = 2.5
    sentence = desk.no(desk.api.snapshots.take("student", 1000, "two"))
    assert sentence.startswith(f"{WORKERS[1]} has no room for a snapshot of vm1 (1 GiB): 0.5 GiB of disk left; delete")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("1", "The name of a snapshot is a small letter"),
        ("Base", "The name of a snapshot is a small letter"),
        ("a" * 33, "The name of a snapshot is a small letter"),
        ("a b", "The name of a snapshot is a small letter"),
        ("one", "vm0 has a snapshot one already; choose another name"),
        ("four", "vm0 has 3 snapshots, and more are not allowed (one, two, three); delete one first"),
    ],
)
def test_a_snapshot_that_cannot_be_is_refused(desk: Desk, name: str, sentence: str) -> None:
    deployed(desk)
    for number in ("one", "two", "three"):
        desk.ok(desk.api.snapshots.take("student", 1000, number, [1001]))
    assert desk.no(desk.api.snapshots.take("student", 1000, name)).startswith(sentence)
    assert recorded(desk.slice()) == {"vm0": ["cloud-one", "cloud-three", "cloud-two"]}


def test_a_name_that_no_vm_has_is_refused_and_one_that_some_have_concerns_these(desk: Desk) -> None:
    desk.ring(3)
    assert desk.no(desk.api.snapshots.take("student", 1000, "a")) == "Slice 1000 is in design; deploy it first"
    desk.ok(desk.api.deploy_slice("student", 1000))
    assert desk.no(desk.api.snapshots.restore("student", 1000, "a")).endswith("the slice has: none yet, take one first")
    desk.ok(desk.api.snapshots.take("student", 1000, "a", [1001]))
    assert desk.no(desk.api.snapshots.delete("student", 1000, "a", [1002])) == (
        "vm1 has no snapshot a; the slice has: a"
    )
    assert desk.ok(desk.api.snapshots.restore("student", 1000, "a")) == ["restored a: vm0"]


def test_a_qemu_that_does_not_answer_leaves_no_snapshot_on_its_worker(desk: Desk) -> None:
    deployed(desk)
    worker = desk.cloud.hosts[WORKERS[0]]
    worker.mute = {path for path in worker.files if path.endswith("vm2.pid")}
    sentence = desk.no(desk.api.snapshots.take("student", 1000, "base"))
    assert "QEMU did not answer in time" in sentence
    assert sentence.endswith("snapshot base: vm1; without it: vm0, vm2")
    assert tags(desk) == recorded(desk.slice()) == {"vm1": ["cloud-base"]}


def test_the_doctor_compares_the_record_with_the_disks(desk: Desk) -> None:
    deployed(desk)
    desk.ok(desk.api.snapshots.take("student", 1000, "base"))
    assert desk.api.doctor.examine().findings == ()
    for host in desk.cloud.hosts.values():
        for tags_of_disk in host.snapshots.values():
            tags_of_disk.pop("cloud-base")
            tags_of_disk |= {"cloud-other": "", "theirs": ""}
    found = desk.api.doctor.examine().findings
    assert {(finding.code, finding.vm_id) for finding in found} == {
        (code, vm_id) for code in ("snapshot-missing", "snapshot-foreign") for vm_id in (1001, 1002, 1003)
    }


@pytest.mark.parametrize("act", ["take", "delete", "restore"])
@pytest.mark.parametrize("after", range(5))
def test_a_lost_worker_leaves_what_can_be_repeated(desk: Desk, act: str, after: int) -> None:
    deployed(desk)
    if act != "take":
        desk.ok(desk.api.snapshots.take("student", 1000, "base"))
    desk.cloud.hosts[WORKERS[0]].dies_after = after
    getattr(desk.api.snapshots, act)("student", 1000, "base")
    desk.cloud.hosts[WORKERS[0]].dies_after = None
    desk.cloud.hosts[WORKERS[0]].dead = False
    _end_well(desk, act)


@pytest.mark.parametrize("act", ["take", "delete", "restore"])
@pytest.mark.parametrize("at", range(6))
def test_a_manager_that_dies_leaves_what_can_be_repeated(desk: Desk, act: str, at: int) -> None:
    deployed(desk)
    if act != "take":
        desk.ok(desk.api.snapshots.take("student", 1000, "base"))
    steps = 0

    def listen(event: Event) -> None:
        nonlocal steps
        if isinstance(event, StepDone):
            if steps == at:
                raise ManagerDiesError
            steps += 1

    with suppress(ManagerDiesError):
        getattr(desk.api.snapshots, act)("student", 1000, "base", (), listen)
    _end_well(desk, act)


def _end_well(desk: Desk, act: str) -> None:
    """Finish what is unfinished, and repeat the act where it is not done; then hosts and file agree."""
    for _ in desk.ok(desk.api.unfinished("student")):
        assert "cannot be taken back" in desk.no(desk.api.take_back_slice("student", 1000))
        desk.ok(desk.api.finish_slice("student", 1000))
    missing = [vm.vm_id for vm in desk.slice().vms if not any(not each.begun for each in vm.snapshots)]
    having = [vm.vm_id for vm in desk.slice().vms if vm.snapshots]
    if act == "take" and missing:
        desk.ok(desk.api.snapshots.take("student", 1000, "base", missing))
    if act == "delete" and having:
        desk.ok(desk.api.snapshots.delete("student", 1000, "base"))
    assert tags(desk) == recorded(desk.slice())
    assert not any(each.begun for vm in desk.slice().vms for each in vm.snapshots)
    assert desk.api.doctor.examine().findings == ()
