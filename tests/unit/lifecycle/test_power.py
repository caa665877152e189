"""Power of VMs on fake hosts: what is stopped stays off, and every change ends well or is taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.status import VMStart, VMStatus
from models import Slice
from tests.support.desk import WORKERS, Desk, open_desk


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


def deployed(desk: Desk, *manual: str) -> Slice:
    """Deploy a ring of three VMs, of which those named are started by hand."""
    slice_ = desk.ring(3)
    with desk.database.transaction() as state:
        for vm in state.slices[1000].vms:
            vm.start = VMStart.MANUAL if vm.name in manual else VMStart.AUTO
    desk.ok(desk.api.deploy_slice("student", slice_.slice_id))
    return desk.slice()


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
    assert desk.no(desk.api.open_console("student", 1002)) == "VM 1002 (vm1) is stopped; start it first"
