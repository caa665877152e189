"""Advice that leads out of dead ends: remains after a failure, their cause, and their end."""

from __future__ import annotations

import pytest

from core.errors import Refused
from core.status import SliceStatus, VMStart, VMStatus
from inspection.summary import SliceProblems
from lifecycle.discovery import CLEAR_FIRST
from menu.session import _found
from orchestrator import OrchestratorAPI
from remote.events import Event, Notice
from tests.support.acts import read_log
from tests.support.agreement import counts_are_right
from tests.support.desk import NETWORK, WORKERS, ConsoleHost, Desk, deployed


def with_one_vm(desk: Desk) -> None:
    desk.ok(desk.api.create_slice("student", "ring"))
    desk.ok(desk.api.add_vm_to_slice("student", 1000, "vm0", "cirros", 2))


def test_a_failed_deletion_lists_no_base_image(desk: Desk) -> None:
    """Delete with a dead worker: the image is meant to stay, and only an incomplete copy could be left."""
    desk.ring(3)
    desk.ok(desk.api.deploy_slice("student", 1000))
    desk.cloud.hosts[WORKERS[1]].dead = True
    assert "base image" not in desk.no(desk.api.delete_slice("student", 1000))
    left = desk.slice().left
    assert "overlay of vm1 on 10.0.10.2" in left
    assert not [entry for entry in left if "base image" in entry or "copy" in entry]


def test_an_unfinished_copy_that_cannot_be_removed_is_listed(desk: Desk) -> None:
    with_one_vm(desk)
    desk.cloud.hosts[WORKERS[0]].files["vm_images/.cirros.img.slice-1000.part"] = "half"
    desk.cloud.hosts[WORKERS[0]].faults = {"unfinished copy": (1, "", "rm: Read-only file system")}
    assert "Read-only" in desk.no(desk.api.delete_slice("student", 1000))
    assert desk.slice().left == ["unfinished copy of cirros.img on 10.0.10.1"]
    desk.ok(desk.api.delete_slice("student", 1000))


def test_the_login_says_whether_a_host_or_the_manager_stopped_a_deletion(desk: Desk) -> None:
    desk.ring(3)
    desk.ok(desk.api.deploy_slice("student", 1000))
    desk.cloud.hosts[WORKERS[1]].dead = True
    desk.no(desk.api.delete_slice("student", 1000))
    (slice_,) = desk.ok(desk.api.unfinished("student"))
    assert _found(slice_, "student") == (
        "Slice 1000 (ring) could not be deleted completely: parts of it are left on 10.0.10.2."
    )
    with desk.database.transaction() as state:
        state.slices[1000].left = []
    (slice_,) = desk.ok(desk.api.unfinished("student"))
    assert _found(slice_, "student") == "Slice 1000 (ring) was being deleted when its manager stopped."


def test_the_login_says_whether_a_host_or_the_manager_stopped_an_addition(desk: Desk) -> None:
    with_one_vm(desk)
    host = desk.cloud.hosts[WORKERS[1]]
    host.dies_after = 3
    assert "log in again to retry" in desk.no(desk.api.add_vm_to_slice("student", 1000, "late", "cirros", 1))
    (slice_,) = desk.ok(desk.api.unfinished("student"))
    assert _found(slice_, "student") == (
        "Slice 1000 (ring): adding late failed and could not be rolled back: parts are left on 10.0.10.2."
    )
    desk.ok(desk.api.add_vm_to_slice("student", 1000, "other", "cirros", 1))  # the other workers go on
    assert desk.slice().left
    host.dies_after, host.dead = None, False
    assert desk.ok(desk.api.take_back_slice("student", 1000)) == "Slice 1000 is in design"
    assert not desk.slice().left
    assert [vm.name for vm in desk.slice().vms] == ["vm0", "other"]


def ports(desk: Desk) -> dict[str, int]:
    return {vm.name: vm.vnc_port for slice_ in desk.ok(desk.api.list_slices("student")) for vm in slice_.vms}


def test_a_foreign_program_on_a_vnc_port_costs_a_vm_its_number_only(desk: Desk) -> None:
    """Check that numbers stay unique in the file, other VMs keep theirs, and the answer names the new one."""
    desk.ring(4)
    assert ports(desk) == {"vm0": 5901, "vm1": 5902, "vm2": 5903, "vm3": 5904}
    desk.cloud.hosts[WORKERS[0]].foreign_ports = {22, 5901, 5902, 5905}  # 5902 belongs to a VM on the other worker
    events: list[Event] = []
    deployed = desk.ok(desk.api.deploy_slice("student", 1000, events.append))
    assert {vm.name: vm.vnc_port for vm in deployed.vms} == {"vm0": 5906, "vm1": 5902, "vm2": 5903, "vm3": 5904}
    assert {vm.name: vm.vnc_port for vm in desk.slice().vms} == ports(desk) == {**ports(desk), "vm0": 5906}
    assert [event.sentence for event in events if isinstance(event, Notice)] == [
        "the VNC port of vm0 is 5906 now: another program on 10.0.10.1 holds 5901"
    ]
    assert desk.cloud.hosts[WORKERS[0]].runs < 10


def test_a_vm_that_ended_is_repaired_on_another_vnc_port(desk: Desk) -> None:
    with_one_vm(desk)
    desk.ok(desk.api.deploy_slice("student", 1000))
    host = desk.cloud.hosts[WORKERS[0]]
    host.processes.clear()
    host.foreign_ports = {5901}
    assert desk.ok(desk.api.repair_slice("student", 1000))
    assert ports(desk) == {"vm0": 5902}
    assert desk.ok(desk.api.problems("student")) == {}


def test_a_program_that_follows_every_vnc_port_ends_in_a_sentence(desk: Desk) -> None:
    with_one_vm(desk)
    host = desk.cloud.hosts[WORKERS[0]]
    host.foreign_ports = _Everywhere()
    sentence = desk.no(desk.api.deploy_slice("student", 1000))
    assert "nothing was changed and the slice is in design" in sentence
    host.foreign_ports = set()
    desk.ok(desk.api.deploy_slice("student", 1000))


class _Everywhere(set[int]):
    """A set of ports that contains every port but the one it was asked for first."""

    def __contains__(self, port: object) -> bool:
        return True


# --- a worker that is dead for good -----------------------------------------------------------------------------------


def dead(desk: Desk, address: str = WORKERS[1]) -> None:
    desk.cloud.hosts[address].dead = True


def refusal(desk: Desk, address: str) -> str:
    with pytest.raises(Refused) as refused:
        desk.api.hosts.forget(address)
    return str(refused.value)


def test_a_deletion_no_longer_waits_for_a_worker_that_was_written_off(desk: Desk) -> None:
    """Check that quota, pool and ids are free and the owner removable, also without the address in workers_list."""
    desk.ring(3)
    desk.ok(desk.api.deploy_slice("student", 1000))
    dead(desk)
    assert "cli.py host forget 10.0.10.2" in desk.no(desk.api.delete_slice("student", 1000))
    with pytest.raises(Refused, match="still owns slices"):
        desk.api.accounts.remove("student")
    desk.path.write_text('workers_list: ["10.0.10.1"]\n' + desk.path.read_text().split("]\n", 1)[-1])
    api = OrchestratorAPI(desk.database, desk.cloud.connect)  # type: ignore[arg-type]
    assert [loss.slice_id for loss in api.hosts.examine(WORKERS[1]).losses] == [1000]
    outcome = api.hosts.forget(WORKERS[1])
    assert (outcome.done, outcome.unfinished) == (("slice 1000 of student is deleted",), ())
    assert desk.ok(api.list_slices("student")) == []
    assert desk.used() == 0
    api.accounts.remove("student")
    assert not [host for host in desk.cloud.hosts.values() if host.processes and not host.dead]


def test_a_slice_in_design_is_placed_again_and_deployed(desk: Desk) -> None:
    desk.ring(4)
    before = {vm.name: (vm.vm_id, vm.vnc_port, [i.mac for i in vm.interfaces]) for vm in desk.slice().vms}
    dead(desk)
    (sentence,) = desk.api.hosts.forget(WORKERS[1]).done
    assert sentence == (
        "slice 1000 (ring) of student, design: vm1, vm3 lost, placed again on other workers; "
        "a deployment makes new disks"
    )
    assert {vm.worker_ip for vm in desk.slice().vms} == {WORKERS[0]}
    deployed = desk.ok(desk.api.deploy_slice("student", 1000))
    assert {vm.name: (vm.vm_id, vm.vnc_port, [i.mac for i in vm.interfaces]) for vm in deployed.vms} == before
    assert not [vm for vm in deployed.vms if vm.lost_with]
    assert desk.ok(desk.api.problems("student")) == {}
    desk.ok(desk.api.delete_slice("student", 1000))


def test_a_running_slice_reports_lost_vms_and_a_repair_starts_them_elsewhere(desk: Desk) -> None:
    desk.ring(4)
    desk.ok(desk.api.deploy_slice("student", 1000))
    pids = {vm.name: vm.pid for vm in desk.slice().vms}
    dead(desk)
    desk.api.hosts.forget(WORKERS[1])
    assert desk.ok(desk.api.problems("student"))[1000] == SliceProblems(
        (
            "10.0.10.1: VM vm1 was lost with 10.0.10.2; its new disk will be empty",
            "10.0.10.1: VM vm3 was lost with 10.0.10.2; its new disk will be empty",
        ),
        ("11 repairs it",),
        ("repair the slice: repair 1000 (the VM gets a new disk)",),
    )
    assert "VM 1002 (vm1) is not running; repair slice 1000 first" in desk.no(desk.api.open_console("student", 1002))
    events: list[Event] = []
    assert "overlay of vm1 on 10.0.10.1" in desk.ok(desk.api.repair_slice("student", 1000, events.append))
    assert [event.sentence for event in events if isinstance(event, Notice)] == [
        f"{name} was lost with 10.0.10.2: it has a new disk on 10.0.10.1" for name in ("vm1", "vm3")
    ]
    now = desk.slice().vms
    assert {vm.status for vm in now} == {VMStatus.RUNNING}
    assert [vm.pid for vm in now if vm.name in {"vm0", "vm2"}] == [pids["vm0"], pids["vm2"]]
    assert desk.ok(desk.api.problems("student")) == {}
    assert desk.ok(desk.api.repair_slice("student", 1000)) == []


def test_a_vm_that_no_other_worker_has_room_for_waits_for_it(desk: Desk) -> None:
    desk.ring(4)
    desk.ok(desk.api.deploy_slice("student", 1000))
    dead(desk)
    desk.cloud.hosts[WORKERS[0]].memory_kib = 1 << 20  # for the two VMs that are there
    outcome = desk.api.hosts.forget(WORKERS[1])
    assert "vm1 was lost with 10.0.10.2 and has no place yet: No worker has room" in outcome.unfinished[0]
    (problems,) = desk.ok(desk.api.problems("student")).values()
    assert "10.0.10.2: VM vm1 was lost with this host, and no other had room for it" in problems.sentences
    assert "has no place yet: No worker has room for cirros" in desk.no(desk.api.repair_slice("student", 1000))
    desk.ok(desk.api.plan_slice("student", 1000))
    desk.cloud.hosts[WORKERS[0]].memory_kib = 16 << 20  # the repair itself measures that worker
    desk.ok(desk.api.repair_slice("student", 1000))
    counts_are_right(desk.database.load())
    desk.ok(desk.api.delete_slice("student", 1000))
    assert not desk.cloud.hosts[WORKERS[0]].processes


def test_a_lost_vm_that_is_started_by_hand_takes_only_its_disk_after_the_repair(desk: Desk) -> None:
    deployed(desk)
    with desk.database.transaction() as state:
        state.slices[1000].vms[1].start = VMStart.MANUAL
    dead(desk)
    desk.api.hosts.forget(WORKERS[1])
    desk.ok(desk.api.repair_slice("student", 1000))
    assert desk.slice().vms[1].status == VMStatus.STOPPED
    counts_are_right(desk.database.load())


@pytest.mark.parametrize("status", [SliceStatus.DESIGN, SliceStatus.RUNNING, SliceStatus.DELETING])
def test_a_slice_with_vms_that_have_no_place_can_be_deleted(desk: Desk, status: SliceStatus) -> None:
    desk.ring(4)
    if status != SliceStatus.DESIGN:
        desk.ok(desk.api.deploy_slice("student", 1000))
    dead(desk)
    if status == SliceStatus.DELETING:
        desk.cloud.hosts[NETWORK].dead = True
        desk.no(desk.api.delete_slice("student", 1000))
    desk.cloud.hosts[WORKERS[0]].memory_kib = 1 << 20
    outcome = desk.api.hosts.forget(WORKERS[1])
    if status == SliceStatus.DELETING:
        assert "10.0.10.3 does not answer" in outcome.unfinished[0]
        assert not [item for item in desk.slice().left if WORKERS[1] in item]
        desk.cloud.hosts[NETWORK].dead = False
    if status == SliceStatus.DESIGN:
        sentence = desk.no(desk.api.deploy_slice("student", 1000))
        assert sentence.endswith("make room there, or delete slice 1000")
        assert desk.slice().status == SliceStatus.DESIGN
    desk.ok(desk.api.delete_slice("student", 1000))
    assert desk.used() == 0


def test_a_vm_that_was_only_being_added_is_struck_out(desk: Desk) -> None:
    with_one_vm(desk)
    host = desk.cloud.hosts[WORKERS[1]]
    host.dies_after = 3
    assert "host forget 10.0.10.2" in desk.no(desk.api.add_vm_to_slice("student", 1000, "late", "cirros", 1))
    host.dead = True
    (loss,) = desk.api.hosts.examine(WORKERS[1]).losses
    assert loss.sentence == "slice 1000 (ring) of student, design: late will not be added"
    desk.api.hosts.forget(WORKERS[1])
    assert (desk.used(), desk.ok(desk.api.unfinished("student"))) == (1, [])
    assert desk.slice().left == []
    desk.ok(desk.api.deploy_slice("student", 1000))


def test_a_deployment_that_its_manager_left_is_finished_elsewhere(desk: Desk) -> None:
    desk.ring(4)
    with desk.database.transaction() as state:
        state.slices[1000].status = SliceStatus.DEPLOYING
    dead(desk)
    desk.api.hosts.forget(WORKERS[1])
    assert desk.ok(desk.api.finish_slice("student", 1000)) == "Slice 1000 is running"
    assert desk.ok(desk.api.problems("student")) == {}


def test_a_worker_that_answers_is_not_written_off(desk: Desk) -> None:
    desk.ring(2)
    before = desk.path.read_bytes()
    assert "10.0.10.2 answers, and its VMs may run: delete the slices" in refusal(desk, WORKERS[1])
    assert "No worker 10.0.10.99 is known" in refusal(desk, "10.0.10.99")
    assert desk.path.read_bytes() == before


def test_a_network_node_is_replaced_and_not_written_off(desk: Desk) -> None:
    """Follow the advice: another machine under the old or a new address, then a repair and a deletion."""
    desk.ring(3)
    desk.ok(desk.api.deploy_slice("student", 1000))
    dead(desk, NETWORK)
    assert "name another one in network_node and in the section in_use; then repair" in refusal(desk, NETWORK)
    desk.path.write_text(desk.path.read_text().replace(NETWORK, "10.0.10.4"))
    api = OrchestratorAPI(desk.database, desk.cloud.connect)  # type: ignore[arg-type]
    desk.ok(api.repair_slice("student", 1000))
    assert desk.ok(api.problems("student")) == {}
    desk.ok(api.delete_slice("student", 1000))


def test_a_slice_under_change_keeps_its_worker_for_the_moment(desk: Desk) -> None:
    desk.ring(2)
    dead(desk)
    with desk.database.claim(1000):
        assert "being worked on by another session" in refusal(desk, WORKERS[1])
    assert {vm.worker_ip for vm in desk.slice().vms} == {*WORKERS}


def test_a_worker_that_comes_back_is_cleared_before_it_gets_vms(desk: Desk) -> None:
    """Leave objects of moved and of deleted slices there: all of them are foreign now."""
    desk.ring(4)
    desk.ok(desk.api.deploy_slice("student", 1000))
    desk.ok(desk.api.create_slice("admin", "gone"))
    for name in ("one", "two"):
        desk.ok(desk.api.add_vm_to_slice("admin", 1005, name, "cirros", 1, True))
    desk.ok(desk.api.deploy_slice("admin", 1005))
    dead(desk)
    desk.no(desk.api.delete_slice("admin", 1005))
    desk.api.hosts.forget(WORKERS[1])
    desk.ok(desk.api.repair_slice("student", 1000))
    host = desk.cloud.hosts[WORKERS[1]]
    assert host.processes
    host.dead = False
    workers = desk.ok(desk.api.discover_workers())
    assert (workers[WORKERS[1]].up, workers[WORKERS[1]].problem) == (False, CLEAR_FIRST)
    found = {finding.code for finding in desk.api.doctor.examine().findings}
    assert {"host-forgotten", "orphan-process", "orphan-port", "orphan-flows", "orphan-overlay"} <= found
    desk.api.doctor.fix()
    assert desk.api.doctor.examine().findings == ()
    assert (host.processes, host.ports, host.flows) == ({}, {}, {})
    assert not [path for path in host.files if path.endswith("_img.qcow2")]
    assert desk.ok(desk.api.discover_workers())[WORKERS[1]].up
    assert desk.ok(desk.api.problems("student")) == {}


def test_a_worker_that_comes_back_with_nothing_is_cleared_after_a_question_too(desk: Desk) -> None:
    desk.ring(2)
    dead(desk)
    desk.api.hosts.forget(WORKERS[1])
    desk.cloud.hosts[WORKERS[1]] = ConsoleHost(WORKERS[1])
    api = OrchestratorAPI(desk.database, desk.cloud.connect)  # type: ignore[arg-type]
    removable = api.doctor.examine().removable
    assert removable == ("10.0.10.2: host-forgotten: the mark that keeps VMs away",)
    assert api.doctor.fix(removable).removed == removable
    assert desk.ok(api.discover_workers())[WORKERS[1]].up


def test_the_log_of_each_slice_names_the_user_who_wrote_a_worker_off(desk: Desk) -> None:
    desk.ring(2)
    dead(desk)
    desk.api.hosts.forget(WORKERS[1])
    lines = [entry for entry in read_log(desk.path) if entry["action"] == "forget host"]
    assert [(entry["slice"], entry["result"].split(":")[0]) for entry in lines] == [
        (None, "begun"), (1000, "10.0.10.2"), (None, "10.0.10.2"),
    ]  # fmt: skip
    assert all(entry["actor"].startswith("operator ") for entry in lines)


# --- other advice, followed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rebooted", [False, True])
def test_doctor_fix_removes_obstacles_of_a_deployment_after_an_older_file(desk: Desk, rebooted: bool) -> None:
    """Put back a file in which a running slice is in design: its process files have no owner there."""
    with_one_vm(desk)
    older = desk.path.read_bytes()
    desk.ok(desk.api.deploy_slice("student", 1000))
    desk.path.write_bytes(older)
    host = desk.cloud.hosts[WORKERS[0]]
    disk = {path for path in host.files if path.endswith(("_img.qcow2",)) or ".id-" in path}
    host.files["vm_images/slice-1000/notes.log"] = "of the operator"
    if rebooted:
        host.processes.clear()
        host.argvs.clear()
    assert "cli.py doctor --fix; nothing was changed" in desk.no(desk.api.deploy_slice("student", 1000))
    desk.api.doctor.fix()
    assert "orphan-files" not in {finding.code for finding in desk.api.doctor.examine().findings}
    assert disk <= host.files.keys()
    assert "vm_images/slice-1000/notes.log" in host.files
    desk.ok(desk.api.deploy_slice("student", 1000))
    assert desk.api.doctor.examine().findings == ()


def test_a_disk_of_a_forgotten_slice_is_removed_by_the_advised_command(desk: Desk) -> None:
    for name in ("again", "another"):
        desk.ok(desk.api.create_slice("student", name))
    forgotten = "vm_images/slice-1000/web_img.qcow2"
    for worker in WORKERS:
        desk.cloud.hosts[worker].folders.add("vm_images/slice-1000")
        desk.cloud.hosts[worker].files[forgotten] = "what a guest wrote"
    sentence = desk.no(desk.api.add_vm_to_slice("student", 1000, "web", "cirros", 1))
    assert (
        "create another slice and delete this one, then an operator removes it with: python3 cli.py doctor" in sentence
    )
    desk.ok(desk.api.add_vm_to_slice("student", 1001, "web", "cirros", 1))
    desk.ok(desk.api.delete_slice("student", 1000))
    desk.api.doctor.fix()
    assert not [worker for worker in WORKERS if forgotten in desk.cloud.hosts[worker].files]
    desk.ok(desk.api.deploy_slice("student", 1001))
    assert desk.api.doctor.examine().findings == ()


def test_each_sentence_about_a_lost_worker_names_the_way_out(desk: Desk) -> None:
    desk.ring(2)
    way_out = "if it is dead for good, an operator runs: cli.py host forget 10.0.10.2"
    dead(desk)
    assert desk.no(desk.api.deploy_slice("student", 1000)).endswith(
        f"{way_out}; nothing was changed and the slice is in design"
    )
    desk.cloud.hosts[WORKERS[1]].dead = False
    desk.ok(desk.api.deploy_slice("student", 1000))
    dead(desk)
    assert desk.no(desk.api.repair_slice("student", 1000)).endswith(way_out)
    assert desk.no(desk.api.delete_slice("student", 1000)).endswith(way_out)
    dead(desk, NETWORK)
    assert "host forget 10.0.10.3" not in desk.no(desk.api.delete_slice("student", 1000))
