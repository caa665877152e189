"""The use-cases over fake hosts: records, remains, and the sentences for the user."""

from __future__ import annotations

import base64
import copy
import errno
import signal
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

import database
from core.status import NetworkStatus, SliceStatus, VMStatus
from database import open_store
from inspection.isolation.prover import Prover, Verdict
from menu.plans import Depth, plan_lines
from orchestrator import OrchestratorAPI, Result
from remote.events import Event, StageStarted, StepDone, StepFailed
from remote.plan import Step
from remote.transcript import Outcome, UploadProgress
from storage.files import replace
from storage.postgres import rows
from tests.support.designs import FLAVOR
from tests.support.desk import NETWORK, WORKERS, ConsoleHost, Desk
from tests.support.dying import ManagerDiesError

# --- designing --------------------------------------------------------------------------------------------------------


def test_slices_and_vms_draw_from_one_counter(desk: Desk) -> None:
    first = desk.ring(2)
    second = desk.ok(desk.api.create_slice("admin", "other"))
    assert [first.slice_id, *(vm.vm_id for vm in first.vms), second.slice_id] == [1000, 1001, 1002, 1003]
    assert [vm.vnc_port for vm in first.vms] == [5901, 5902]


def test_vms_go_round_the_workers_and_have_their_overlays(desk: Desk) -> None:
    slice_ = desk.ring(3)
    assert [vm.worker_ip for vm in slice_.vms] == [WORKERS[0], WORKERS[1], WORKERS[0]]
    assert {vm.status for vm in slice_.vms} == {VMStatus.DESIGN}
    for vm in slice_.vms:
        assert f"vm_images/slice-1000/{vm.name}_img.qcow2" in desk.cloud.hosts[vm.worker_ip].files
        assert vm.qcow_image == f"~/vm_images/slice-1000/{vm.name}_img.qcow2"


def test_a_worker_that_is_down_gets_no_vms_and_comes_back(desk: Desk) -> None:
    desk.cloud.hosts[WORKERS[0]].dead = True
    workers = desk.ok(desk.api.discover_workers())
    assert [workers[address].up for address in WORKERS] == [False, True]
    assert workers[WORKERS[0]].problem == "no answer on port 22 in time"
    assert {vm.worker_ip for vm in desk.ring(3).vms} == {WORKERS[1]}
    desk.cloud.hosts[WORKERS[0]].dead = False
    assert desk.ok(desk.api.discover_workers())[WORKERS[0]].up


def test_no_worker_answers(desk: Desk) -> None:
    for address in WORKERS:
        desk.cloud.hosts[address].dead = True
    desk.ok(desk.api.discover_workers())
    desk.ok(desk.api.create_slice("student", "s"))
    assert "No worker answers" in desk.no(desk.api.add_vm_to_slice("student", 1000, "vm1", "cirros"))
    assert desk.used() == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("student", 1000, "", "cirros"), "VM name is 1 to 32"),
        (("student", 1000, "a" * 33, "cirros"), "VM name is 1 to 32"),
        (("student", 1000, "$(reboot)", "cirros"), "VM name is 1 to 32"),
        (("student", 1000, "vm0", "cirros"), "has a VM vm0 already"),
        (("student", 1000, "new", "windows"), "no flavor windows; there are cirros, ubuntu"),
        (("student", 1000, "new", "cirros", 11), "0 to 10 data interfaces"),
        (("student", 1000, "new", "cirros", -1), "0 to 10 data interfaces"),
        (("student", 9999, "new", "cirros"), "You have no slice 9999; your slices: 1000"),
        (("admin", 1000, "new", "cirros"), "You have no slice 1000; your slices: none yet"),
        (("ghost", 1000, "new", "cirros"), "You have no slice 1000"),
    ],
)
def test_a_vm_that_may_not_be(desk: Desk, words: tuple[Any, ...], sentence: str) -> None:
    desk.ring(1 + 1)
    before = desk.path.read_text()
    assert sentence in desk.no(desk.api.add_vm_to_slice(*words))
    assert desk.path.read_text() == before


def test_a_vm_with_other_interfaces_than_its_flavor_takes(desk: Desk) -> None:
    flavors = "flavors:\n  fw: {cores: 1, ram_gb: 1, disk_gb: 1, image: /srv/fw.qcow2, min_nics: 2, max_nics: 4}\n"
    desk.path.write_text(desk.path.read_text().replace("flavors:\n", flavors))
    desk.ok(desk.api.create_slice("student", "s"))
    for count in (1, 5):
        said = desk.no(desk.api.add_vm_to_slice("student", 1000, "vm1", "fw", count))
        assert said == f"A VM of flavor fw takes 2 to 4 data interfaces, not {count}"
    assert desk.used() == 0


def test_the_quota_is_exact(desk: Desk) -> None:
    desk.ring(6)
    assert desk.no(desk.api.add_vm_to_slice("student", 1000, "seven", "cirros")).startswith("Quota exceeded")
    assert desk.used() == 6


def test_a_vm_that_fits_nowhere_names_the_closest_worker(desk: Desk) -> None:
    text = yaml.safe_load(desk.path.read_text())
    text["flavors"]["huge"] = FLAVOR | {"ram_gb": 20.0}
    desk.path.write_text(yaml.safe_dump(text))
    desk.ring(2)
    sentence = desk.no(desk.api.add_vm_to_slice("student", 1000, "big", "huge"))
    assert sentence.startswith("No worker has room for huge")
    assert "10.0.10.1 comes closest: 15.5 GiB of memory left" in sentence


def test_an_overlay_that_fails_leaves_no_vm_and_no_file(desk: Desk) -> None:
    desk.ok(desk.api.create_slice("student", "s"))
    before, users = desk.cloud.hosts[WORKERS[0]].state(), desk.used()
    before = copy.deepcopy(before)
    desk.cloud.hosts[WORKERS[0]].faults = {"overlay": (1, "", "qemu-img: No space left on device")}
    sentence = desk.no(desk.api.add_vm_to_slice("student", 1000, "vm1", "cirros"))
    assert sentence == "10.0.10.1: overlay of vm1: qemu-img: No space left on device; nothing was added"
    assert desk.cloud.hosts[WORKERS[0]].state() == before
    assert (desk.slice().vms, desk.used()) == ([], users)


def test_the_worker_dies_while_a_vm_is_added(desk: Desk) -> None:
    desk.ok(desk.api.create_slice("student", "s"))
    desk.cloud.hosts[WORKERS[0]].dies_after = 2
    assert "not all could be taken back" in desk.no(desk.api.add_vm_to_slice("student", 1000, "vm1", "cirros"))
    assert [s.slice_id for s in desk.ok(desk.api.unfinished("student"))] == [1000]
    desk.cloud.hosts[WORKERS[0]].dead, desk.cloud.hosts[WORKERS[0]].dies_after = False, None
    desk.ok(desk.api.take_back_slice("student", 1000))
    assert (desk.slice().vms, desk.used(), desk.ok(desk.api.unfinished("student"))) == ([], 0, [])


@pytest.mark.parametrize(
    ("link", "sentence"),
    [
        ((1001, "eth1", 1001, "eth2"), "two different VMs"),
        ((1001, "eth0", 1002, "eth1"), "'eth0' cannot be linked; its free data interfaces"),
        ((1001, "eth9", 1002, "eth1"), "'eth9' cannot be linked"),
        ((7777, "eth1", 1001, "eth1"), "has no VM 7777; its VMs: 1001, 1002"),
        ((1001, "eth1", 1002, "eth2"), "eth1 is taken"),
    ],
)
def test_a_link_that_may_not_be_spends_no_vlan(desk: Desk, link: tuple[Any, ...], sentence: str) -> None:
    desk.ring(2)
    before = desk.path.read_text()
    assert sentence in desk.no(desk.api.create_link("student", 1000, *link))
    assert desk.path.read_text() == before


def test_links_record_their_networks(desk: Desk) -> None:
    slice_ = desk.ring(2)
    assert slice_.networks[0].to_dict() == {
        "vlan_id": 100,
        "cidr": "192.168.100.0/24",
        "gateway_ip": "192.168.100.1",
        "dhcp_enabled": True,
        "dhcp_range": "192.168.100.10,192.168.100.250",
        "status": "pending",
    }


# --- deploying and deleting -------------------------------------------------------------------------------------------


def test_deploy_and_delete(desk: Desk) -> None:
    desk.ring(4)
    before = {address: host.state() for address, host in desk.cloud.hosts.items()}
    before = copy.deepcopy(before)
    events: list[Event] = []
    slice_ = desk.ok(desk.api.deploy_slice("student", 1000, events.append))
    assert slice_.status == SliceStatus.RUNNING
    assert [e.stage.title for e in events if isinstance(e, StageStarted)] == [
        "preflight",
        "prepare",
        "launch",
        "verify",
    ]
    assert {vm.status for vm in slice_.vms} == {VMStatus.RUNNING}
    assert all(vm.pid and vm.pid.isdigit() for vm in slice_.vms)
    assert all(vm.vnc_secret and len(vm.vnc_secret) == 8 for vm in slice_.vms)
    assert len({vm.vnc_secret for vm in slice_.vms}) == 4
    assert {network.status for network in slice_.networks} == {NetworkStatus.RUNNING}
    assert desk.no(desk.api.deploy_slice("student", 1000)) == "Slice already running"
    assert desk.cloud.state() != before
    assert desk.ok(desk.api.delete_slice("student", 1000)).slice_id == 1000
    for host in desk.cloud.hosts.values():
        assert not host.ports
        assert not host.processes
        assert not host.rules
        assert not [path for path in host.files if "slice" in path or "vlan" in path]
    assert desk.ok(desk.api.list_slices("student")) == []
    assert (desk.used(), desk.ok(desk.api.get_user("student")).slices) == (0, [])


def test_secrets_are_in_no_command_line(desk: Desk) -> None:
    desk.ring(2)
    slice_ = desk.ok(desk.api.deploy_slice("student", 1000))
    plan = desk.ok(desk.api.plan_slice("student", 1000))
    text = "".join(line.text for depth in Depth for line in plan_lines(plan, depth, 80))
    assert not [vm for vm in slice_.vms if vm.vnc_secret in text]
    assert "reads a secret" in text


def test_round_trips_do_not_depend_on_the_size(desk: Desk) -> None:
    counts = []
    for size in (2, 6):
        desk.ring(size, "admin" if size == 6 else "student")
        owner, slice_id = ("student", 1000) if size == 2 else ("admin", 1003)
        before = {address: host.runs for address, host in desk.cloud.hosts.items()}
        desk.ok(desk.api.deploy_slice(owner, slice_id))
        counts.append({address: host.runs - before[address] for address, host in desk.cloud.hosts.items()})
    assert counts[0] == counts[1]
    assert max(counts[0].values()) <= 6


@pytest.mark.parametrize(
    ("host", "title"),
    [
        (WORKERS[0], "bridge"),
        (WORKERS[1], "room for the VMs"),
        (NETWORK, "programs"),
        (NETWORK, "DHCP of the VLANs"),
        (NETWORK, "internet on VLAN 400"),
        (WORKERS[0], "ports of the TAPs"),
        (WORKERS[1], "QEMU"),
        (WORKERS[0], "VMs"),
        (NETWORK, "tags of the VLANs"),
    ],
)
def test_a_failure_in_any_stage_takes_all_back(desk: Desk, host: str, title: str) -> None:
    desk.ring(3)
    before = copy.deepcopy(desk.cloud.state())
    desk.cloud.hosts[host].faults = {title: (1, "", "first line\nout of luck")}
    sentence = desk.no(desk.api.deploy_slice("student", 1000))
    assert sentence.startswith(f"{host}: {title}")
    is_preflight = title in {"bridge", "room for the VMs", "programs"}
    done = "nothing was changed" if is_preflight else "what was done has been taken back"
    assert sentence.endswith(f": out of luck; {done} and the slice is in design")
    assert desk.cloud.state() == before
    slice_ = desk.slice()
    assert (slice_.status, {vm.status for vm in slice_.vms}, {vm.pid for vm in slice_.vms}) == (
        SliceStatus.DESIGN,
        {VMStatus.DESIGN},
        {None},
    )
    desk.cloud.hosts[host].faults = {}
    assert desk.ok(desk.api.deploy_slice("student", 1000)).status == SliceStatus.RUNNING


@pytest.mark.parametrize("host", [*WORKERS, NETWORK])
@pytest.mark.parametrize("after", [0, 3, 9, 14])
def test_a_host_that_stops_answering_lets_the_others_be_taken_back(desk: Desk, host: str, after: int) -> None:
    desk.ring(3)
    before = copy.deepcopy(desk.cloud.state())
    desk.cloud.hosts[host].dies_after = after
    sentence = desk.no(desk.api.deploy_slice("student", 1000))
    assert sentence.startswith(f"{host} does not answer")
    others = [address for address in before if address != host]
    assert {a: desk.cloud.state()[a] for a in others} == {a: before[a] for a in others}
    assert desk.slice().status == SliceStatus.DESIGN
    desk.cloud.hosts[host].dead, desk.cloud.hosts[host].dies_after = False, None
    assert desk.ok(desk.api.deploy_slice("student", 1000)).status == SliceStatus.RUNNING
    desk.ok(desk.api.delete_slice("student", 1000))
    assert not [h for h in desk.cloud.hosts.values() if h.ports or h.processes]


def disks(desk: Desk) -> dict[str, str]:
    return {
        f"{worker}:{path}": text
        for worker in WORKERS
        for path, text in desk.cloud.hosts[worker].files.items()
        if path.endswith("_img.qcow2")
    }


def written(desk: Desk, words: str) -> dict[str, str]:
    """Return the disks, with a guest's words on each."""
    for worker in WORKERS:
        host = desk.cloud.hosts[worker]
        host.files.update(dict.fromkeys([path for path in host.files if path.endswith("_img.qcow2")], words))
    return disks(desk)


@pytest.mark.parametrize("after", range(0, 40, 3))
def test_a_lost_connection_costs_no_disk_of_a_slice_in_design(desk: Desk, after: int) -> None:
    """Lose the answer: the steps count as done, but the disks existed before and may hold data."""
    desk.ring(4)
    before = written(desk, "what the guest wrote")
    desk.cloud.hosts[WORKERS[0]].cut_after = after
    desk.api.deploy_slice("student", 1000)
    assert disks(desk) == before


def test_ctrl_c_while_an_image_is_copied_costs_no_disk(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.ring(4)
    before = written(desk, "what the guest wrote")
    worker = desk.cloud.hosts[WORKERS[0]]
    run = worker.run

    def copies(steps: Sequence[Step], **how: Any) -> Generator[Outcome | UploadProgress, None, None]:
        copied = [number for number, step in enumerate(steps) if step.title.startswith("base image")]
        if copied:
            signal.raise_signal(signal.SIGINT)
            yield UploadProgress(copied[0], 0, 1, 2)
        yield from run(steps, **how)

    monkeypatch.setattr(worker, "run", copies)
    assert desk.no(desk.api.deploy_slice("student", 1000)).startswith("Interrupted")
    assert disks(desk) == before


def test_a_lost_connection_costs_no_disk_of_a_forgotten_slice(desk: Desk) -> None:
    """Put an older file back, so that the disk's name is given again."""
    desk.ok(desk.api.create_slice("student", "again"))
    for worker in WORKERS:
        host = desk.cloud.hosts[worker]
        host.folders.add("vm_images/slice-1000")
        host.files["vm_images/slice-1000/web_img.qcow2"] = "what a guest wrote"
        host.cut_after = 0
    before = disks(desk)
    desk.no(desk.api.add_vm_to_slice("student", 1000, "web", "cirros", 1))
    assert disks(desk) == before


def test_deleting_lists_objects_that_it_could_not_remove(desk: Desk) -> None:
    desk.ring(3)
    desk.ok(desk.api.deploy_slice("student", 1000))
    desk.cloud.hosts[WORKERS[1]].dead = True
    sentence = desk.no(desk.api.delete_slice("student", 1000))
    assert sentence.startswith("Slice 1000 is not all gone: 10.0.10.2 does not answer")
    slice_ = desk.slice()
    assert slice_.status == SliceStatus.DELETING
    assert "QEMU on 10.0.10.2" in slice_.left
    assert not [entry for entry in slice_.left if not entry.endswith("on 10.0.10.2")]
    assert desk.used() == 3
    assert "in the middle of deleting" in desk.no(desk.api.deploy_slice("student", 1000))
    desk.cloud.hosts[WORKERS[1]].dead = False
    desk.ok(desk.api.delete_slice("student", 1000))
    assert desk.used() == 0


def test_deleting_a_slice_in_design_removes_its_overlays(desk: Desk) -> None:
    desk.ring(3)
    desk.ok(desk.api.delete_slice("student", 1000))
    assert not [path for host in desk.cloud.hosts.values() for path in host.files if "slice" in path]


def test_an_empty_slice_is_not_deployed_but_deleted(desk: Desk) -> None:
    desk.ok(desk.api.create_slice("student", "empty"))
    assert "has no VMs; add one first" in desk.no(desk.api.deploy_slice("student", 1000))
    desk.ok(desk.api.delete_slice("student", 1000))


@pytest.mark.parametrize("use", ["deploy_slice", "delete_slice", "plan_slice", "get_slice", "finish_slice"])
def test_others_slices_are_as_if_they_were_not_there(desk: Desk, use: str) -> None:
    desk.ring(2)
    call: Callable[[str, int], Result[Any]] = getattr(desk.api, use)
    assert desk.no(call("admin", 1000)) == desk.no(call("admin", 4711)).replace("4711", "1000")


def test_consoles_are_for_the_owner_and_for_running_vms(desk: Desk) -> None:
    desk.ring(2)
    assert "not running" in desk.no(desk.api.open_console("student", 1001))
    desk.ok(desk.api.deploy_slice("student", 1000))
    assert "You have no VM 1001" in desk.no(desk.api.open_console("admin", 1001))
    assert desk.ok(desk.api.open_console("student", 1001)).recv(100) == b"login: "
    host = desk.cloud.hosts[WORKERS[0]]
    assert isinstance(host, ConsoleHost)
    assert [argv[3:8] for argv in host.opened] == [
        (
            *(f"vm_images/slice-1000/vm0.{name}" for name in ("console", "console-lock", "pid")),
            "slice1000-vm1001",
            "student",
        )
    ]


# --- interruptions and managers that die ------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["preflight", "prepare", "launch", "verify"])
def test_ctrl_c_takes_back_and_says_so(desk: Desk, stage: str) -> None:
    desk.ring(3)
    before = copy.deepcopy(desk.cloud.state())

    def press(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage.title == stage:
            signal.raise_signal(signal.SIGINT)

    done = "nothing was changed" if stage == "preflight" else "what was done has been taken back"
    sentence = desk.no(desk.api.deploy_slice("student", 1000, press))
    assert sentence == f"Interrupted; {done} and the slice is in design"
    assert desk.cloud.state() == before
    assert desk.slice().status == SliceStatus.DESIGN


# --- what could not be taken back at once -----------------------------------------------------------------------------


def test_objects_on_a_lost_host_stay_listed_until_they_are_gone(desk: Desk) -> None:
    desk.ring(3)
    before = copy.deepcopy(desk.cloud.state())
    worker = desk.cloud.hosts[WORKERS[0]]
    worker.dies_after = 25  # during verify: its QEMUs run
    assert "not all could be taken back" in desk.no(desk.api.deploy_slice("student", 1000))
    assert worker.processes
    slice_ = desk.slice()
    assert slice_.status == SliceStatus.DESIGN
    assert f"QEMU on {WORKERS[0]}" in slice_.left
    assert "things left on a host" in desk.no(desk.api.create_link("student", 1000, 1001, "eth1", 1002, "eth1"))
    assert "things left on a host" in desk.no(desk.api.add_vm_to_slice("student", 1000, "x", "cirros"))
    assert "not all taken back" in desk.no(desk.api.deploy_slice("student", 1000))
    worker.dead, worker.dies_after = False, None
    deployed = desk.ok(desk.api.deploy_slice("student", 1000))
    assert (deployed.status, deployed.left) == (SliceStatus.RUNNING, [])
    secret = worker.files["vm_images/slice-1000/vm0.vnc"]
    assert base64.b64decode(secret).decode() == deployed.vms[0].vnc_secret, "no QEMU with an older password was adopted"
    desk.ok(desk.api.delete_slice("student", 1000))
    assert not [host for host in desk.cloud.hosts.values() if host.processes or host.ports]
    assert set(before) == set(desk.cloud.state())


def test_a_resumed_deployment_that_fails_rolls_back_the_dead_managers_steps(desk: Desk) -> None:
    desk.ring(3)
    before = copy.deepcopy(desk.cloud.state())
    _die_at(desk.api.deploy_slice, 30)
    desk.cloud.hosts[NETWORK].faults = {"programs": (1, "", "not installed: dnsmasq")}
    assert "the slice is in design" in desk.no(desk.api.finish_slice("student", 1000))
    assert desk.cloud.state() == before
    assert desk.slice().left == []


def test_a_worker_that_was_never_reached_leaves_no_vm_and_gets_no_further_ones(desk: Desk) -> None:
    desk.ok(desk.api.create_slice("student", "s"))
    desk.cloud.hosts[WORKERS[0]].dead = True
    sentence = desk.no(desk.api.add_vm_to_slice("student", 1000, "vm1", "cirros"))
    assert sentence == f"{WORKERS[0]} does not answer: no answer on port 22 in time; nothing was added"
    assert (desk.slice().vms, desk.used(), desk.ok(desk.api.unfinished("student"))) == ([], 0, [])
    assert desk.ok(desk.api.add_vm_to_slice("student", 1000, "vm1", "cirros")).worker_ip == WORKERS[1]


def test_a_vm_that_is_being_added_is_not_linked(desk: Desk) -> None:
    desk.ring(2)
    _die_at(lambda *args: desk.api.add_vm_to_slice(args[0], args[1], "new", "cirros", 1, False, args[2]), 1)
    assert "still being added" in desk.no(desk.api.create_link("student", 1000, 1001, "eth1", 1003, "eth1"))
    desk.ok(desk.api.take_back_slice("student", 1000))
    assert "is design: another session" in desk.no(desk.api.take_back_slice("student", 1000))


def test_a_slice_of_an_older_file_without_images_can_be_deleted(desk: Desk) -> None:
    desk.ring(2)
    text = yaml.safe_load(desk.path.read_text())
    for vm in text["slices"]["1000"]["vms"]:
        del vm["flavor"]["image"]
    desk.path.write_text(yaml.safe_dump(text))
    assert desk.no(desk.api.deploy_slice("student", 1000)).startswith("No base image is recorded for vm0, vm1")
    desk.ok(desk.api.plan_slice("student", 1000))
    desk.ok(desk.api.delete_slice("student", 1000))
    assert not [path for host in desk.cloud.hosts.values() for path in host.files if "slice" in path]


def test_foreign_objects_with_our_names_are_neither_used_nor_removed(desk: Desk) -> None:
    desk.ring(2)
    network = desk.cloud.hosts[NETWORK]
    network.ports["gw_vlan100"] = 7
    assert "a port gw_vlan100 is there that is not ours" in desk.no(desk.api.deploy_slice("student", 1000))
    del network.ports["gw_vlan100"]
    network.namespaces["ns-gw-slice1000"] = {"lo": set()}
    assert "namespace ns-gw-slice1000 is there" in desk.no(desk.api.deploy_slice("student", 1000))
    network.ports["dhcp_v101"] = 7
    desk.ok(desk.api.delete_slice("student", 1000))
    assert (network.ports, "ns-gw-slice1000" in network.namespaces) == ({"dhcp_v101": 7}, True)


def test_a_worker_that_is_no_longer_listed_is_forgotten(desk: Desk) -> None:
    text = yaml.safe_load(desk.path.read_text())
    text["workers_list"] = [WORKERS[0]]
    desk.path.write_text(yaml.safe_dump(text))
    api = OrchestratorAPI(open_store(desk.location), desk.cloud.connect)  # type: ignore[arg-type]
    assert list(desk.ok(api.discover_workers())) == [WORKERS[0]]


@pytest.mark.parametrize("finish", [True, False])
@pytest.mark.parametrize("at", [1, 5, 12, 20, 30])
def test_a_manager_that_dies_while_deploying(desk: Desk, at: int, finish: bool) -> None:
    desk.ring(3)
    before = copy.deepcopy(desk.cloud.state())
    _die_at(desk.api.deploy_slice, at)
    assert desk.slice().status == SliceStatus.DEPLOYING
    assert [s.slice_id for s in desk.ok(desk.api.unfinished("student"))] == [1000]
    assert desk.ok(desk.api.unfinished("admin")) == []
    if finish:
        assert desk.ok(desk.api.finish_slice("student", 1000)) == "Slice 1000 is running"
        assert desk.slice().status == SliceStatus.RUNNING
    else:
        assert desk.ok(desk.api.take_back_slice("student", 1000)) == "Slice 1000 is in design"
        assert desk.cloud.state() == before
    assert desk.ok(desk.api.unfinished("student")) == []


@pytest.mark.parametrize("at", [1, 8])
def test_a_manager_that_dies_while_deleting(desk: Desk, at: int) -> None:
    desk.ring(3)
    desk.ok(desk.api.deploy_slice("student", 1000))
    _die_at(desk.api.delete_slice, at)
    assert desk.slice().status == SliceStatus.DELETING
    assert "cannot be taken back" in desk.no(desk.api.take_back_slice("student", 1000))
    assert desk.ok(desk.api.finish_slice("student", 1000)) == "Slice 1000 is deleted"
    assert desk.used() == 0


def test_a_slice_under_change_by_another_session_is_left_alone(desk: Desk) -> None:
    desk.ring(2)
    seen = []

    def check(event: Event) -> None:
        if isinstance(event, StageStarted):
            seen.append(desk.no(desk.api.delete_slice("student", 1000)))
            assert desk.ok(desk.api.unfinished("student")) == []

    desk.ok(desk.api.deploy_slice("student", 1000, check))
    assert len(seen) == 4
    assert all("being worked on by another session" in sentence for sentence in seen)


def _die_at(change: Callable[..., Any], at: int) -> None:
    """Let the manager die when the `at`-th step ends."""
    left = [at]

    def count(event: Event) -> None:
        if isinstance(event, StepDone | StepFailed):
            left[0] -= 1
            if left[0] == 0:
                raise ManagerDiesError

    with pytest.raises(ManagerDiesError):
        change("student", 1000, count)


def test_a_listener_that_fails_does_not_break_a_change(desk: Desk) -> None:
    desk.ring(3)

    def stumble(event: Event) -> None:
        raise BrokenPipeError(event)

    assert desk.ok(desk.api.deploy_slice("student", 1000, stumble)).status == SliceStatus.RUNNING


class DiskFullLater:
    """A disk that lets a state be saved once, and not a second time, by `save`, which then raises `error`."""

    def __init__(self, save: Callable[..., None], error: Exception) -> None:
        self._save = save
        self._error = error
        self._left = 1

    def __call__(self, *words: Any) -> None:
        self._left -= 1
        if self._left < 0:
            raise self._error
        self._save(*words)


def fill_disk_later(desk: Desk, patch: pytest.MonkeyPatch) -> None:
    """Leave room for one change of the desk's store."""
    if isinstance(desk.location, Path):
        patch.setattr(database, "replace", DiskFullLater(replace, OSError(errno.ENOSPC, "No space left on device")))
    else:
        full = psycopg.errors.DiskFull("could not extend file: No space left on device")
        patch.setattr(rows, "write", DiskFullLater(rows.write, full))


def test_a_file_that_cannot_be_saved_after_the_hosts_were_changed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the change for the next login; only the operator reads the cause."""
    desk.api.accounts.set_role("admin", "admin")
    desk.ok(desk.api.authenticate("admin", "admin"))
    for actor, slice_id in (("student", 1000), ("admin", 1003)):
        desk.ring(2)
        for action, status, said in (
            (
                desk.api.deploy_slice,
                SliceStatus.DEPLOYING,
                f"The hosts run slice {slice_id}, but that could not be written",
            ),
            (
                desk.api.delete_slice,
                SliceStatus.DELETING,
                f"The hosts were cleared of slice {slice_id}, but that could not be",
            ),
        ):
            with monkeypatch.context() as patch:
                fill_disk_later(desk, patch)
                sentence = desk.no(action(actor, slice_id))
            _is_reported(desk, sentence, actor, said)
            assert desk.slice(slice_id).status == status
            desk.ok(desk.api.finish_slice(actor, slice_id))
    assert not desk.ok(desk.api.list_slices("student"))


def _is_reported(desk: Desk, sentence: str, actor: str, said: str) -> None:
    """Check that every user sees the result, and only an admin and the audit log the cause."""
    assert sentence.startswith(said)
    assert sentence.endswith("then log in again to finish it")
    where = (desk.location, desk.location.parent) if isinstance(desk.location, Path) else (desk.location,)
    shown = {word in sentence for word in ("No space left on device", *map(str, where))}
    assert shown == {actor == "admin"}
    assert ("tell the operator" in sentence) == (actor != "admin")
    assert "No space left on device" in list(desk.database.acts())[-1].entry["result"]


def test_a_vm_whose_disk_is_made_but_not_recorded_is_finished_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.ok(desk.api.create_slice("student", "new"))
    with monkeypatch.context() as patch:
        fill_disk_later(desk, patch)
        sentence = desk.no(desk.api.add_vm_to_slice("student", 1000, "vm", "cirros"))
    _is_reported(desk, sentence, "student", "The disk of vm is made, but that could not be written down")
    assert [vm.status for vm in desk.slice().vms] == [VMStatus.PENDING]
    assert desk.ok(desk.api.finish_slice("student", 1000)) == "Slice 1000 is in design, its VMs are complete"


@pytest.mark.parametrize(("skew", "words"), [(3600, "3600 s ahead of"), (-90, "90 s behind"), (5, "")])
def test_a_wrong_clock_is_reported_and_keeps_no_vm_away(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, skew: int, words: str
) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - skew)
    monkeypatch.setattr("tests.support.fake_hosts.CLOCK", lambda: now)
    worker = desk.ok(desk.api.discover_workers())[WORKERS[0]]
    assert worker.up
    assert worker.problem == (f"its clock is {words} the manager's; set one of them" if words else "")


def test_an_image_larger_than_its_flavor_is_refused_before_anything_is_recorded(desk: Desk, tmp_path: Path) -> None:
    image = tmp_path / "large.img"
    image.write_bytes(b"QFI\xfb" + bytes(20) + (500 << 40).to_bytes(8, "big"))
    record = yaml.safe_load(desk.path.read_text())
    record["flavors"]["large"] = FLAVOR | {"image": str(image)}
    desk.path.write_text(yaml.safe_dump(record))
    desk.ok(desk.api.create_slice("student", "new"))
    before = desk.path.read_bytes()
    sentence = desk.no(desk.api.add_vm_to_slice("student", 1000, "vm", "large"))
    assert "is a disk of 524288000 MiB, and flavor large has 1024 MiB: " in sentence
    assert desk.path.read_bytes() == before


def test_one_session_of_an_account_proves_at_a_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    prove, during = Prover.prove_for, list[Result[Any]]()

    def prove_while_others_ask(self: Prover, actor: str) -> Verdict:
        monkeypatch.setattr(Prover, "prove_for", prove)
        during.append(OrchestratorAPI(open_store(desk.location), desk.cloud.connect).prove_isolation("student"))  # type: ignore[arg-type]
        during.append(desk.api.prove_isolation("admin"))
        return prove(self, actor)

    monkeypatch.setattr(Prover, "prove_for", prove_while_others_ask)
    desk.ok(desk.api.prove_isolation("student"))
    sentence = "Another session of student proves isolation just now; try again when it is done"
    assert desk.no(during[0]) == sentence
    desk.ok(during[1])
    desk.ok(desk.api.prove_isolation("student"))
    assert "no user ghost" in desk.no(desk.api.prove_isolation("ghost"))
    assert not [path.name for path in desk.path.parent.iterdir() if "proof" in path.name]
