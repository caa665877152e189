"""Power of VMs on fake hosts: what is stopped stays off, and every change ends well or is taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from core.status import VMStatus
from inspection.findings import Finding
from inspection.realms import Inspectors
from models import Slice
from remote.events import Event, StepDone
from tests.support.desk import WORKERS, Desk, deployed, open_desk
from tests.support.dying import ManagerDiesError
from tests.support.fake_hosts import FakeHost


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return open_desk(tmp_path)


def running(desk: Desk) -> set[str]:
    """Return the names of QEMUs on all workers."""
    return {mark for worker in WORKERS for mark, _ in desk.cloud.hosts[worker].processes.values()}


def set_status(desk: Desk, name: str, status: VMStatus) -> None:
    with desk.database.transaction() as state:
        for vm in state.slices[1000].vms:
            if vm.name == name:
                vm.status, vm.pid = status, None


def test_a_vm_that_is_started_by_hand_is_not_started_by_a_deployment(desk: Desk) -> None:
    slice_ = deployed(desk, "vm1")
    assert running(desk) == {"slice1000-vm1001", "slice1000-vm1003"}
    assert [(vm.status, vm.pid is None) for vm in slice_.vms] == [
        (VMStatus.RUNNING, False),
        (VMStatus.STOPPED, True),
        (VMStatus.RUNNING, False),
    ]
    assert desk.ok(desk.api.problems("student")) == {}
    assert desk.ok(desk.api.repair_slice("student", 1000)) == []
    assert desk.api.doctor.examine().findings == ()
    desk.ok(desk.api.delete_slice("student", 1000))
    assert desk.api.doctor.examine().findings == ()


def test_a_worker_with_stopped_vms_only_needs_no_pid(desk: Desk) -> None:
    deployed(desk, "vm1")
    assert {vm.worker_ip for vm in desk.slice().vms if vm.stopped} == {WORKERS[1]}


def test_a_stopped_vm_that_runs_is_a_finding_and_repair_ends_it(desk: Desk) -> None:
    deployed(desk)
    set_status(desk, "vm0", VMStatus.STOPPED)
    (finding,) = desk.api.doctor.examine().findings
    assert (finding.code, finding.vm_id) == ("vm-not-stopped", 1001)
    assert desk.ok(desk.api.repair_slice("student", 1000)) == ["stopped VMs on 10.0.10.1"]
    assert running(desk) == {"slice1000-vm1002", "slice1000-vm1003"}
    assert desk.api.doctor.examine().findings == ()


def test_a_stopped_vm_that_is_lost_with_its_worker_gets_a_disk_and_stays_off(desk: Desk) -> None:
    deployed(desk, "vm1")
    desk.cloud.hosts[WORKERS[1]].dead = True
    desk.api.hosts.forget(WORKERS[1])
    assert [vm.status for vm in desk.slice().vms if vm.lost_with] == [VMStatus.STOPPED]
    desk.ok(desk.api.repair_slice("student", 1000))
    (vm,) = [vm for vm in desk.slice().vms if vm.stopped]
    assert (vm.name, vm.lost_with, vm.worker_ip) == ("vm1", None, WORKERS[0])
    assert f"{vm.qcow_image}".removeprefix("~/") in desk.cloud.hosts[WORKERS[0]].files
    assert running(desk) == {"slice1000-vm1001", "slice1000-vm1003"}


def test_the_console_of_a_stopped_vm_says_what_to_do(desk: Desk) -> None:
    deployed(desk, "vm1")
    assert desk.no(desk.api.open_console("student", 1002)) == "VM 1002 (vm1) is stopped; start it: start 1000 vm1"


# --- stop, start, restart ---------------------------------------------------------------------------------------------


def test_vms_are_stopped_and_started_again(desk: Desk) -> None:
    deployed(desk)
    whole = desk.cloud.state()
    assert desk.ok(desk.api.power.stop("student", 1000, [1001, 1002])) == ["stopped: vm0, vm1"]
    assert running(desk) == {"slice1000-vm1003"}
    assert [(vm.status, vm.pid is None) for vm in desk.slice().vms][:2] == [(VMStatus.STOPPED, True)] * 2
    assert desk.api.doctor.examine().findings == ()
    assert desk.ok(desk.api.repair_slice("student", 1000)) == []
    assert desk.ok(desk.api.power.start("student", 1000)) == ["started: vm0, vm1", "ran already: vm2"]
    assert len(running(desk)) == 3
    assert desk.api.doctor.examine().findings == ()
    assert {a: {*s["files"]} for a, s in desk.cloud.state().items()} == {a: {*s["files"]} for a, s in whole.items()}


DAMAGE: dict[str, Callable[[FakeHost], object]] = {
    "the TAP is down": lambda host: host.down.add("tap_1001_eth1"),
    "the TAP is deleted": lambda host: (host.namespaces[""].pop("tap_1001_eth1"), host.aliases.pop("tap_1001_eth1")),
    "the port is deleted": lambda host: host.remove_ports(("tap_1001_eth1",), ""),
    "the tag is wrong": lambda host: host.ports.update(tap_1001_eth1=2099),
    "the flows are gone": lambda host: host.flows.clear(),
}


@pytest.mark.parametrize("act", ["start", "restart", "reset"])
@pytest.mark.parametrize("what", DAMAGE)
def test_a_start_brings_the_wires_to_the_design(desk: Desk, what: str, act: str) -> None:
    deployed(desk)
    desk.ok(desk.api.power.stop("student", 1000))
    DAMAGE[what](desk.cloud.hosts[WORKERS[0]])
    desk.ok(getattr(desk.api.power, act)("student", 1000))
    desk.ok(desk.api.power.start("student", 1000))
    assert desk.ok(desk.api.problems("student")) == {}
    assert desk.ok(desk.api.repair_slice("student", 1000)) == []


def test_a_guest_that_does_not_obey_is_switched_off_and_named(desk: Desk) -> None:
    deployed(desk)
    worker = desk.cloud.hosts[WORKERS[0]]
    worker.stubborn = {path for path in worker.files if path.endswith("vm2.pid")}
    told = desk.ok(desk.api.power.stop("student", 1000))
    assert told == ["stopped: vm0, vm1, vm2", "switched off, because the guest did not obey within 30 s: vm2"]
    assert running(desk) == set()


def test_a_stop_at_once_asks_no_guest(desk: Desk) -> None:
    deployed(desk)
    assert desk.ok(desk.api.power.stop("student", 1000, now=True)) == ["stopped: vm0, vm1, vm2"]


def test_a_restart_ends_a_vm_and_starts_it_and_starts_those_that_were_stopped(desk: Desk) -> None:
    slice_ = deployed(desk, "vm1")
    assert desk.ok(desk.api.power.restart("student", 1000)) == ["restarted: vm0, vm1, vm2"]
    assert len(running(desk)) == 3
    assert not any(old.pid == new.pid for old, new in zip(slice_.vms, desk.slice().vms, strict=True))
    assert [vm.status for vm in desk.slice().vms] == [VMStatus.RUNNING] * 3


def test_a_vm_that_ended_by_itself_is_started(desk: Desk) -> None:
    deployed(desk)
    worker = desk.cloud.hosts[WORKERS[0]]
    worker.stop(("KILL", "vm_images/slice-1000/vm0.pid", "slice1000-vm1001"), "")
    assert desk.ok(desk.api.power.start("student", 1000, [1001])) == ["started: vm0"]
    assert len(running(desk)) == 3


def test_a_vm_that_powered_itself_off_is_told_from_one_that_died_and_is_started(desk: Desk) -> None:
    deployed(desk)
    worker = desk.cloud.hosts[WORKERS[0]]
    worker.stop(("KILL", "vm_images/slice-1000/vm0.pid", "slice1000-vm1001"), "")
    assert "VM vm0 does not run" in desk.ok(desk.api.problems("student"))[1000].sentences[0]
    worker.files["vm_images/slice-1000/vm0.qemu"] = "qemu_system_shutdown_request reason=6"
    problems = desk.ok(desk.api.problems("student"))[1000]
    assert problems.sentences == (f"{WORKERS[0]}: VM vm0 powered itself off",)
    assert problems.advice == ("15 starts it",)
    assert problems.commands == ("start the VM: start 1000 1001",)
    assert carriers(desk, "vm1") == {"nic0": True, "nic1": True, "nic2": False}
    desk.ok(desk.api.power.start("student", 1000, [1001]))
    assert desk.ok(desk.api.problems("student")) == {}
    assert all(carriers(desk, "vm1").values())


def test_a_slice_that_is_deleted_while_it_is_looked_at_is_no_fault(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed(desk)
    worker, look = desk.cloud.hosts[WORKERS[0]], Inspectors.problems
    worker.stop(("KILL", "vm_images/slice-1000/vm0.pid", "slice1000-vm1001"), "")
    worker.files["vm_images/slice-1000/vm0.qemu"] = "qemu_system_shutdown_request reason=6"

    def deleted_then(inspectors: Inspectors, slices: Iterable[Slice]) -> dict[int, list[Finding]]:
        found = look(inspectors, slices)
        desk.ok(desk.api.delete_slice("student", 1000))
        return found

    monkeypatch.setattr(Inspectors, "problems", deleted_then)
    assert 1000 in desk.ok(desk.api.problems("student"))
    assert 1000 not in desk.database.load().slices


@pytest.mark.parametrize("count", [3, 20])
def test_each_worker_gets_one_batch(desk: Desk, count: int) -> None:
    with desk.database.transaction() as state:
        state.users["student"].quota_vms = count
    desk.ring(count)
    desk.ok(desk.api.deploy_slice("student", 1000))
    for verb in ("stop", "start", "restart", "reset"):
        before = {address: host.runs for address, host in desk.cloud.hosts.items()}
        desk.ok(getattr(desk.api.power, verb)("student", 1000))
        after = {address: host.runs for address, host in desk.cloud.hosts.items()}
        assert {address: after[address] - before[address] for address in after} == {
            WORKERS[0]: 1,
            WORKERS[1]: 1,
            "10.0.10.3": 0,
        }, verb


# --- reset ------------------------------------------------------------------------------------------------------------


def test_a_reset_gives_a_new_disk_and_keeps_the_rest(desk: Desk) -> None:
    deployed(desk, "vm1")
    before = desk.slice()
    disk = f"{before.vms[0].qcow_image}".removeprefix("~/")
    worker = desk.cloud.hosts[WORKERS[0]]
    worker.files[disk] = "with data"
    assert desk.ok(desk.api.power.reset("student", 1000, [1001, 1002])) == ["reset: vm0, vm1"]
    assert worker.files[disk] == "overlay"
    after = desk.slice()
    kept = ("name", "vnc_port", "status", "worker_ip", "qcow_image", "vnc_secret", "start")
    for old, new in zip(before.vms, after.vms, strict=True):
        assert [getattr(old, name) for name in kept] == [getattr(new, name) for name in kept]
        assert [nic.to_dict() for nic in old.interfaces] == [nic.to_dict() for nic in new.interfaces]
    assert [old.disk_id == new.disk_id for old, new in zip(before.vms, after.vms, strict=True)] == [False, False, True]
    assert running(desk) == {"slice1000-vm1001", "slice1000-vm1003"}
    assert desk.api.doctor.examine().findings == ()


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "reset"])
def test_what_cannot_be_switched_is_refused(desk: Desk, verb: str) -> None:
    desk.ring(3)
    switch = getattr(desk.api.power, verb)
    assert desk.no(switch("student", 1000)) == "Slice 1000 is in design; deploy it first"
    assert desk.no(desk.api.power.plan("student", 1000, verb)) == "Slice 1000 is in design; deploy it first"
    assert desk.no(switch("student", 1009)).startswith("You have no slice 1009")
    desk.ok(desk.api.deploy_slice("student", 1000))
    assert desk.no(switch("student", 1000, [1009])).startswith("Slice 1000 has no VM 1009; its VMs: 1001 (vm0)")
    desk.cloud.hosts[WORKERS[1]].dead = True
    desk.api.hosts.forget(WORKERS[1])
    assert desk.no(switch("student", 1000)) == f"vm1 was lost with {WORKERS[1]}; repair slice 1000 first"


def test_a_start_needs_room_on_the_worker_again(desk: Desk) -> None:
    deployed(desk)
    desk.ok(desk.api.power.stop("student", 1000, [1001]))
    with desk.database.transaction() as state:
        state.workers[WORKERS[0]].max_ram_gb = 0.6
    sentence = desk.no(desk.api.power.start("student", 1000))
    assert sentence.startswith(f"{WORKERS[0]} has no room to start vm0 (1 cores and 0.5 GiB of memory): 0.1 GiB of")
    assert desk.slice().vms[0].stopped


@pytest.mark.parametrize(("begun", "verb", "vm_ids"), [
    ("reset", "start", [1001]), ("reset", "stop", []), ("stop", "start", [1001]), ("start", "reset", [1002]),
])  # fmt: skip
def test_a_change_carries_out_no_other_one_that_was_not_finished(
    desk: Desk, begun: str, verb: str, vm_ids: list[int]
) -> None:
    deployed(desk)

    def die(event: Event) -> None:
        if isinstance(event, StepDone):
            raise ManagerDiesError

    with suppress(ManagerDiesError):
        getattr(desk.api.power, begun)("student", 1000, [1002], die)
    sentence = desk.no(getattr(desk.api.power, verb)("student", 1000, vm_ids))
    assert sentence.startswith(f"Slice 1000: a {begun}")
    assert sentence.endswith("of vm1 was not finished; log in again to finish it or take it back, or repeat it")
    desk.ok(getattr(desk.api.power, begun)("student", 1000, [1002]))
    assert desk.ok(desk.api.unfinished("student")) == []


def test_a_restore_that_was_not_finished_can_only_be_finished(desk: Desk) -> None:
    deployed(desk)
    with desk.database.transaction() as state:
        vm = state.slices[1000].vms[0]
        vm.status_before, vm.restoring = vm.status, "before"
    sentence = "Slice 1000: a restore of vm0 was not finished; log in again to finish it"
    assert desk.no(desk.api.power.stop("student", 1000)) == sentence
    assert desk.no(desk.api.repair_slice("student", 1000)) == sentence


def test_a_vm_of_an_older_file_is_not_reset(desk: Desk) -> None:
    deployed(desk)
    with desk.database.transaction() as state:
        state.slices[1000].vms[1].disk_id = None
    assert desk.no(desk.api.power.reset("student", 1000)).startswith("vm1 was made by an older version")


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["start", "restart", "reset"])
@pytest.mark.parametrize("title", ["room for", "running VMs", "old disk", "overlay of", "QEMU", "VMs", "removal of"])
def test_a_step_that_fails_is_undone_on_its_host_only(desk: Desk, verb: str, title: str) -> None:
    deployed(desk)
    if verb == "start":
        desk.ok(desk.api.power.stop("student", 1000))
    plan = desk.ok(desk.api.power.plan("student", 1000, verb))
    if not any(step.title.startswith(title) for step in plan.steps):
        return
    before, files = desk.slice(), {*desk.cloud.hosts[WORKERS[0]].files}
    desk.cloud.hosts[WORKERS[0]].faults = {title: (1, "", "no space left on device")}
    sentence = desk.no(getattr(desk.api.power, verb)("student", 1000))
    assert "no space left on device" in sentence
    assert sentence.endswith("ed: vm1; as before: vm0, vm2") or (
        verb == "reset" and "reset: vm1; as before" in sentence
    )
    after = desk.slice()
    for old, new in zip(before.vms, after.vms, strict=True):
        if new.worker_ip == WORKERS[0]:
            assert (old.status, old.disk_id) == (new.status, new.disk_id)
        assert (new.status_before, new.old_disk) == (None, None)
    assert {*desk.cloud.hosts[WORKERS[0]].files} == files
    assert desk.api.doctor.examine().findings == ()


# --- links ------------------------------------------------------------------------------------------------------------


def carriers(desk: Desk, name: str) -> dict[str, bool]:
    """Return for the interfaces of a VM, by QEMU's names, whether its guest sees a carrier."""
    vm = next(vm for vm in desk.slice().vms if vm.name == name)
    return desk.cloud.hosts[vm.worker_ip].links[f"vm_images/slice-1000/{name}.qmp"]


def test_the_other_ends_of_links_follow_what_is_stopped_and_started(desk: Desk) -> None:
    deployed(desk)  # vm0 eth1 - eth2 vm1 eth1 - eth2 vm2 eth1 - eth2 vm0
    desk.ok(desk.api.power.stop("student", 1000, [1002]))
    assert carriers(desk, "vm0") == {"nic0": True, "nic1": False, "nic2": True}
    assert carriers(desk, "vm2") == {"nic0": True, "nic1": True, "nic2": False}
    desk.ok(desk.api.power.restart("student", 1000, [1003]))
    assert carriers(desk, "vm2") == {"nic0": True, "nic1": True, "nic2": False}
    desk.ok(desk.api.repair_slice("student", 1000))
    assert carriers(desk, "vm0") == {"nic0": True, "nic1": False, "nic2": True}
    desk.ok(desk.api.power.start("student", 1000, [1002]))
    assert {all(carriers(desk, name).values()) for name in ("vm0", "vm1", "vm2")} == {True}


def test_a_start_that_fails_leaves_the_other_ends_dark(desk: Desk) -> None:
    deployed(desk, "vm1")
    assert not all(carriers(desk, "vm0").values())
    desk.cloud.hosts[WORKERS[1]].faults = {"QEMU": (1, "", "out of luck")}
    assert desk.no(desk.api.power.start("student", 1000)).endswith("as before: vm1")
    assert not all(carriers(desk, "vm0").values())
    desk.ok(desk.api.power.start("student", 1000))
    assert all(carriers(desk, "vm0").values())
