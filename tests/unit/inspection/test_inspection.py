"""The comparison of database and hosts: a complete slice has no findings, and each problem has its code."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from core.errors import CommandFailed, SudoRefused
from core.impairments import Impairment
from core.inventory import Inventory
from core.status import SliceStatus, VMStatus
from database import Database, State
from deployment import DeploymentAPI
from inspection import collect, findings, inspector, parse, parse_switch, vms
from inspection.codes import CODES
from inspection.facts import Device, Facts, SeenPort
from inspection.findings import Finding
from inspection.inspector import Inspector
from inspection.realms import Inspectors
from models import Slice
from remote.runner import Runner
from remote.transcript import Outcome, UploadProgress
from shell.accelerator import EMULATION
from tests.support import fake_facts
from tests.support.designs import DESIGNS, design
from tests.support.fake_hosts import FakeHost, FakeHosts
from vm_launcher import CAPTURE_PROGRAM, PROGRAMS

WORKER, OTHER, NETWORK = "10.0.10.1", "10.0.10.2", "10.0.10.3"


class Remembered(Database):
    """A database with one slice as it is now."""

    def __init__(self, slice_: Slice) -> None:
        super().__init__("nowhere.yaml")
        self._slice = slice_

    def load(self) -> State:
        return State.from_dict({"users": {}, "slices": {str(self._slice.slice_id): self._slice.to_dict()}})

    def is_claimed(self, _slice_id: int) -> bool:
        return False


@dataclass
class InspectedSlice:
    """A slice that runs on fake hosts, and an inspector of these."""

    cloud: FakeHosts
    slice_: Slice
    inspector: Inspector

    @property
    def worker(self) -> FakeHost:
        return self.cloud.hosts[WORKER]

    @property
    def network(self) -> FakeHost:
        return self.cloud.hosts[NETWORK]

    def found(self) -> list[Finding]:
        inspectors = Inspectors(Remembered(self.slice_), Inventory(), self.cloud.connect)
        return inspectors.problems([self.slice_])[self.slice_.slice_id]

    def repair(self) -> None:
        report = Runner(self.cloud.connect).run(DeploymentAPI(Inventory()).deploy_plan(self.slice_))
        assert report.error is None, report.error


def deployed(name: str) -> InspectedSlice:
    cloud, slice_ = FakeHosts(), design(name)
    scene = InspectedSlice(cloud, slice_, Inspector(Inventory(), cloud.connect))
    scene.repair()
    slice_.status = SliceStatus.RUNNING
    for vm in slice_.vms:
        vm.status = VMStatus.STOPPED if vm.stays_off else VMStatus.RUNNING
    return scene


@pytest.mark.parametrize("name", DESIGNS)
def test_a_whole_slice_has_no_findings(name: str) -> None:
    scene = deployed(name)
    assert scene.found() == []
    hosts = scene.inspector.comparison.hosts_of([scene.slice_])
    seen = scene.inspector.collect(hosts, thorough=True)
    assert not seen.errors
    for facts in seen.facts_by_host.values():
        assert facts.unread == ()
        assert list(findings.of_host(Inventory(), facts, seen.began, seen.ended)) == []


def _kill(host: FakeHost, pid_file: str) -> None:
    _, pid = host.processes.pop(pid_file)
    del host.argvs[pid]
    host.holders = {tap: holder for tap, holder in host.holders.items() if holder != pid}


def _lose_tap(host: FakeHost, *, made_again: bool) -> None:
    host.namespaces[""].pop("tap_1001_eth1")
    host.aliases.pop("tap_1001_eth1")
    host.holders.pop("tap_1001_eth1")
    if made_again:
        host.namespaces[""]["tap_1001_eth1"] = set()
        host.aliases["tap_1001_eth1"] = "cloud-repositorio"


def _join(host: FakeHost) -> None:
    host.ports["tap_1002_eth0"] = 100
    host.ours.add("tap_1002_eth0")


def _astray(host: FakeHost) -> None:
    host.namespaces[""]["gw_vlan100"] = set()


BREAKS: dict[str, tuple[str, Callable[[InspectedSlice], object], bool]] = {
    "qemu-dead": ("VM vm1 does not run", lambda s: _kill(s.worker, "vm_images/slice-1000/vm1.pid"), True),
    "qemu-wrong": ("VM vm1 runs with another", lambda s: s.worker.argvs.update({101: ("slice1000-vm1001",)}), False),
    "overlay-missing": ("disk of vm1", lambda s: s.worker.files.pop("vm_images/slice-1000/vm1_img.qcow2"), True),
    "disk-foreign": (
        "the disk of vm1 is not its own: vm_images/slice-1000/vm1.id-0000000000000001 is not there",
        lambda s: s.worker.files.pop("vm_images/slice-1000/vm1.id-0000000000000001"), False,
    ),
    "image-changed": (
        "cirros.img is not the image that disks",
        lambda s: s.worker.files.update({"vm_images/cirros.img": "another image"}), False,
    ),
    "tap-missing": ("tap_1001_eth1 of VM vm1 is not there", lambda s: _lose_tap(s.worker, made_again=False), True),
    "tap-dead": ("VM vm1 runs and does not hold tap_1001_eth1", lambda s: _lose_tap(s.worker, made_again=True), True),
    "tap-down": ("tap_1001_eth1 of VM vm1 is down", lambda s: s.worker.down.add("tap_1001_eth1"), True),
    "tap-up": (
        "tap_1002_eth0 of VM vm2 is up, and its interface has no link",
        lambda s: s.cloud.hosts[OTHER].down.discard("tap_1002_eth0"), True,
    ),
    "tap-joined": (
        "tap_1002_eth0 of VM vm2 is a port, and its interface has no link", lambda s: _join(s.cloud.hosts[OTHER]), True,
    ),
    "stack-open": ("the host speaks ARP on tap_1001_eth1", lambda s: s.worker.exposed.add("tap_1001_eth1"), True),
    "port-missing": ("port tap_1001_eth1 is not on br-int", lambda s: s.worker.ports.pop("tap_1001_eth1"), True),
    "wrong-tag": ("is on VLAN 101 instead of 100", lambda s: s.worker.ports.update(tap_1001_eth1=101), True),
    "port-foreign": ("port tap_1001_eth1 has not our mark", lambda s: s.worker.ours.discard("tap_1001_eth1"), False),
    "flows-missing": ("flows of the port security", lambda s: s.worker.flows.clear(), True),
    "namespace-missing": ("namespace ns-dhcp-vlan101", lambda s: s.network.namespaces.pop("ns-dhcp-vlan101"), True),
    "port-astray": ("port gw_vlan100 is not in ns-gw-slice1000", lambda s: _astray(s.network), True),
    "address-missing": (
        "dhcp_v100 has not its address 192.168.100.2",
        lambda s: s.network.namespaces["ns-dhcp-vlan100"]["dhcp_v100"].clear(),
        True,
    ),
    "dnsmasq-dead": ("dnsmasq of VLAN 400 does not", lambda s: _kill(s.network, "/run/ns-dhcp-vlan400/pid"), True),
    "dnsmasq-deaf": ("dnsmasq of VLAN 100 does not listen", lambda s: s.network.deaf.add("ns-dhcp-vlan100"), True),
    "reservations-missing": (
        "dnsmasq of VLAN 100 does not know",
        lambda s: s.network.files.pop("/run/ns-dhcp-vlan100/hosts/slice-1000"),
        True,
    ),
    "port-unprotected": (
        "port tap_1001_eth0 is not protected", lambda s: s.worker.protected.discard("tap_1001_eth0"), True,
    ),
    "filter-missing": ("does not let in exactly this slice's VMs", lambda s: s.network.filters.clear(), True),
    "rules-missing": ("rules of VLAN 400 are missing", lambda s: s.network.rules.pop(2), True),
    "forwarding-off": ("net.ipv4.ip_forward is off", lambda s: s.network.forwarding.discard(""), True),
    "host-unreachable": ("does not answer", lambda s: setattr(s.worker, "dead", True), False),
}  # fmt: skip


@pytest.mark.parametrize("code", BREAKS)
def test_each_damage_has_its_code_and_its_repair(code: str) -> None:
    words, break_it, repairable = BREAKS[code]
    scene = deployed("line")
    break_it(scene)
    found = scene.found()
    assert code in {finding.code for finding in found}
    assert words in next(finding.sentence for finding in found if finding.code == code)
    if repairable:
        scene.repair()
        assert scene.found() == []


OPENINGS: dict[str, tuple[str, Callable[[InspectedSlice], object]]] = {
    "no table": ("our table of nftables is incomplete", lambda s: s.worker.tables.clear()),
    "a table with a hole": (
        "our table of nftables is incomplete",
        lambda s: s.worker.tables.update(
            {"cloud-repositorio-slice-1000": "table inet cloud-repositorio-slice-1000 { }"}
        ),
    ),
    "a router with IPv6": ("lo in ns-gw-slice1000 has IPv6", lambda s: s.network.exposed.add("ns-gw-slice1000")),
    "a DHCP namespace with IPv6": ("has IPv6", lambda s: s.network.exposed.add("ns-dhcp-vlan400")),
    "the gateway with IPv6": ("the host has IPv6 on gw_vlan400", lambda s: s.network.exposed.add("gw_vlan400")),
}


@pytest.mark.parametrize("what", OPENINGS)
def test_an_open_ip_stack_is_found_and_closed(what: str) -> None:
    words, break_it = OPENINGS[what]
    scene = deployed("line")
    break_it(scene)
    collected = scene.inspector.collect((WORKER, NETWORK), thorough=True)
    found = scene.inspector.comparison.of_slice(scene.slice_, collected.facts_by_host)
    assert {finding.code for finding in found} == {"stack-open"}
    assert words in found[0].sentence
    scene.repair()
    collected = scene.inspector.collect((WORKER, NETWORK), thorough=True)
    assert scene.inspector.comparison.of_slice(scene.slice_, collected.facts_by_host) == []


RATE = "tbf rate 1000kbit burst 3200 latency 50ms"
HELD = Device("tap_1_eth1", "", True, True, "cloud-repositorio", "tun", (), qdisc="tbf")
QUEUES: dict[str, tuple[str, Facts, str]] = {
    "as the link asks for": (RATE, Facts(WORKER, devices={"tap_1_eth1": HELD}, queues={"tap_1_eth1": RATE}), ""),
    "none is asked for": ("", Facts(WORKER, devices={"tap_1_eth1": replace(HELD, qdisc="noop")}), ""),
    "the TAP is gone": (RATE, Facts(WORKER, queues={"tap_1_eth1": RATE}), ""),
    "no row": (
        RATE, Facts(WORKER, devices={"tap_1_eth1": HELD}), f"tap_1_eth1 has no queue of ours; its link asks for {RATE}",
    ),
    "a row without a queue": (
        RATE, Facts(WORKER, devices={"tap_1_eth1": replace(HELD, qdisc="noqueue")}, queues={"tap_1_eth1": RATE}),
        f"tap_1_eth1 has not the queue that its link asks for: {RATE}",
    ),
    "an older one": (
        "", Facts(WORKER, devices={"tap_1_eth1": HELD}, queues={"tap_1_eth1": RATE}),
        f"tap_1_eth1 has the queue {RATE}; its link asks for no rate, delay or loss",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", QUEUES)
def test_a_queue_is_compared_with_what_the_link_asks_for(what: str) -> None:
    words, facts, sentence = QUEUES[what]
    found = [*vms.of_queue("tap_1_eth1", words, facts)]
    assert found == ([("queue-missing", sentence)] if sentence else [])


def test_a_lost_queue_of_one_end_is_found_and_repaired() -> None:
    scene = deployed("line")
    scene.slice_.links[0].impairments = [Impairment.from_dict({"vm_id": 1001, "rate": "1mbit"})]
    assert [(f.code, f.vm_id) for f in scene.found()] == [("queue-missing", 1001)]
    scene.repair()
    assert scene.found() == []
    scene.worker.queues.clear()
    assert [(f.code, f.vm_id) for f in scene.found()] == [("queue-missing", 1001)]


def test_a_vm_that_runs_by_emulation_where_kvm_runs_no_guest_is_as_designed() -> None:
    scene = deployed("line")
    (pid, argv), *_ = scene.worker.argvs.items()
    assert argv.count("kvm") == 1
    scene.worker.argvs[pid] = tuple(EMULATION if word == "kvm" else word for word in argv)
    assert scene.found() == []
    scene.worker.argvs[pid] = tuple("xen" if word == "kvm" else word for word in argv)
    assert [finding.code for finding in scene.found()] == ["qemu-wrong"]


@pytest.mark.parametrize("change", ["one more", "another", "one less"])
def test_a_changed_flow_of_ours_is_found_and_repaired(change: str) -> None:
    scene = deployed("line")
    ((cookie, flows),) = scene.worker.flows.items()
    made = [*flows]
    hole = f"{cookie},priority=999,in_port=tap_1001_eth0,actions=NORMAL"
    scene.worker.flows[cookie] = {"one more": [*made, hole], "another": [hole, *made[1:]], "one less": made[1:]}[change]
    missing, foreign = int(change != "one more"), int(change != "one less")
    what = f"{missing} flows of the port security of VMs are missing, {foreign} are not ours"
    assert [finding.what for finding in scene.found()] == [what]
    scene.repair()
    assert (scene.found(), scene.worker.flows) == ([], {cookie: made})


def test_the_next_collection_parses_only_new_flows() -> None:
    scene = deployed("line")
    assert scene.found() == []
    before = parse_switch.parse_flow.cache_info().misses
    assert scene.found() == []
    ((cookie, flows),) = scene.worker.flows.items()
    scene.worker.flows[cookie] = [*flows, f"{cookie},priority=998,in_port=tap_1001_eth0,actions=NORMAL"]
    assert [finding.code for finding in scene.found()] == ["flows-missing"]
    assert parse_switch.parse_flow.cache_info().misses == before + 1


def test_a_gap_in_the_dhcp_filter_is_found_and_repaired() -> None:
    scene = deployed("internet")
    chains = scene.network.filters["ns-dhcp-vlan400"]
    ((name, made),) = chains.items()
    for changed in ((*made, f"-A {name} -j ACCEPT"), made[:-1], tuple(line for line in made if "DROP" not in line)):
        chains[name] = changed
        assert [finding.code for finding in scene.found()] == ["filter-missing"]
        scene.repair()
        assert (scene.found(), chains) == ([], {name: made})


@pytest.mark.parametrize("port", ["gw_vlan400", "dhcp_v400"])
def test_a_wrong_mac_on_the_shared_vlan_is_found(port: str) -> None:
    """Flows on the workers let guests speak to these MACs only."""
    scene = deployed("internet")
    right, scene.network.macs[port] = scene.network.macs[port], "02:c1:0d:00:00:99"
    ((code, what),) = [(finding.code, finding.what) for finding in scene.found()]
    assert code == "address-missing"
    assert what.startswith(f"{port} has not its address 10.60.7.")
    assert f"and MAC {right}" in what
    scene.repair()
    assert scene.found() == []


def test_a_missing_base_image_is_reported() -> None:
    scene = deployed("line")
    del scene.worker.files["vm_images/cirros.img"]
    found = {(finding.code, finding.what) for finding in scene.found()}
    assert found == {("image-changed", "the base image cirros.img is not there")}


def test_a_base_image_emptied_by_a_power_cut_is_reported_with_or_without_its_fingerprint() -> None:
    scene = deployed("line")
    scene.worker.files["vm_images/cirros.img"] = ""
    empty = {("image-changed", "the base image cirros.img is empty, as a power cut can leave it")}
    assert {(finding.code, finding.what) for finding in scene.found()} == empty
    del scene.worker.files["vm_images/.cirros.img.seal"]
    assert {(finding.code, finding.what) for finding in scene.found()} == empty
    scene.repair()
    assert scene.found() == []


def test_a_foreign_rule_before_ours_is_found_and_put_after() -> None:
    scene = deployed("internet")
    rule = "filter -A FORWARD -i gw_vlan400 -j ACCEPT"
    scene.network.rules.insert(0, rule)
    assert [finding.code for finding in scene.found()] == ["rules-missing"]
    scene.repair()
    assert not scene.found()
    assert scene.network.rules[-1] == rule


def test_the_order_of_the_rules_counts() -> None:
    scene = deployed("internet")
    first = next(n for n, rule in enumerate(scene.network.rules) if " FORWARD " in rule)
    scene.network.rules[first : first + 2] = reversed(scene.network.rules[first : first + 2])
    assert [finding.code for finding in scene.found()] == ["rules-missing"]


def answers(scene: InspectedSlice, host: str) -> dict[str, str | None]:
    """Return the host's answers to a collection."""
    asked = collect.commands(Inventory(), host, thorough=True)
    return {name: scene.cloud.hosts[host].program(command.argv)[1] for name, command in asked.items()}


@pytest.mark.parametrize(
    ("host", "part"),
    [(host, part) for host in (WORKER, NETWORK) for part in collect.commands(Inventory(), host, thorough=True)],
)
def test_an_unreadable_answer_is_reported_and_hides_no_other_problem(host: str, part: str) -> None:
    """A part without an answer gives no finding: the host may have all that it needs."""
    scene = deployed("line")
    facts = parse.parse_answers(host, {**answers(scene, host), part: None})
    code = "switch-down" if part == "flows" else "unread"
    for found in (
        scene.inspector.comparison.of_slice(scene.slice_, {host: facts}),
        [*findings.of_host(Inventory(), facts, time.time(), time.time())],
    ):
        assert [finding.code for finding in found] == [code]
    assert facts.unread == (part,)


@pytest.mark.parametrize(
    ("columns", "tag", "trunks", "mode", "vlans"),
    [
        ('100, ["set",[]], ["set",[]]', 100, False, "", set()),
        ('100, ["set",[]], "access"', 100, False, "access", set()),
        ('100, 0, ["set",[]]', 100, True, "", {0}),
        ('100, ["set",[101,102]], ["set",[]]', 100, True, "", {101, 102}),
        ('["set",[]], ["set",[]], "trunk"', None, True, "trunk", set()),
    ],
)
def test_the_vlans_of_a_port_are_parsed(
    columns: str, tag: int | None, trunks: bool, mode: str, vlans: set[int]
) -> None:
    """The columns as ovs-vsctl(8) shows them with --format=json."""
    tables = (
        (
            '{"headings":["name","ports","fail_mode","other_config","external_ids"],'
            '"data":[["br-int",["set",[["uuid","p"],["uuid","other"]]],["set",[]],["map",[]],["map",[]]]]}'
        ),
        (
            '{"headings":["_uuid","name","tag","trunks","vlan_mode","protected","interfaces"],'
            f'"data":[[["uuid","p"],"tap",{columns},true,["uuid","i"]]]}}'
        ),
        (
            '{"headings":["_uuid","name","type","ofport","external_ids","options"],"data":[[["uuid","i"],"tap","",'
            '["set",[]],["map",[["owner","cloud-repositorio"],["vm","1001"]]],["map",[["peer","x"],["y","z"]]]]]}'
        ),
        '{"headings":["external_ids"],"data":[[["map",[]]]]}',
    )
    found = parse.parse_answers(WORKER, {"ports": "\n".join(tables)})
    assert not found.unread
    assert found.ports["tap"] == SeenPort(
        "tap", "br-int", tag, "", parse_switch.UNOPENED, {"owner": "cloud-repositorio", "vm": "1001"}, trunks,
        protected=True, mode=mode, vlans=frozenset(vlans), options={"peer": "x"},
    )  # fmt: skip


def test_a_switch_that_is_down_is_one_finding_and_not_one_for_each_port() -> None:
    facts = parse.parse_answers(WORKER, {"ports": None, "flows": None})
    found = list(findings.Comparison(Inventory()).of_slice(deployed("line").slice_, {WORKER: facts}))
    assert {"switch-down", "qemu-dead"} <= {finding.code for finding in found}
    assert not [finding for finding in found if "port" in finding.code]


def test_the_program_of_captures_is_missed_on_workers_and_needed_for_no_vm() -> None:
    inventory = Inventory()
    assert CAPTURE_PROGRAM in collect.programs_of(inventory, WORKER)
    assert CAPTURE_PROGRAM not in collect.programs_of(inventory, inventory.network_node)
    assert CAPTURE_PROGRAM not in PROGRAMS


HOSTS: dict[str, tuple[str, Callable[[FakeHost], object]]] = {
    "clock-skew": ("its clock is +3600 s", lambda host: setattr(host, "skew", 3600.0)),
    "tool-missing": ("socat is not installed", lambda host: host.lacking.add("socat")),
}


@pytest.mark.parametrize("code", HOSTS)
def test_problems_of_a_host_itself_are_found(code: str) -> None:
    words, break_it = HOSTS[code]
    scene = deployed("line")
    break_it(scene.worker)
    seen = scene.inspector.collect([WORKER], thorough=True)
    found = list(findings.of_host(Inventory(), seen.facts_by_host[WORKER], seen.began, seen.ended))
    assert [finding.code for finding in found] == [code]
    assert words in found[0].sentence


SHOWN = """\
in ns-gw-slice1000 device lo
in ns-gw-slice1000 device gw_vlan100
in ns-gw-slice1000 device gw_vlan101
in ns-gw-slice1000 device gw_vlan102
in ns-gw-slice1000 network 0064A8C0 00FFFFFF gw_vlan100
in ns-gw-slice1000 network 0065A8C0 00FFFFFF gw_vlan101
in ns-gw-slice1000 network 00000A0A 0000FFFF gw_vlan101
in ns-gw-slice1000 address 127.0.0.1
in ns-gw-slice1000 address 192.168.100.1
in ns-gw-slice1000 address 192.168.101.1
in ns-gw-slice1000 address 10.10.3.4
in ns-gw-slice1000 address 172.16.0.1
in ns-gw-slice1000 address 192.168.100.1
in ns-gw-slice1000 routes
in ns-dhcp-vlan100 device lo
in ns-dhcp-vlan101 network 0001A8C0 00FFFFFF dhcp_v101
in ns-dhcp-vlan101 address 192.168.1.2
"""


def test_command_lines_are_read_whole() -> None:
    text = "/proc/7/cmdline:dnsmasq|--x=a:b||end|\n/proc/8/cmdline:qemu-kvm|-name|a\n/proc/8/cmdline:b|\n"
    processes = parse.parse_answers(NETWORK, {"processes": text.replace("|", "\x1f")}).processes
    assert {pid: process.argv for pid, process in processes.items()} == {
        7: ("dnsmasq", "--x=a:b", "", "end"), 8: ("qemu-kvm", "-name", "a\nb"),
    }  # fmt: skip
    assert parse.parse_answers(NETWORK, {"processes": "no such file\n"}).unread == ("processes",)
    assert parse.parse_answers(NETWORK, {"ports": "[" * 100_000, "devices": "[" * 100_000}).unread == (
        "ports",
        "devices",
    )


def test_a_namespace_that_was_not_entered_is_read_from_its_tables() -> None:
    """The third interface is down, so the kernel has removed its network. 172.16.0.1 is in no network."""
    seen = parse.parse_answers(NETWORK, {"namespaces": SHOWN}).namespaces
    router = seen["ns-gw-slice1000"]
    assert (router.routes, seen["ns-dhcp-vlan100"].routes, [*seen["ns-dhcp-vlan100"].devices]) == (True, False, ["lo"])
    assert seen["ns-dhcp-vlan101"].devices["dhcp_v101"] == Device("dhcp_v101", "", True, True, "", "", ("192.168.1.2",))
    assert {device.name: (device.up, device.addresses) for device in router.devices.values()} == {
        "lo": (False, ()), "gw_vlan100": (True, ("192.168.100.1",)), "gw_vlan102": (False, ()),
        "gw_vlan101": (True, ("192.168.101.1", "10.10.3.4")),
    }  # fmt: skip


def test_an_equal_answer_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = deployed("ring")
    assert scene.found() == []
    for name in parse._PARSERS:
        monkeypatch.setitem(parse._PARSERS, name, lambda _text: pytest.fail("it was read again"))
    assert scene.found() == []


def test_an_answer_is_parsed_while_another_host_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    scene, was_read = deployed("ring"), threading.Event()
    run = scene.network.run

    def late(*words: Any, **options: Any) -> Iterator[Outcome | UploadProgress]:
        assert was_read.wait(10), "the workers' answers are parsed only after all hosts have answered"
        yield from run(*words, **options)

    monkeypatch.setattr(scene.network, "run", late)

    def parse_and_note(host: str, answers: Mapping[str, str | None]) -> Facts:
        was_read.set()
        return parse.parse_answers(host, answers)

    monkeypatch.setattr(inspector, "parse_answers", parse_and_note)
    assert scene.found() == []


@pytest.mark.parametrize(
    ("sockets", "serves"),
    [
        ("UNCONN 0 0 0.0.0.0%dhcp_v100:67 0.0.0.0:*", True),
        ("UNCONN 0 0 0.0.0.0:67 0.0.0.0:*", True),
        ("UNCONN 0 0 0.0.0.0%if9:67 0.0.0.0:*", False),
        ("", False),
    ],
)
def test_whether_a_server_listens(sockets: str, serves: bool) -> None:
    """Without any socket it is in another namespace: the one that was deleted under it."""
    text = f'namespace ns-dhcp-vlan100\n0\n[{{"ifname":"dhcp_v100","flags":["UP"]}}]\n{sockets}\n'
    assert parse.parse_answers(NETWORK, {"namespaces": text}).namespaces["ns-dhcp-vlan100"].serves is serves


def test_collecting_is_one_round_trip_for_any_number_of_slices_and_vlans() -> None:
    scene = deployed("ring")
    before = {address: host.runs for address, host in scene.cloud.hosts.items()}
    assert scene.found() == []
    assert {host.runs - before[address] for address, host in scene.cloud.hosts.items()} == {1}
    assert len(collect.commands(Inventory(), WORKER)) <= 5
    assert len(collect.commands(Inventory(), NETWORK)) <= 10


RESOURCES = "cores 4\nmemory 16777216\navailable {}\ndisk {}\noverlays 0\nclock 0\n"


@pytest.mark.parametrize(
    ("name", "answer", "code"),
    [
        ("programs", "qemu-system-x86_64 QEMU emulator version 5.2.0\n", "tool-too-old"),
        ("resources", RESOURCES.format(16777216, 102400), "no-room"),
        ("resources", RESOURCES.format(102400, 104857600), "no-room"),
        ("ports", '{"data":[],"headings":["name","ports"]}\n' * 4, "bridge-missing"),
        ("ports", None, "unread"),
        ("flows", None, "switch-down"),
        ("flows", "connection refused", "invalid-answer"),
        ("devices", "no such thing", "invalid-answer"),
        ("rules", None, "unread"),
        ("rules", "iptables: no such thing", "invalid-answer"),
        ("routes", None, "unread"),
        ("routes", "what device", "invalid-answer"),
        ("forwarding", "", "unread"),
    ],
)
def test_answers_of_hosts_are_bounded(name: str, answer: str | None, code: str) -> None:
    host = FakeHost(WORKER)
    whole = {"flows": f"{fake_facts.NORMAL}\n", "ports": fake_facts.ports(host)}
    facts = parse.parse_answers(WORKER, {**whole, name: answer})
    assert [finding.code for finding in findings.of_host(Inventory(), facts, 0, 0)] == [code]


def test_a_refusing_host_differs_from_a_silent_one() -> None:
    refusal = SudoRefused(WORKER, "sudo", ("sudo",), 1, "sudo: a password is required")
    assert findings.of_error(WORKER, refusal).code == "sudo-refused"
    assert findings.of_error(WORKER, CommandFailed(WORKER, "sh", ("sh",), 1, "killed")).code == "look-failed"


def test_every_code_has_advice() -> None:
    assert all(severity in {"error", "warning"} and meaning and advice for severity, meaning, advice in CODES.values())
