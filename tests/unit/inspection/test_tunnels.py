"""The doctor and the proof about the tunnel between hosts, over fake hosts and from facts."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import yaml

from core.inventory import Inventory
from core.underlay import Tunnel
from inspection import foundation, tunnels
from inspection.codes import CODES
from inspection.collect import commands
from inspection.facts import BridgeSettings, Facts, SeenPort
from inspection.isolation import tunnel_proof
from inspection.parse import parse_answers
from inspection.parse_switch import parse_flow
from network import tunnel
from tests.support import fake_facts
from tests.support.desk import NETWORK, WORKERS, Desk
from tests.support.fake_hosts import FakeHost
from tests.unit.inspection.test_foundation import NORMAL, device, port

pytestmark = pytest.mark.on_a_file

FIRST, SECOND = WORKERS
INVENTORY = Inventory(underlay="tunnel")
REALM = Tunnel.between(INVENTORY.hosts, {})
OURS = {"owner": "cloud-repositorio", "tunnel": "1"}
TO_SECOND = "tun1_0a000a02"


def whole() -> Facts:
    """Return the facts of a host whose end is as it was made."""
    host = FakeHost(FIRST)
    ends = (word for end in REALM.ends(FIRST).items() for word in end)
    host.tunnel = ("cloud-repositorio", "1", "3", "8192", "br-tun", "br-int", "patch-tun", "patch-int", FIRST, *ends)
    facts = parse_answers(FIRST, {"ports": fake_facts.ports(host), "tunnel": "", "flows": f" {fake_facts.NORMAL}\n"})
    ports = {name: seen for name, seen in facts.ports.items() if name != "ens4"}
    flows = tuple(tunnels.wanted_flows(REALM, FIRST))
    devices = {"ens3": replace(device("ens3", FIRST), mtu=1600)}
    asked = facts.asked | {"devices"}
    return replace(facts, ports=ports, tunnel_flows=flows, devices=devices, asked=asked, flows=(NORMAL,))


WHOLE = whole()


def with_port(name: str, **changes: object) -> Facts:
    seen = WHOLE.ports[name]
    return replace(WHOLE, ports={**WHOLE.ports, name: replace(seen, **changes)})  # type: ignore[arg-type]


def without(*names: str) -> Facts:
    return replace(WHOLE, ports={name: seen for name, seen in WHOLE.ports.items() if name not in names})


def with_settings(name: str, settings: BridgeSettings | None) -> Facts:
    known = {**WHOLE.bridge_settings, name: settings}
    return replace(WHOLE, bridge_settings={name: each for name, each in known.items() if each})


CASES: list[tuple[str, Facts, str]] = [
    ("", WHOLE, ""),
    ("tunnel-missing", with_settings("br-tun", None), "the bridge br-tun of the tunnel is not there"),
    ("tunnel-foreign", with_settings("br-tun", BridgeSettings()), "the bridge br-tun has not our mark"),
    ("tunnel-wrong", with_settings("br-tun", BridgeSettings("1")), "br-tun would pass frames without our flows"),
    ("tunnel-wrong", with_settings("br-int", BridgeSettings()), "br-int drops the guests' STP and LLDP"),
    ("tunnel-missing", without(TO_SECOND), f"port {TO_SECOND} of the tunnel, to {SECOND}, is not there"),
    ("tunnel-missing", without("patch-tun"), "port patch-tun of the tunnel, to br-tun, is not there"),
    ("tunnel-missing", with_port(TO_SECOND, number=-1), f"port {TO_SECOND} of the tunnel, to {SECOND}, is not open"),
    ("tunnel-foreign", with_port(TO_SECOND, marks={}), f"port {TO_SECOND} of the tunnel, to {SECOND}, has not our"),
    ("tunnel-wrong", with_port(TO_SECOND, options={"remote_ip": "10.0.10.9"}), "leads elsewhere"),
    ("tunnel-wrong", with_port("patch-tun", tag=7), "port patch-tun of the tunnel, to br-tun, leads elsewhere"),
    ("tunnel-wrong", with_port("patch-int", bridge="br-int"), "port patch-int of the tunnel, to br-int, leads"),
    ("tunnel-flows", replace(WHOLE, tunnel_flows=()), "the flows of br-tun are not ours, or some are missing"),
    ("tunnel-flows", replace(WHOLE, tunnel_flows=(*WHOLE.tunnel_flows, NORMAL)), "the flows of br-tun are not ours"),
]


@pytest.mark.parametrize(("code", "facts", "what"), CASES)
def test_each_problem_of_an_end_has_a_code(code: str, facts: Facts, what: str) -> None:
    found = {problem.code: problem.what for problem in tunnels.problems(REALM, facts, INVENTORY.hosts)}
    assert list(found) == ([code] if code else [])
    assert what in found.get(code, "")
    assert {*found} <= CODES.keys()


def test_a_host_that_was_not_read_has_no_problem() -> None:
    for facts in (Facts(FIRST), replace(WHOLE, unread=("ports",)), replace(WHOLE, bridges=frozenset())):
        assert not [*tunnels.problems(REALM, facts, INVENTORY.hosts)]
    unread = replace(WHOLE, tunnel_flows=(), unread=("tunnel",))
    assert not [*tunnels.problems(REALM, unread, INVENTORY.hosts)]


def test_a_host_that_joins_the_cloud_is_no_problem_until_a_slice_needs_it() -> None:
    larger = Tunnel.between((*INVENTORY.hosts, "10.0.10.4"), {})
    assert not [*tunnels.problems(larger, WHOLE, INVENTORY.hosts)]
    needed = {problem.code for problem in tunnels.problems(larger, WHOLE, (FIRST, "10.0.10.4"))}
    assert needed == {"tunnel-missing", "tunnel-flows"}
    assert not [*tunnels.leaks(larger, WHOLE)]


BENEATH: list[tuple[str, Facts, str]] = [
    ("", WHOLE, ""),
    ("tunnel-address", replace(WHOLE, devices={"ens3": device("ens3", "10.0.10.9")}), f"the address {FIRST}, where"),
    ("tunnel-narrow", replace(WHOLE, devices={"ens3": replace(WHOLE.devices["ens3"], mtu=1599)}),
     "ens3 has an MTU of 1599, and the tunnel needs 1600 or more"),
    ("", replace(WHOLE, devices={"ens3": replace(WHOLE.devices["ens3"], mtu=0)}), ""),
    ("tunnel-doubled", replace(WHOLE, ports={**WHOLE.ports, "ens4": port("ens4")}),
     "port ens4 of br-int leads to other hosts beside the tunnel"),
    ("", replace(WHOLE, ports={**WHOLE.ports, "ens4": port("ens4", tag=9)}), ""),
]  # fmt: skip


@pytest.mark.parametrize(("code", "facts", "what"), BENEATH)
def test_each_problem_of_the_network_beneath_has_a_code(code: str, facts: Facts, what: str) -> None:
    found = {problem.code: problem.what for problem in foundation.of_host(INVENTORY, facts)}
    assert list(found) == ([code] if code else [])
    assert what in found.get(code, "")


# --- the proof --------------------------------------------------------------------------------------------------------

STRAY = SeenPort("tun1_0a000a09", "br-tun", None, "geneve", 9, OURS, options={"key": "1", "remote_ip": "10.0.10.9"})


@pytest.mark.parametrize(
    ("facts", "leak"),
    [
        (WHOLE, ""),
        (without(TO_SECOND), "the flows of br-tun are not ours"),
        (replace(WHOLE, ports={**WHOLE.ports, STRAY.name: STRAY}), f"port {STRAY.name} of br-tun does not lead to a"),
        (with_port(TO_SECOND, options={"remote_ip": "10.0.10.9"}), f"port {TO_SECOND} of br-tun does not lead to"),
        (replace(WHOLE, tunnel_flows=(*WHOLE.tunnel_flows, parse_flow("actions=NORMAL"))), "the flows of br-tun are"),
    ],
)
def test_a_way_out_of_the_cloud_is_a_breach(facts: Facts, leak: str) -> None:
    (found,) = tunnel_proof.properties(INVENTORY, {FIRST: facts})
    assert found.checked
    assert [leak in breach.what for breach in found.breaches] == ([True] if leak else [])


def test_without_a_tunnel_there_is_nothing_to_prove() -> None:
    assert tunnel_proof.properties(Inventory(), {FIRST: WHOLE}) == []
    assert "tunnel" not in commands(Inventory(), FIRST, thorough=True)
    assert "tunnel" in commands(INVENTORY, FIRST)


def test_the_flows_of_a_thousand_hosts_are_read() -> None:
    """ovs-ofctl puts names with an underscore into quotation marks."""
    hosts = [f"10.0.{number // 250}.{number % 250 + 1}" for number in range(1000)]
    many = Tunnel.between(hosts, {})
    shown = (re.sub(r"(?<==|:)(tun\w+)", r'"\1"', flow) for flow in tunnel.marked_flows(many, hosts[0]))
    facts = parse_answers(hosts[0], {"tunnel": "".join(f" {flow}\n" for flow in shown)})
    assert facts.was_asked("tunnel")
    assert len(facts.tunnel_flows) > len(hosts)
    assert frozenset(facts.tunnel_flows) == tunnels.wanted_flows(many, hosts[0])


# --- over fake hosts --------------------------------------------------------------------------------------------------


@pytest.fixture
def running(desk: Desk) -> Desk:
    """Return a desk with a slice that runs over a tunnel; the hosts have no data port."""
    setting = yaml.safe_load(desk.path.read_text()) | {"underlay": "tunnel"}
    desk.path.write_text(yaml.safe_dump(setting))
    for address, host in desk.cloud.hosts.items():
        host.namespaces[""] = {"ens3": {address}}
    desk.ring(2)
    desk.ok(desk.api.deploy_slice("student", 1000))
    return desk


def codes(desk: Desk) -> list[str]:
    return [finding.code for finding in desk.api.doctor.examine().findings]


def test_a_port_that_was_removed_is_found_and_made_again(running: Desk) -> None:
    worker = running.cloud.hosts[FIRST]
    assert codes(running) == []
    assert worker.tunnel[-4:] == (TO_SECOND, SECOND, "tun1_0a000a03", NETWORK)
    whole, worker.tunnel = worker.tunnel, (*worker.tunnel[:9], *worker.tunnel[-2:])
    worker.tunnel_flows.pop()
    assert codes(running) == ["tunnel-missing", "tunnel-flows"]
    running.ok(running.api.repair_slice("student", 1000))
    assert (worker.tunnel, codes(running)) == (whole, [])


def test_the_tunnel_of_a_cloud_without_slices_stays(running: Desk) -> None:
    running.ok(running.api.delete_slice("student", 1000))
    assert codes(running) == []
    assert running.api.doctor.fix().removed == ()
    assert all(host.tunnel for host in running.cloud.hosts.values())


def test_a_port_to_a_host_that_left_the_cloud_is_an_orphan(running: Desk) -> None:
    running.ok(running.api.delete_slice("student", 1000))
    setting = yaml.safe_load(running.path.read_text()) | {"workers_list": [FIRST]}
    running.path.write_text(yaml.safe_dump(setting))
    named = f"port {TO_SECOND} of the tunnel, to {SECOND}"
    removed = running.api.doctor.fix().removed
    assert set(removed) == {f"{host}: orphan-tunnel: {named}" for host in (FIRST, NETWORK)}
    assert codes(running) == []
    for host in (FIRST, NETWORK):
        flows = [flow for flow in running.cloud.hosts[host].tunnel_flows if TO_SECOND in flow]
        assert flows == [], "else the proof would find flows that are not ours"


def leave_settings(desk: Desk) -> None:
    """Take the second worker out of the settings."""
    setting = yaml.safe_load(desk.path.read_text()) | {"workers_list": [FIRST]}
    desk.path.write_text(yaml.safe_dump(setting))


def test_a_port_to_a_worker_that_left_the_settings_stays_while_a_slice_uses_it(running: Desk) -> None:
    leave_settings(running)
    running.ok(running.api.problems("student"))
    assert {*codes(running)} == {"rules-missing"}
    assert running.api.doctor.fix().removed == ()
    running.ok(running.api.repair_slice("student", 1000))
    assert codes(running) == []
    running.ok(running.api.delete_slice("student", 1000))
    assert len(running.api.doctor.fix().removed) == 2


def test_the_deployment_of_another_slice_keeps_the_port_to_a_worker_that_left_the_settings(running: Desk) -> None:
    before = {host: running.cloud.hosts[host].tunnel for host in (FIRST, NETWORK)}
    leave_settings(running)
    running.ok(running.api.repair_slice("student", 1000))
    other = running.ring(2)
    assert running.ok(running.api.plan_slice("student", other.slice_id)).stages
    running.ok(running.api.deploy_slice("student", other.slice_id))
    assert {host: running.cloud.hosts[host].tunnel for host in (FIRST, NETWORK)} == before
    assert codes(running) == []
    assert running.api.doctor.fix().removed == ()
    assert running.ok(running.api.plan_deletion("student", 1000)).stages
    assert running.ok(running.api.problems("student")) == {}
    (leads,) = (each for each in running.api.prover.prove().properties if each.title.startswith("tunnel: it leads"))
    assert leads.breaches == []


def test_a_tunnel_that_the_settings_do_not_know_is_an_orphan(running: Desk) -> None:
    running.ok(running.api.delete_slice("student", 1000))
    text = running.path.read_text()
    assert "\nunderlay: tunnel\n" in text
    running.path.write_text(text.replace("\nunderlay: tunnel\n", "\n", 1))
    removed = running.api.doctor.fix().removed
    assert set(removed) == {f"{host}: orphan-tunnel: tunnel 1, with its bridge" for host in running.cloud.hosts}
    assert not any(host.tunnel for host in running.cloud.hosts.values())
