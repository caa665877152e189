"""Changes of a running slice: VMs run on, and after a failure or a dead manager all is as before or as wanted."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import pytest

from core.status import NetworkStatus, VMStatus
from remote.events import Event, Listener, StageStarted, StepDone
from tests.support.desk import WORKERS, Desk
from tests.support.dying import ManagerDiesError
from tests.support.scale import scaled
from tests.unit.lifecycle.test_edits import EDITS, FILE, edited
from topology.of_slice import design_of
from topology.reader import read

RESTARTED = {"interfaces"}
"""The edits for which a VM restarts."""

STORES = scaled(["file"], ["file", "postgres"])
"""The stores under the tests that walk through all steps: they say nothing of a store that the others do not say."""


@pytest.fixture
def lab(desk: Desk) -> Desk:
    """Return a desk on which the slice of the file, 1000, runs."""
    desk.ok(desk.api.designs.create("student", read(FILE)))
    desk.ok(desk.api.deploy_slice("student", 1000))
    return desk


class Mortal:
    """A listener with which a manager dies after so many events of its work."""

    def __init__(self, moments: int) -> None:
        self.left = moments

    def __call__(self, event: Event) -> None:
        self.left -= isinstance(event, StepDone | StageStarted)
        if self.left < 0:
            raise ManagerDiesError


def objects(lab: Desk) -> dict[str, Any]:
    """Return all objects on the hosts but processes, which are numbered."""
    state = copy.deepcopy(lab.cloud.state())
    for host in state.values():
        host.pop("processes")
        host["files"] = sorted(path for path in host["files"])
    return state


def record(lab: Desk) -> dict[str, Any]:
    """Return the slice's record without what each start gives it, and without the last link id: none is used again."""
    found = lab.slice().to_dict()
    found.pop("last_link_id", None)
    for vm in found["vms"]:
        vm.pop("pid")
    return found


@pytest.mark.parametrize("kind", EDITS)
def test_a_running_slice_becomes_what_the_file_says_and_vms_run_on(lab: Desk, kind: str) -> None:
    wanted, pids = edited(kind), {vm.name: vm.pid for vm in lab.slice().vms}
    slice_ = lab.ok(lab.api.edits.apply("student", 1000, wanted))
    assert slice_.before is None
    assert {vm.name for vm in slice_.vms} == {vm.name for vm in wanted.vms}
    assert {vm.status for vm in slice_.vms} == {VMStatus.RUNNING}
    assert {network.status for network in slice_.networks} <= {NetworkStatus.RUNNING}
    assert lab.ok(lab.api.problems("student", 1000)) == {}
    moved = {vm.name for vm in slice_.vms if vm.name in pids and vm.pid != pids[vm.name]}
    assert moved == ({"a"} if kind in RESTARTED else set())
    again = lab.ok(lab.api.edits.compare("student", 1000, wanted))
    assert (again.found, [*again.plan.steps]) == ((), [])
    assert lab.used() == len(wanted.vms)


@pytest.mark.long
@pytest.mark.parametrize("kind", EDITS)
def test_nothing_stays_of_what_a_change_removed(lab: Desk, kind: str) -> None:
    lab.ok(lab.api.edits.apply("student", 1000, edited(kind)))
    lab.ok(lab.api.edits.apply("student", 1000, read(FILE)))
    lab.ok(lab.api.delete_slice("student", 1000))
    left = {name: part for host in lab.cloud.state().values() for name, part in host.items() if part}
    assert not {"ports", "flows", "processes", "tables"} & left.keys()
    assert not [path for host in lab.cloud.state().values() for path in host["files"] if "1000" in path]


def test_the_carrier_of_a_new_link_comes_after_the_servers_that_answer(lab: Desk) -> None:
    plan = lab.ok(lab.api.edits.compare("student", 1000, edited("LAN"))).plan
    stages = {step.title: number for number, stage in enumerate(plan.stages) for step in stage.steps}
    before = ("QEMU", "ports of the TAPs", "gateways of the VLANs", "DHCP of the VLANs", "DHCP of changed VLANs")
    assert stages["start of the guests"] > max(stages[title] for title in before)


@pytest.mark.torture
@pytest.mark.parametrize("desk", STORES, indirect=True)
@pytest.mark.parametrize("kind", EDITS)
def test_a_change_that_fails_at_any_step_leaves_all_as_it_was(lab: Desk, kind: str) -> None:
    plan = lab.ok(lab.api.edits.compare("student", 1000, edited(kind))).plan
    for host, title in dict.fromkeys((step.host, step.title) for step in plan.steps if step.objects):
        before, file, faults = objects(lab), record(lab), lab.cloud.hosts[host].faults
        faults[title] = (1, "", "no such thing")
        answer = lab.api.edits.apply("student", 1000, edited(kind))
        was_skipped = bool(faults)
        faults.clear()
        if was_skipped:  # its objects are there
            lab.ok(answer)
        elif lab.slice().before:
            assert "not all disks are removed" in lab.no(answer)
            lab.ok(lab.api.finish_slice("student", 1000))
        else:
            assert "what was done has been taken back" in lab.no(answer)
            assert (title, record(lab), objects(lab)) == (title, file, before)
        lab.ok(lab.api.edits.apply("student", 1000, read(FILE)))
        assert lab.ok(lab.api.problems("student", 1000)) == {}


@pytest.mark.torture
@pytest.mark.parametrize("desk", STORES, indirect=True)
@pytest.mark.parametrize("answer", ["finish", "take back"])
@pytest.mark.parametrize(("first", "kind"), [*enumerate(["VM", "no VM", "LAN", "services", "interfaces", "all"])])
def test_what_a_dead_manager_left_is_finished_or_taken_back(lab: Desk, first: int, kind: str, answer: str) -> None:
    """Kill it at each moment in the long version, else at each sixth, another one for each kind."""
    file, wanted, vms, dead = record(lab), edited(kind), lab.used(), 0
    for number in range(scaled(first, 0), 200, scaled(6, 1)):
        with suppress(ManagerDiesError):
            lab.ok(lab.api.edits.apply("student", 1000, wanted, Mortal(number)))
            break
        dead += 1
        slice_ = lab.slice()
        if slice_.before is None:
            continue
        assert lab.ok(lab.api.unfinished("student")) != []
        assert "was not finished" in lab.no(lab.api.edits.apply("student", 1000, wanted))
        if answer == "finish" or slice_.before.past:
            lab.ok(lab.api.finish_slice("student", 1000))
            assert lab.ok(lab.api.edits.compare("student", 1000, wanted)).found == ()
            assert lab.used() == len(wanted.vms)
            lab.ok(lab.api.edits.apply("student", 1000, read(FILE)))
        else:
            lab.ok(lab.api.take_back_slice("student", 1000))
            assert record(lab) == file
        assert lab.used() == vms
        assert lab.ok(lab.api.problems("student", 1000)) == {}
        file = record(lab)
    assert dead > (0 if kind in RESTARTED else 2)  # a file without a number of interfaces leaves those of the VM


def test_a_deletion_removes_both_designs_of_an_unfinished_change(lab: Desk) -> None:
    def die(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage.title == "launch":
            raise ManagerDiesError

    with suppress(ManagerDiesError):
        lab.api.edits.apply("student", 1000, edited("all"), die)
    lab.ok(lab.api.delete_slice("student", 1000))
    assert lab.used() == 0
    assert not [path for host in lab.cloud.state().values() for path in host["files"] if "1000" in path]


@pytest.mark.parametrize("moments", range(18, 60, 6))
def test_doctor_names_an_unfinished_change_and_removes_nothing_of_it(lab: Desk, moments: int) -> None:
    with suppress(ManagerDiesError):
        lab.api.edits.apply("student", 1000, edited("all"), Mortal(moments))
    before = objects(lab)
    found = lab.api.doctor.fix()
    assert {finding.code for finding in found.findings} == {"change-unfinished"}
    assert (found.removed, objects(lab)) == ((), before)
    assert [problem.code for problem in found.findings] == ["change-unfinished"]


def breaches(lab: Desk) -> list[str]:
    verdict = lab.ok(lab.api.prove_isolation("student"))
    assert verdict.unseen == ()
    return [breach.sentence for each in verdict.properties for breach in each.breaches]


def intrude(lab: Desk, what: str) -> None:
    """Take something of the design before the unfinished change."""
    host, before = lab.cloud.hosts[WORKERS[0]], lab.slice().earlier()
    match what:
        case "VLAN":
            host.ports["foreign"] = before.links[0].vlan_id
        case "MAC":
            nic = f"virtio-net-pci,mac={before.vms[0].interfaces[1].mac}"
            host.argvs[77] = ("qemu-system-x86_64", "-name", "other", "-device", nic)
        case "disk":
            host.argvs[77] = ("qemu-system-x86_64", "-name", "other", "-drive", "file=vm_images/slice-1000/a_img.qcow2")


@pytest.mark.long
@pytest.mark.parametrize("kind", ["all", "LAN", "no link", "internet"])
def test_an_unfinished_change_is_no_breach_of_isolation_and_hides_none(lab: Desk, kind: str) -> None:
    for moments in range(3, 80, 12):
        with suppress(ManagerDiesError):
            lab.ok(lab.api.edits.apply("student", 1000, edited(kind), Mortal(moments)))
            break
        assert (moments, breaches(lab)) == (moments, [])
        slice_ = lab.slice()
        if slice_.before is None:
            continue
        host = lab.cloud.hosts[WORKERS[0]]
        for what in ("VLAN", "MAC", "disk"):
            intrude(lab, what)
            assert breaches(lab), (moments, what)
            host.ports.pop("foreign", None)
            host.argvs.pop(77, None)
        if slice_.before.past:
            break
        lab.ok(lab.api.take_back_slice("student", 1000))
    assert breaches(lab) == []


def test_a_lost_host_leaves_the_change_unfinished(lab: Desk) -> None:
    design = design_of(lab.slice())[0]
    lab.cloud.hosts[WORKERS[0]].dies_after = 12
    sentence = lab.no(lab.api.edits.apply("student", 1000, edited("LAN")))
    assert "log in again to finish it or take it back" in sentence
    assert lab.slice().before is not None
    lab.cloud.hosts[WORKERS[0]].dead = False
    lab.cloud.hosts[WORKERS[0]].dies_after = None
    lab.ok(lab.api.take_back_slice("student", 1000))
    assert design_of(lab.slice())[0] == design
    assert lab.ok(lab.api.problems("student", 1000)) == {}


def test_a_vm_and_a_link_are_added_by_the_entries_of_the_menu(lab: Desk) -> None:
    vm = lab.ok(lab.api.add_vm_to_slice("student", 1000, "d", "cirros", 2, True))
    assert (vm.status, vm.pid is not None) == (VMStatus.RUNNING, True)
    a = lab.slice().vms[0]
    free = next(nic.name for nic in a.interfaces if nic.can_be_linked)
    link = lab.ok(lab.api.create_link("student", 1000, a.vm_id, free, vm.vm_id, "eth1"))
    assert [network.status for network in lab.slice().networks if network.vlan_id == link.vlan_id] == [
        NetworkStatus.RUNNING
    ]
    assert lab.ok(lab.api.problems("student", 1000)) == {}


def die_in(stage: str) -> Listener:
    """Return a listener with which a manager dies where a stage begins."""

    def die(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage.title == stage:
            raise ManagerDiesError

    return die


def test_a_finish_that_fails_in_a_check_does_not_forget_what_the_dead_manager_made(lab: Desk) -> None:
    with suppress(ManagerDiesError):
        lab.api.edits.apply("student", 1000, edited("VM"), die_in("verify"))
    lab.cloud.hosts[WORKERS[0]].faults["programs"] = (1, "", "no such thing")
    sentence = lab.no(lab.api.finish_slice("student", 1000))
    assert "what was done has been taken back" in sentence
    assert lab.ok(lab.api.problems("student", 1000)) == {}
    assert not any("d.pid" in path for host in lab.cloud.hosts.values() for path in host.processes)


@pytest.mark.parametrize("title", ["TAPs", "QEMU", "VMs"])
@pytest.mark.parametrize(("now", "wanted"), [("{}", "{x: cirros}"), ("{x: cirros}", "{}")])
def test_a_design_without_vms_is_rolled_back_as_well(desk: Desk, now: str, wanted: str, title: str) -> None:
    designs = {vms: read(f"slice: lab\nvms: {vms}\n") for vms in (now, wanted)}
    desk.ok(desk.api.designs.create("student", read("slice: lab\nvms: {x: cirros}\n")))
    desk.ok(desk.api.deploy_slice("student", 1000))
    desk.ok(desk.api.edits.apply("student", 1000, designs[now]))
    before, worker = objects(desk), desk.cloud.hosts[WORKERS[0]]
    worker.faults[title] = (1, "", "no such thing")
    answer = desk.api.edits.apply("student", 1000, designs[wanted])
    if worker.faults:  # a removal has no such step
        assert (answer[0], wanted) == (True, "{}")
        return
    assert "what was done has been taken back" in desk.no(answer)
    assert objects(desk) == before
    assert desk.ok(desk.api.problems("student", 1000)) == {}


def test_disks_that_are_gone_are_never_made_again_by_a_rollback(lab: Desk) -> None:
    lab.cloud.hosts[WORKERS[1]].faults["overlay of c"] = (1, "", "no such thing")
    lab.no(lab.api.edits.apply("student", 1000, edited("no VM")))
    assert "take it back" not in lab.no(lab.api.edits.apply("student", 1000, read(FILE)))
    lab.cloud.hosts[WORKERS[0]].faults["programs"] = (1, "", "no such thing")
    sentence = lab.no(lab.api.finish_slice("student", 1000))
    assert sentence.endswith("log in again to finish it")
    assert lab.slice().before
    lab.ok(lab.api.finish_slice("student", 1000))
    assert lab.ok(lab.api.edits.compare("student", 1000, edited("no VM"))).found == ()


def test_lans_are_the_same_after_the_second_apply(lab: Desk) -> None:
    lab.ok(lab.api.edits.apply("student", 1000, read(FILE.replace("- a - b", "- [a, b, c]"))))
    wanted = read(FILE.replace("c: cirros}", "c: cirros, d: cirros}").replace("- a - b", "- [a, b, d]\n- [a, b, c]"))
    lab.ok(lab.api.edits.apply("student", 1000, wanted))
    assert lab.ok(lab.api.edits.compare("student", 1000, wanted)).found == ()


def test_links_exchange_their_networks(lab: Desk) -> None:
    file = FILE.replace("- a - b", "- {ends: [a, b], cidr: 10.1.0.0/24}").replace(
        "name: core", "name: core, cidr: 10.2.0.0/24"
    )
    lab.ok(lab.api.edits.apply("student", 1000, read(file)))
    other = file.replace("10.1.", "10.9.").replace("10.2.", "10.1.").replace("10.9.", "10.2.")
    lab.ok(lab.api.edits.apply("student", 1000, read(other)))
    assert lab.ok(lab.api.problems("student", 1000)) == {}


def test_an_edit_that_the_user_did_not_see_is_refused(lab: Desk) -> None:
    shown = lab.ok(lab.api.edits.compare("student", 1000, edited("no link")))
    lab.ok(lab.api.edits.apply("student", 1000, edited("VM")))
    sentence = lab.no(lab.api.edits.apply("student", 1000, edited("no link"), agreed=shown.found))
    assert sentence == "Slice 1000 was changed by another session meanwhile; look at it and try again"
    assert len(lab.slice().vms) == 4


@pytest.mark.parametrize("kind", ["VM", "no VM", "all"])
def test_a_worker_that_is_written_off_ends_an_unfinished_change(lab: Desk, kind: str) -> None:
    with suppress(ManagerDiesError):
        lab.api.edits.apply("student", 1000, edited(kind), die_in("launch"))
    lab.cloud.hosts[WORKERS[1]].dead = True
    written_off = lab.api.hosts.forget(WORKERS[1])
    assert "its unfinished change counts as made" in written_off.done[0]
    assert lab.slice().before is None
    lab.cloud.hosts[WORKERS[1]].dead = False
    lab.ok(lab.api.delete_slice("student", 1000))
    assert lab.used() == 0


@pytest.mark.parametrize("kind", ["VM", "no VM", "LAN", "all"])
@pytest.mark.parametrize("lost", WORKERS)
def test_a_deletion_that_waited_for_a_worker_removes_both_designs_elsewhere(lab: Desk, kind: str, lost: str) -> None:
    with suppress(ManagerDiesError):
        lab.api.edits.apply("student", 1000, edited(kind), die_in("launch" if kind == "all" else "remove"))
    for host in lab.cloud.hosts.values():
        host.dead = True
    assert f"cli.py host forget {lost}" in lab.no(lab.api.delete_slice("student", 1000))
    for address, host in lab.cloud.hosts.items():
        host.dead = address == lost
    written_off = lab.api.hosts.forget(lost)
    assert written_off.unfinished == ()
    assert lab.used() == 0
    assert lab.ok(lab.api.list_slices("student")) == []
    for address in {*WORKERS, "10.0.10.3"} - {lost}:
        left = lab.cloud.hosts[address].state()
        assert {name: left[name] for name in ("ports", "queues", "flows", "processes", "tables") if left[name]} == {}
        assert not [path for path in left["files"] if "1000" in path]


def test_a_swap_of_vms_of_a_running_slice_needs_no_room_in_the_quota(lab: Desk) -> None:
    lab.api.accounts.set_quota("student", 3)
    with suppress(ManagerDiesError):
        lab.api.edits.apply("student", 1000, edited("all"), die_in("launch"))
    lab.ok(lab.api.take_back_slice("student", 1000))
    lab.ok(lab.api.edits.apply("student", 1000, edited("all")))
    lab.ok(lab.api.edits.apply("student", 1000, read(FILE)))
    assert lab.used() == 3


def power_off(lab: Desk, name: str) -> None:
    """Let the guest of a VM switch itself off."""
    vm = next(vm for vm in lab.slice().vms if vm.name == name)
    lab.cloud.hosts[vm.worker_ip].power_off(f"vm_images/slice-1000/{name}.pid")


def runs(lab: Desk, name: str) -> bool:
    return any(f"/{name}.pid" in pid_file for host in lab.cloud.hosts.values() for pid_file in host.processes)


@pytest.mark.parametrize("kind", ["VM", "no link", "LAN", "services", "rate", "interfaces"])
def test_a_vm_that_powered_itself_off_is_left_off(lab: Desk, kind: str) -> None:
    for name in ("a", "b"):
        power_off(lab, name)
    lab.ok(lab.api.edits.apply("student", 1000, edited(kind)))
    assert (runs(lab, "a"), runs(lab, "b"), runs(lab, "c")) == (False, False, True)
    assert {vm.status for vm in lab.slice().vms} == {VMStatus.RUNNING}
    assert {finding.code for finding in lab.api.doctor.examine().findings} == {"vm-off"}
    lab.ok(lab.api.power.start("student", 1000))
    assert lab.ok(lab.api.problems("student", 1000)) == {}
    assert lab.ok(lab.api.repair_slice("student", 1000)) == []


def test_a_change_that_fails_leaves_off_what_was_off(lab: Desk) -> None:
    power_off(lab, "a")
    before, file = objects(lab), record(lab)
    for worker in WORKERS:
        lab.cloud.hosts[worker].faults["ports of the TAPs"] = (1, "", "no such thing")
    assert "what was done has been taken back" in lab.no(lab.api.edits.apply("student", 1000, edited("LAN")))
    assert (objects(lab), record(lab)) == (before, file)


@pytest.mark.parametrize("answer", ["finish_slice", "take_back_slice"])
def test_a_vm_that_the_change_switched_off_runs_again(lab: Desk, answer: str) -> None:
    power_off(lab, "b")
    with suppress(ManagerDiesError):
        lab.api.edits.apply("student", 1000, edited("interfaces"), die_in("launch"))
    assert not runs(lab, "a")
    lab.ok(getattr(lab.api, answer)("student", 1000))
    assert (runs(lab, "a"), runs(lab, "b")) == (True, False)


def test_a_worker_that_does_not_say_what_is_off_fails_the_change_as_ever(lab: Desk) -> None:
    lab.cloud.hosts[WORKERS[0]].faults["power of the VMs"] = (1, "", "no such thing")
    lab.ok(lab.api.edits.apply("student", 1000, edited("rate")))


def test_a_lost_vm_is_repaired_before_the_slice_is_changed(lab: Desk) -> None:
    lab.cloud.hosts[WORKERS[1]].dead = True
    lab.api.hosts.forget(WORKERS[1])
    assert "repair slice 1000 first" in lab.no(lab.api.edits.apply("student", 1000, edited("silent")))
