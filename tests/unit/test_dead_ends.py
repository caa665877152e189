"""Following the advice of a sentence leads out: what is left after a failure, why, and how it comes to an end."""

from __future__ import annotations

from menu.session import _found
from remote.events import Event, Notice
from tests.unit.desk import WORKERS, Desk


def with_one_vm(desk: Desk) -> None:
    desk.ok(desk.api.create_slice("student", "ring"))
    desk.ok(desk.api.add_vm_to_slice("student", 1000, "vm0", "cirros", 2))


def test_a_failed_deletion_lists_no_base_image(desk: Desk) -> None:
    """It is meant to stay; what could be left of it is a copy that did not arrive whole."""
    desk.ring(3)
    desk.ok(desk.api.deploy_slice("student", 1000))
    desk.cloud.hosts[WORKERS[1]].dead = True
    assert "base image" not in desk.no(desk.api.delete_slice("student", 1000))
    left = desk.slice().left
    assert "overlay of vm1 on 10.0.10.2" in left
    assert not [entry for entry in left if "base image" in entry or "copy" in entry]


def test_an_unfinished_copy_that_cannot_be_removed_is_listed(desk: Desk) -> None:
    with_one_vm(desk)
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
        "Slice 1000 (ring) was given late, which failed and could not be taken back: parts are left on 10.0.10.2."
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
    """Numbers stay unique in the file, the other VMs keep theirs, and the answer says it."""
    desk.ring(4)
    assert ports(desk) == {"vm0": 5901, "vm1": 5902, "vm2": 5903, "vm3": 5904}
    desk.cloud.hosts[WORKERS[0]].foreign_ports = {22, 5901, 5902, 5905}  # 5902 is a VM's on the other worker
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
    assert desk.ok(desk.api.ailments("student")) == {}


def test_a_program_that_follows_every_vnc_port_ends_in_a_sentence(desk: Desk) -> None:
    with_one_vm(desk)
    host = desk.cloud.hosts[WORKERS[0]]
    host.foreign_ports = _Everywhere()
    sentence = desk.no(desk.api.deploy_slice("student", 1000))
    assert "nothing was changed and the slice is in design" in sentence
    host.foreign_ports = set()
    desk.ok(desk.api.deploy_slice("student", 1000))


class _Everywhere(set[int]):
    """Listens on whatever port is asked for, and says so of none before."""

    def __contains__(self, port: object) -> bool:
        return True
