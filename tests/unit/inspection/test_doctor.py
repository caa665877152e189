"""Doctor and isolation proof over fake hosts: orphans go, foreign objects stay, breaches are named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from core.errors import Refused
from core.impairments import Profile
from core.inventory import Inventory
from core.status import SliceStatus
from inspection import collect
from inspection.findings import Finding
from inspection.inspector import CollectedFacts, Inspector
from inspection.isolation.probes import Probes
from inspection.isolation.proof import Breach
from inspection.orphans import Owners, orphans, removal_plan
from menu import operator
from menu.arguments import parser
from menu.keyboard import Keyboard, Lines
from menu.screen import Screen
from menu.verdict import VerdictView
from models import ADMIN
from remote.events import Event, StageStarted
from remote.runner import Runner
from tests.support import fake_facts
from tests.support.acts import read_log
from tests.support.desk import WORKERS, Desk
from tests.support.fake_api import FakeDoctor, FakeProver
from tests.support.fake_hosts import SCRIPTS, FakeHost, no
from topology.reader import read

WORKER, NETWORK = "10.0.10.1", "10.0.10.3"


@pytest.fixture
def running(desk: Desk) -> Desk:
    desk.ring(2, nics=3)
    desk.ok(desk.api.deploy_slice("student", 1000))
    return desk


def forget(desk: Desk) -> None:
    """Remove the slice from the file, as if an older version of the file was restored."""
    with desk.database.transaction() as state:
        del state.slices[1000]
        state.users["student"].slices.clear()
        state.users["student"].used_vms = 0


def list_workers(desk: Desk, *workers: str) -> None:
    with desk.database.transaction() as state:
        state.inventory = replace(state.inventory, workers_list=workers)


@pytest.mark.parametrize("second", [WORKERS[1], NETWORK])
def test_vms_on_a_worker_that_is_listed_no_more_have_their_disks(desk: Desk, second: str) -> None:
    list_workers(desk, WORKER, second)
    desk.ok(desk.api.discover_workers())
    desk.ring(2)
    desk.ok(desk.api.deploy_slice("student", 1000))
    assert {vm.worker_ip for vm in desk.slice().vms} == {WORKER, second}
    list_workers(desk, WORKER)
    found = {sentence for each in desk.ok(desk.api.problems("student")).values() for sentence in each.sentences}
    assert found <= {f"{NETWORK}: rules of VLAN 400 are missing, or not in their order"}
    assert set(codes(desk)) <= {"rules-missing"}


def codes(desk: Desk) -> list[str]:
    return sorted({finding.code for finding in desk.api.doctor.examine().findings})


def test_nothing_is_wrong_with_a_cloud_that_runs(running: Desk) -> None:
    assert running.api.doctor.examine().findings == ()
    diagnosis = running.api.doctor.fix()
    assert (diagnosis.findings, diagnosis.removed) == ((), ())


def test_workers_that_share_a_folder_of_images_are_found(running: Desk) -> None:
    """Both workers show the files of both, and none is removed."""
    first, second = (running.cloud.hosts[host] for host in (WORKER, "10.0.10.2"))
    second.files |= {path: text for path, text in first.files.items() if "vm_images/" in path}
    second.folders |= {folder for folder in first.folders if "vm_images/" in folder}
    found = [f for f in running.api.doctor.examine().findings if f.code == "images-shared"]
    assert [f.sentence for f in found] == [f"10.0.10.2: its folder of images is also the folder of {WORKER}"]
    assert "hypervisor: images_dir" in found[0].advice
    assert running.api.doctor.fix().removed == ()


def test_only_agreed_objects_are_removed(running: Desk) -> None:
    forget(running)
    flows, *others = running.api.doctor.examine().removable
    assert len(others) > 10
    assert running.api.doctor.fix([flows]).removed == (flows,)
    assert running.api.doctor.examine().removable == tuple(others)


def test_a_vm_that_does_not_end_is_not_forgotten(running: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = running.cloud.hosts[WORKER]
    forget(running)
    monkeypatch.setattr(worker, "stop", lambda _argv, _stdin: no("process 101 does not end"))
    monkeypatch.setitem(SCRIPTS, "stop-processes.sh", lambda host, argv, stdin: host.stop(argv, stdin))
    assert any("does not end" in left for left in running.api.doctor.fix().not_removed)
    assert [path for path in worker.files if path.endswith(".pid")]
    assert "orphan-process" in codes(running)


def test_a_vm_is_not_forgotten_where_the_processes_could_not_be_read(
    running: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(running)
    whole = fake_facts.processes
    monkeypatch.setattr(fake_facts, "processes", lambda host: "?" if host.address == WORKER else whole(host))
    diagnosis = running.api.doctor.fix()
    assert {"invalid-answer", "orphan-overlay"} & {finding.code for finding in diagnosis.findings} == {"invalid-answer"}
    monkeypatch.undo()
    assert {"orphan-process", "orphan-overlay"} <= set(codes(running))
    assert running.api.doctor.fix().findings == ()
    assert not running.cloud.hosts[WORKER].processes


@pytest.mark.parametrize(
    ("address", "part"),
    [(host, part) for host in (WORKER, NETWORK) for part in collect.commands(Inventory(), host, thorough=True)],
)
def test_a_part_that_cannot_be_read_is_the_only_finding(
    running: Desk, monkeypatch: pytest.MonkeyPatch, address: str, part: str
) -> None:
    host, asked = running.cloud.hosts[address], collect.commands(Inventory(), address, thorough=True)[part]
    program = host.program
    monkeypatch.setattr(
        host, "program", lambda argv, stdin="": no("no") if argv == asked.argv else program(argv, stdin)
    )
    diagnosis = running.api.doctor.fix()
    assert (codes(running), diagnosis.removed) == (["switch-down" if part == "flows" else "unread"], ())


def test_a_vm_of_another_slice_by_now_is_an_orphan(running: Desk) -> None:
    worker = running.cloud.hosts[WORKER]
    (pid_file, (name, pid)) = next((p, v) for p, v in worker.processes.items() if v[0] == "slice1000-vm1001")
    worker.processes[pid_file] = ("slice4000-vm1001", pid)
    worker.argvs[pid] = tuple("slice4000-vm1001" if word == name else word for word in worker.argvs[pid])
    assert "orphan-process" in codes(running)


def test_orphans_are_removed_and_unproven_objects_stay(running: Desk) -> None:
    worker, network = running.cloud.hosts[WORKER], running.cloud.hosts[NETWORK]
    worker.ports["tap_4000_eth1"] = 4000
    worker.namespaces[""]["tap_4000_eth0"] = set()
    worker.argvs[77] = ("qemu-system-x86_64", "-name", "slice4000-vm4001")
    worker.files["vm_images/slice-4000/notes.txt"] = worker.files["vm_images/slice-4000/a.log"] = "theirs"
    worker.folders.add("vm_images/slice-4000")
    network.namespaces["ns-dhcp-vlan4000"] = {"lo": set()}
    forget(running)
    kinds = ("flows", "internet", "namespace", "overlay", "port", "process", "rules", "table", "tap")
    assert codes(running) == [*(f"orphan-{kind}" for kind in kinds), "stray-process"]
    diagnosis = running.api.doctor.fix()
    assert diagnosis.not_removed == ()
    noted = [entry for entry in read_log(running.path) if entry["action"] == "remove orphans"]
    assert [entry["result"] for entry in noted] == ["begun", f"{len(diagnosis.removed)} removed"]
    assert all(entry["actor"].startswith("operator ") for entry in noted)
    assert [finding.code for finding in diagnosis.findings] == ["stray-process"]
    assert len(diagnosis.removed) > 10
    assert not worker.ours
    assert not network.ours
    assert not worker.processes
    assert not network.processes
    assert worker.ports == {"tap_4000_eth1": 4000}
    assert "tap_4000_eth0" in worker.namespaces[""]
    assert 77 in worker.argvs
    assert set(network.namespaces) == {"", "ns-dhcp-vlan4000"}
    left = {path for path in worker.files if path.startswith("vm_images/slice-")}
    assert left == {"vm_images/slice-4000/notes.txt", "vm_images/slice-4000/a.log"}


def test_a_queue_of_a_forgotten_slice_is_removed_and_that_of_another_program_stays(running: Desk) -> None:
    worker = running.cloud.hosts[WORKER]
    worker.queues["tap_4000_eth1"] = "tbf rate 1000kbit burst 3200 latency 50ms"
    assert codes(running) == ["orphan-queue"]
    assert running.api.doctor.fix().findings == ()
    assert worker.queues == {}


PROFILES = {
    "another rate": (Profile(rate="2mbit"), "tbf rate 2000kbit"),
    "another kind": (Profile(rate="2mbit", loss="1%"), "netem limit"),
    "nothing": (Profile(loss="0%"), None),
}


@pytest.mark.parametrize("what", PROFILES)
def test_a_changed_profile_is_found_at_the_links_that_use_it_and_brought_to_them(desk: Desk, what: str) -> None:
    def set_profile(profile: Profile) -> None:
        with desk.database.transaction() as state:
            state.inventory = replace(state.inventory, profiles={"slow": profile})

    set_profile(Profile(rate="1mbit"))
    file = "slice: lab\nvms: {a: cirros, b: cirros}\nlinks: [{ends: [a, b], profile: slow}]\n"
    desk.ok(desk.api.designs.create("student", read(file)))
    desk.ok(desk.api.deploy_slice("student", 1000))
    profile, words = PROFILES[what]
    set_profile(profile)
    assert codes(desk) == ["queue-missing"]
    assert len(desk.ok(desk.api.repair_slice("student", 1000))) == 2
    assert codes(desk) == []
    found = [queue for host in WORKERS for queue in desk.cloud.hosts[host].queues.values()]
    assert [queue[: len(words or "")] for queue in found] == ([words] * 2 if words else [])
    set_profile(Profile(rate="1mbit"))
    desk.ok(desk.api.repair_slice("student", 1000))
    set_profile(profile)
    desk.ok(desk.api.delete_slice("student", 1000))
    assert [desk.cloud.hosts[host].queues for host in WORKERS] == [{}, {}]


def test_a_mark_of_a_missing_disk_is_an_orphan_and_a_foreign_file_is_not(running: Desk) -> None:
    worker = running.cloud.hosts[WORKER]
    for path in ("slice-4000/vm.id-00000000000000ff", "slice-4001/vm.id-card", "slice-4001/vm.log"):
        worker.folders.add(f"vm_images/{path.partition('/')[0]}")
        worker.files[f"vm_images/{path}"] = ""
    assert [(f.code, f.what) for f in running.api.doctor.examine().findings] == [
        ("orphan-overlay", "1 files of slice 4000")
    ]
    assert running.api.doctor.fix().findings == ()
    assert {path for path in worker.files if "slice-400" in path} == {
        "vm_images/slice-4001/vm.id-card",
        "vm_images/slice-4001/vm.log",
    }
    assert "vm_images/slice-4000" not in worker.folders


def test_a_forgotten_slice_leaves_the_internet_vlan_as_a_deleted_one_does(running: Desk) -> None:
    """dnsmasq keeps reservations and leases in memory, so the addresses stay in use without the file."""
    network = running.cloud.hosts[NETWORK]
    chains = network.filters["ns-dhcp-vlan400"]
    before = dict(chains), dict(network.files), network.processes["/run/ns-dhcp-vlan400/pid"]
    chains["slice-4000"] = ("-A INPUT -j slice-4000", "-A slice-4000 -j ACCEPT")
    network.files["/run/ns-dhcp-vlan400/hosts/slice-4000"] = "52:54:00:0f:a1:00,10.60.7.101"
    assert codes(running) == ["orphan-internet"]
    assert running.api.doctor.fix().removed == (f"{NETWORK}: orphan-internet: slice 4000 on VLAN 400",)
    pid = network.files.pop("/run/ns-dhcp-vlan400/pid")
    assert (chains, network.files | {"/run/ns-dhcp-vlan400/pid": before[1]["/run/ns-dhcp-vlan400/pid"]}) == before[:2]
    assert pid != str(before[2][1])


def test_a_slice_that_joins_the_internet_vlan_meanwhile_keeps_it(running: Desk) -> None:
    """The doctor gives up a silent host and unlocks the file, but its commands may still arrive."""
    forget(running)
    inspector = running.api.doctor._inspectors(running.database.load()).by_realm[""]
    owners = Owners(inspector.comparison, [], lambda _slice_id: False)
    (facts,) = inspector.collect([NETWORK]).facts_by_host.values()
    late = [step for orphan in orphans(owners, facts) for step in orphan.steps]
    shared = {step.title for step in late if "400" in step.title or "rules" in step.title}
    assert {title.partition(":")[0] for title in shared} == {
        *("orphan-internet", "orphan-namespace", "orphan-port", "orphan-rules")
    }
    running.api.doctor.fix()
    running.ok(running.api.deploy_slice("student", running.ring(2).slice_id))
    Runner(running.cloud.connect).run(removal_plan(late, 20.0), keep_going=True)
    assert running.api.doctor.examine().findings == ()


def test_objects_without_a_slice_keep_the_internet_vlan_and_are_reported(running: Desk) -> None:
    network = running.cloud.hosts[NETWORK]
    forget(running)
    network.files["/run/ns-dhcp-vlan400/hosts/notes"] = "theirs"
    diagnosis = running.api.doctor.fix()
    assert not [sentence for sentence in diagnosis.removed if "400" in sentence and "slice" not in sentence]
    assert len(diagnosis.not_removed) == 4
    assert all("/run/ns-dhcp-vlan400/hosts holds" in sentence for sentence in diagnosis.not_removed)
    del network.files["/run/ns-dhcp-vlan400/hosts/notes"]
    assert running.api.doctor.fix().findings == ()


@pytest.mark.parametrize("trace", ["filter", "reservations", "no reservations"])
def test_half_a_trace_of_a_forgotten_slice_is_enough(running: Desk, trace: str) -> None:
    network = running.cloud.hosts[NETWORK]
    if trace == "filter":
        network.filters["ns-dhcp-vlan400"]["slice-4000"] = ("-A INPUT -j slice-4000",)
    else:
        lines = "52:54:00:0f:a1:00,10.60.7.101" if trace == "reservations" else ""
        network.files["/run/ns-dhcp-vlan400/hosts/slice-4000"] = lines
    assert codes(running) == ["orphan-internet"]
    assert running.api.doctor.fix().findings == ()


@pytest.mark.parametrize("host", [WORKER, "10.0.10.2"])
def test_a_tap_with_the_id_of_a_vm_elsewhere_or_of_another_slice_is_an_orphan(running: Desk, host: str) -> None:
    """VM ids repeat after an older file was restored. VM 1001 of slice 1000 is on the first worker."""
    fake = running.cloud.hosts[host]
    name = "tap_1001_eth7" if host == WORKER else "tap_1001_eth1"
    fake.namespaces[""][name] = set()
    fake.aliases[name] = "cloud-repositorio"
    fake.ports[name], fake.marks[name] = 100, {"slice": "4000", "vm": "1001"}
    fake.ours.add(name)
    assert codes(running) == ["orphan-port", "orphan-tap"]
    assert running.api.doctor.fix().findings == ()
    assert name not in {*fake.ports, *fake.namespaces[""]}


def test_a_port_in_the_place_of_ours_that_another_slice_left_there_is_an_orphan(running: Desk) -> None:
    worker = running.cloud.hosts[WORKER]
    worker.marks["tap_1001_eth1"]["slice"] = "4000"
    assert codes(running) == ["orphan-port"]
    assert {finding.code for finding in running.api.doctor.fix().findings} == {"port-missing"}
    running.ok(running.api.repair_slice("student", 1000))
    assert codes(running) == []


def test_a_pid_file_of_a_forgotten_slice_goes_when_its_pid_is_of_a_foreign_process(running: Desk) -> None:
    worker = running.cloud.hosts[WORKER]
    forget(running)
    pid_file = next(iter(worker.processes))
    worker.processes[pid_file] = ("theirs", 77)
    worker.files[pid_file] = "77"
    worker.argvs[77] = ("qemu-system-x86_64", "-name", "theirs")
    assert not running.api.doctor.fix().not_removed
    assert (pid_file in worker.files, 77 in worker.argvs) == (False, True)


def test_a_slice_that_is_being_changed_is_left_alone(desk: Desk) -> None:
    desk.ring(2)
    removed: list[tuple[str, ...]] = []

    def fix_at_verify(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage.title == "verify":
            removed.append(desk.api.doctor.fix().removed)

    desk.ok(desk.api.deploy_slice("student", 1000, fix_at_verify))
    assert removed == [()]
    assert codes(desk) == []


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Return a function that runs a change after the next collection, before the file is read again."""

    def happen(what: Callable[[], object]) -> None:
        collect = Inspector.collect
        waiting = [what]

        def collect_first(*args: Any, **kwargs: Any) -> CollectedFacts:
            collected = collect(*args, **kwargs)
            if waiting:
                waiting.pop()()
            return collected

        monkeypatch.setattr(Inspector, "collect", collect_first)

    return happen


Meanwhile = Callable[[Callable[[], object]], None]


WAYS: dict[str, Callable[[Desk], object]] = {
    "doctor": codes,
    "menu": lambda desk: desk.ok(desk.api.problems("student")),
    "proof": lambda desk: desk.api.prover.prove().breaches,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_slice_that_begins_to_run_meanwhile_is_not_taken_for_a_broken_one(
    desk: Desk, meanwhile: Meanwhile, way: str
) -> None:
    desk.ring(2)
    meanwhile(lambda: desk.ok(desk.api.deploy_slice("student", 1000)))
    assert not WAYS[way](desk)


@pytest.mark.parametrize("way", WAYS)
def test_a_slice_that_ends_meanwhile_is_neither_broken_nor_forgotten(
    running: Desk, meanwhile: Meanwhile, way: str
) -> None:
    meanwhile(lambda: running.ok(running.api.delete_slice("student", 1000)))
    assert not WAYS[way](running)


def test_a_repair_reports_its_steps_and_keeps_the_secret(running: Desk) -> None:
    worker = running.cloud.hosts[WORKER]
    secret = worker.files["vm_images/slice-1000/vm0.vnc"]
    assert running.ok(running.api.repair_slice("student", 1000)) == []
    worker.namespaces[""] = {"ens3": set(), "ens4": set()}
    for books in (worker.processes, worker.argvs, worker.holders, worker.aliases, worker.flows):
        books.clear()
    assert running.ok(running.api.problems("student"))[1000].advice == ("11 repairs it",)
    repaired = running.ok(running.api.repair_slice("student", 1000))
    assert f"QEMU (vm0) on {WORKER}" in repaired
    assert worker.files["vm_images/slice-1000/vm0.vnc"] == secret
    assert running.slice().vms[0].pid == str(worker.processes["vm_images/slice-1000/vm0.pid"][1])
    assert running.ok(running.api.repair_slice("student", 1000)) == []
    assert running.ok(running.api.problems("student")) == {}


def test_a_repair_names_each_vlan_that_was_brought_back(running: Desk) -> None:
    network = running.cloud.hosts[NETWORK]
    first, second = (link.vlan_id for link in running.slice().links)
    del network.processes[f"/run/ns-dhcp-vlan{second}/pid"]
    del network.files[f"/run/ns-dhcp-vlan{first}/hosts/slice-1000"]
    network.namespaces["ns-gw-slice1000"][f"gw_vlan{second}"].clear()
    assert running.ok(running.api.repair_slice("student", 1000)) == [
        f"gateways of the VLANs ({second}) on {NETWORK}",
        f"DHCP of the VLANs ({first}, {second}) on {NETWORK}",
    ]


def test_a_repair_with_a_dead_host_repairs_the_others_and_rolls_nothing_back(running: Desk) -> None:
    running.cloud.hosts[WORKER].dead = True
    running.cloud.hosts[NETWORK].rules.pop()
    said = running.no(running.api.repair_slice("student", 1000))
    assert said.startswith(f"{WORKER} does not answer")
    assert f"brought back: internet on VLAN 400 on {NETWORK}; what runs was left alone" in said
    assert running.slice().status == SliceStatus.RUNNING
    assert running.cloud.hosts[WORKER].processes


def test_only_a_running_slice_is_repaired(desk: Desk) -> None:
    desk.ring(1 + 1)
    assert "only a running slice is repaired" in desk.no(desk.api.repair_slice("student", 1000))


# --- the proof --------------------------------------------------------------------------------------------------------


def _second_machine(worker: FakeHost, *words: str) -> None:
    worker.argvs[77] = ("qemu-system-x86_64", "-name", "other", *words)


BREAKS: dict[str, tuple[str, Callable[[Desk], object]]] = {
    "wrong tag": ("ports", lambda d: d.cloud.hosts[WORKER].ports.update(tap_1001_eth1=101)),
    "a foreign port on the VLAN": ("ports", lambda d: d.cloud.hosts[WORKER].ports.update(foreign=100)),
    "another slice's port": ("VLANs", lambda d: d.cloud.hosts[WORKER].marks["tap_1001_eth1"].update(slice="2000")),
    "moved gateway": ("subnets", lambda d: d.cloud.hosts[NETWORK].namespaces[""].update(gw_vlan100=set())),
    "foreign device": (
        "subnets", lambda d: d.cloud.hosts[NETWORK].namespaces["ns-gw-slice1000"].update(gw_vlan900=set()),
    ),
    "second MAC": (
        "MACs", lambda d: _second_machine(d.cloud.hosts[WORKER], "-device", "virtio-net-pci,mac=52:54:00:03:e9:01"),
    ),
    "second VNC": ("VNC", lambda d: _second_machine(d.cloud.hosts[WORKER], "-vnc", ":1")),
    "VNC without secret": (
        "VNC", lambda d: d.cloud.hosts[WORKER].argvs.update(
            {101: ("qemu-system-x86_64", "-name", "slice1000-vm1001", "-vnc", ":1")}
        ),
    ),
    "second disk": (
        "disks",
        lambda d: _second_machine(d.cloud.hosts[WORKER], "-drive", "file=vm_images/slice-1000/vm0_img.qcow2"),
    ),
    "VNC for all": (
        "VNC", lambda d: d.cloud.hosts[WORKER].argvs.update(
            {101: ("qemu-system-x86_64", "-name", "slice1000-vm1001", "-vnc", "0.0.0.0:1,password-secret=vnc")}
        ),
    ),
    "a TAP that speaks": ("hosts", lambda d: d.cloud.hosts[WORKER].exposed.add("tap_1001_eth1")),
    "a gateway that speaks IPv6": ("hosts", lambda d: d.cloud.hosts[NETWORK].exposed.add("gw_vlan400")),
    "a router that speaks IPv6": ("hosts", lambda d: d.cloud.hosts[NETWORK].exposed.add("ns-gw-slice1000")),
    "nothing dropped": ("hosts", lambda d: d.cloud.hosts[WORKER].tables.clear()),
    "a kernel that takes packets": (
        "probes of the hosts",
        lambda d: d.cloud.hosts[WORKER].__dict__.update(tables={}, ways={"tap_1001_eth1"}),
    ),
    "no port security": ("port security", lambda d: d.cloud.hosts[WORKER].flows.clear()),
    "a hole": (
        "port security",
        lambda d: d.cloud.hosts[WORKER].flows.update(theirs=["priority=999,in_port=tap_1001_eth0,actions=NORMAL"]),
    ),
    "no protection": ("ports", lambda d: d.cloud.hosts[WORKER].protected.clear()),
    "a deaf filter": ("DHCP of VLAN 400", lambda d: d.cloud.hosts[NETWORK].filters["ns-dhcp-vlan400"].clear()),
    "another's filter": (
        "DHCP of VLAN 400",
        lambda d: d.cloud.hosts[NETWORK].filters["ns-dhcp-vlan400"].update(theirs=("-A INPUT -p udp -j ACCEPT",)),
    ),
    "a TAP without a link that is up": (
        "interfaces without a link", lambda d: d.cloud.hosts[WORKER].down.discard("tap_1001_eth3"),
    ),
    "a TAP without a link that is a port": (
        "interfaces without a link", lambda d: d.cloud.hosts[WORKER].ports.update(tap_1001_eth3=100),
    ),
    "a rule less": ("network node", lambda d: d.cloud.hosts[NETWORK].rules.pop()),
    "a rule before ours": (
        "network node", lambda d: d.cloud.hosts[NETWORK].rules.insert(0, "filter -A FORWARD -i gw_vlan400 -j ACCEPT"),
    ),
    "a switch that lets through": (
        "probes of the switches", lambda d: d.cloud.hosts[WORKER].lets_through.add("tap_1001"),
    ),
    "a router that leads out": ("probes of the routers", lambda d: d.cloud.hosts[NETWORK].ways.add("ns-gw-slice1000")),
}  # fmt: skip


def test_no_two_probes_of_a_host_have_one_question(running: Desk) -> None:
    state = running.database.load()
    inspector = Inspector(state.inventory, running.cloud.connect)
    facts = inspector.collect(state.inventory.hosts, thorough=True).facts_by_host
    asked = Probes(state.inventory, state.slices.values(), facts).all()
    assert {probe.kind for probe in asked} == {"frame", "way in", "way out"}
    assert len({(probe.host, probe.what) for probe in asked}) == len(asked)


def test_the_proof_holds(running: Desk) -> None:
    verdict = running.api.prover.prove()
    assert [(each.title, each.breaches) for each in verdict.properties if each.breaches] == []
    assert all(each.checked for each in verdict.properties)


def test_a_transparent_link_may_pass_tags_inside_its_own(desk: Desk) -> None:
    desk.ring(2)
    with desk.database.transaction() as state:
        for link in state.slices[1000].links:
            link.transparent = True
    desk.ok(desk.api.deploy_slice("student", 1000))
    assert desk.api.prover.prove().breaches == 0
    worker = desk.cloud.hosts[WORKER]
    worker.lets_through |= {name for name in worker.tunnels if name.endswith("eth1")}
    (broken,) = [each for each in desk.api.prover.prove().properties if each.breaches]
    assert "a frame with another VLAN's tag" in broken.breaches[0].what


def make_older(host: FakeHost) -> None:
    """Turn VMs, TAPs and the table into those of an older version: nothing for interfaces without a link, no QMP."""
    for pid, argv in host.argvs.items():
        words = [word for word in argv if word != "-S"]
        at = words.index("-qmp") if "-qmp" in words else len(words)
        host.argvs[pid] = (*words[:at], *words[at + 2 :])
    for tap in [name for name in host.namespaces[""] if name.startswith("tap_") and name in host.down]:
        del host.namespaces[""][tap]
        host.down.discard(tap)
        host.tables = {table: text.replace(f' iifname "{tap}" drop', "") for table, text in host.tables.items()}
    for path in [path for path in host.files if path.endswith(".qmp")]:
        del host.files[path], host.states[path]


def test_a_slice_of_an_older_version_is_seen_proved_repaired_and_deleted(running: Desk) -> None:
    for host in running.cloud.hosts.values():
        make_older(host)
    assert codes(running) == ["qemu-older"]
    verdict = running.api.prover.prove()
    assert [breach.sentence for each in verdict.properties for breach in each.breaches] == []
    pids = {host.address: host.processes.copy() for host in running.cloud.hosts.values()}
    running.ok(running.api.repair_slice("student", 1000))
    assert codes(running) == ["qemu-older"], "a VM that runs is not restarted"
    assert {host.address: host.processes for host in running.cloud.hosts.values()} == pids
    running.ok(running.api.delete_slice("student", 1000))
    assert codes(running) == []


STATES = [("prelaunch", "qemu-paused"), ("io-error", "qemu-paused"), ("internal-error", "qemu-stuck"),
          ("", "qemu-stuck"), ("suspended", "")]  # fmt: skip


@pytest.mark.parametrize(("state", "code"), STATES)
def test_a_vm_that_stands_still_is_found(running: Desk, state: str, code: str) -> None:
    running.cloud.hosts[WORKER].states["vm_images/slice-1000/vm0.qmp"] = state
    assert codes(running) == ([code] if code else [])
    if code == "qemu-paused":
        repaired = running.ok(running.api.repair_slice("student", 1000))
        assert repaired == [f"start of the guests (vm0) on {WORKER}"]
        assert codes(running) == []


def test_a_vm_that_holds_a_deleted_tap_without_a_link_is_found(running: Desk) -> None:
    """The TAP that a repair makes again is another one; the VM runs on without it until it is started again."""
    del running.cloud.hosts[WORKER].holders["tap_1001_eth3"]
    assert codes(running) == ["tap-lost"]
    assert running.ok(running.api.repair_slice("student", 1000)) == []
    assert codes(running) == ["tap-lost"]
    running.ok(running.api.power.restart("student", 1000, []))
    assert codes(running) == []


def test_links_are_set_again_by_a_repair(running: Desk) -> None:
    links = running.cloud.hosts[WORKER].links["vm_images/slice-1000/vm0.qmp"]
    wanted = {"nic0": True, "nic1": True, "nic2": True, "nic3": False}
    assert links == wanted
    links.update(nic1=False, nic3=True)
    assert running.ok(running.api.repair_slice("student", 1000)) == []
    assert links == wanted


def test_a_host_that_was_lost_before_the_probes_is_not_seen(running: Desk) -> None:
    running.cloud.hosts[WORKER].dies_after = len(collect.commands(Inventory(), WORKER, thorough=True))
    verdict = running.api.prover.prove()
    assert verdict.unseen == (WORKER,)
    assert verdict.breaches == 0


def test_a_host_with_unreadable_facts_is_not_seen(running: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fake_facts.ports
    monkeypatch.setattr(fake_facts, "ports", lambda host: "" if host.address == WORKER else whole(host))
    verdict = running.api.prover.prove()
    assert verdict.unseen == (WORKER,)
    assert f"not checked: {WORKER} (the operator's doctor says why)" in VerdictView(verdict).lines()


@pytest.mark.parametrize("what", BREAKS)
def test_each_broken_property_is_found(running: Desk, what: str) -> None:
    title, break_it = BREAKS[what]
    break_it(running)
    broken = [each.title for each in running.api.prover.prove().properties if each.breaches]
    assert any(each.startswith(f"{title}: ") for each in broken)


def test_other_users_see_the_number_of_breaches_without_names(running: Desk) -> None:
    running.api.accounts.add("mallory", "long enough")
    running.api.accounts.set_role("admin", ADMIN)
    running.cloud.hosts[WORKER].ports.update(tap_1001_eth1=101)
    ports = running.ok(running.api.prove_isolation("mallory")).properties[0]
    assert [breach.sentence for breach in ports.breaches] == ["elsewhere: 1 more, which an operator sees"]
    for actor in ("student", "admin"):
        own = running.ok(running.api.prove_isolation(actor)).properties[0]
        assert "tap_1001_eth1" in own.breaches[0].sentence
    assert "no user carol" in running.no(running.api.prove_isolation("carol"))


# --- the command line -------------------------------------------------------------------------------------------------


def said(run: Callable[[Screen], int]) -> tuple[int, str]:
    stream = StringIO()
    return run(Screen(stream, terminal=False)), stream.getvalue()


def typed(screen: Screen, *answers: str) -> Keyboard:
    """Return a keyboard on which these answers are typed."""
    waiting = iter(answers)
    return Keyboard(Lines(-1), screen, lambda _prompt: next(waiting))


ORPHAN = Finding("orphan-tap", WORKER, "TAP tap_4000_eth1", None, 4000)
DEAD = Finding("qemu-dead", WORKER, "VM web does not run", 1000, 1001)


@pytest.mark.parametrize(
    ("words", "found", "unseen", "status"),
    [
        ((), (), (), 0),
        ((), (DEAD, ORPHAN), (), 1),
        (("--fix", "--yes"), (ORPHAN,), (), 0),
        (("--fix", "--yes"), (DEAD, ORPHAN), (), 1),
        ((), (), (WORKER,), 2),
    ],
)
def test_doctors_words_and_exit_status(
    words: tuple[str, ...], found: tuple[Finding, ...], unseen: tuple[str, ...], status: int
) -> None:
    doctor = FakeDoctor()
    doctor.found, doctor.unseen = found, unseen
    args = parser(Path("x")).parse_args(["doctor", *words])
    outcome, text = said(lambda screen: operator.diagnose(doctor, args, screen, typed(screen)))
    assert outcome == status
    assert ("no findings" in text) == (not found or ("--fix" in words and found == (ORPHAN,)))
    if DEAD in found:
        assert "error    qemu-dead             10.0.10.1: VM web does not run (repair the slice: repair 1000)" in text
    args.json = True
    outcome, text = said(lambda screen: operator.diagnose(doctor, args, screen, typed(screen)))
    reported = json.loads(text)
    assert (outcome, reported["unseen"]) == (status, list(unseen))
    assert len(reported["removed"]) == (ORPHAN in found and "--fix" in words)


@pytest.mark.parametrize(
    ("breaches", "unseen", "status"), [(0, (), 0), (1, (), 1), (2, (WORKER,), 1), (0, (WORKER,), 2)]
)
def test_proves_words_and_exit_status(breaches: int, unseen: tuple[str, ...], status: int) -> None:
    prover = FakeProver()
    prover.breaches, prover.unseen = [Breach(WORKER, "port x carries every VLAN")] * breaches, unseen
    args = parser(Path("x")).parse_args(["prove"])
    outcome, text = said(lambda screen: operator.prove(prover, args, screen))
    assert outcome == status
    assert text.count("breach: 10.0.10.1: port x carries every VLAN") == breaches
    args.json = True
    outcome, text = said(lambda screen: operator.prove(prover, args, screen))
    assert outcome == status
    assert len(json.loads(text)["properties"][0]["breaches"]) == breaches


@pytest.mark.parametrize(("answer", "removed"), [("y", 1), ("n", 0), ("..", 0)])
def test_doctor_asks_on_a_terminal_before_it_removes_its_listed_orphans(answer: str, removed: int) -> None:
    doctor, stream = FakeDoctor(), StringIO()
    doctor.found = (ORPHAN,)
    screen = Screen(stream, terminal=True)
    args = parser(Path("x.yaml")).parse_args(["doctor", "--fix"])
    operator.diagnose(doctor, args, screen, typed(screen, answer))
    assert "would be removed" in stream.getvalue()
    assert ("Nothing was removed" in stream.getvalue()) == (removed == 0)
    assert len(doctor.asked) == removed


@pytest.mark.parametrize("words", [("--fix",), ("--fix", "--json")])
def test_doctor_removes_nothing_without_yes_or_a_terminal(words: tuple[str, ...]) -> None:
    doctor = FakeDoctor()
    doctor.found = (ORPHAN,)
    args = parser(Path("x.yaml")).parse_args(["doctor", *words])
    with pytest.raises(Refused, match="needs --yes"):
        said(lambda screen: operator.diagnose(doctor, args, screen, typed(screen)))
    assert not doctor.asked


def test_a_copy_that_a_dead_session_left_is_an_orphan_and_one_of_a_living_session_is_none(desk: Desk) -> None:
    left = "vm_images/.debian.qcow2.staged.part"
    desk.cloud.hosts[WORKER].files[left] = "half"
    with desk.database.claim_images():
        assert codes(desk) == []
        assert desk.api.doctor.fix().removed == ()
    assert codes(desk) == ["orphan-overlay"]
    assert desk.api.doctor.fix().removed == (f"{WORKER}: orphan-overlay: a half copied image {left[10:]}",)
    assert left not in desk.cloud.hosts[WORKER].files
