"""The doctor's findings about bridge, data port, uplink and addresses, from the facts of a host."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.inventory import Inventory
from inspection import findings, foundation
from inspection.codes import CODES
from inspection.facts import Device, Facts, Route, SeenPort
from inspection.findings import Comparison
from inspection.isolation.proof import Proof
from inspection.parse import parse_answers
from inspection.parse_switch import parse_flow
from tests.support.designs import design

WORKER, NODE = "10.0.10.1", "10.0.10.3"
NORMAL = parse_flow("cookie=0x0, priority=0 actions=NORMAL")
DROP, RESUBMIT = parse_flow("priority=0 actions=drop"), parse_flow("priority=1 actions=resubmit(,5)")


def port(
    name: str, kind: str = "", tag: int | None = None, mode: str = "", vlans: frozenset[int] = frozenset()
) -> SeenPort:
    return SeenPort(name, "br-int", tag, kind, 1, {}, mode=mode, vlans=vlans)


def device(name: str, *addresses: str, up: bool = True, carrier: bool = True, kind: str = "") -> Device:
    return Device(name, "02:00:00:00:00:01", up, carrier, "", kind, addresses)


WHOLE = Facts(
    WORKER,
    bridges=frozenset({"br-int"}),
    ports={"br-int": port("br-int", "internal"), "ens4": port("ens4")},
    flows=(NORMAL,),
    devices={"ens3": device("ens3", "10.0.10.1"), "ens4": device("ens4")},
    asked=frozenset({"devices", "flows", "ports", "routes"}),
    routes=(Route("default", "ens3", False), Route("10.0.10.0/24", "ens3", True), Route("10.0.0.0/8", "ens5", False)),
)
NETWORK = replace(WHOLE, host=NODE)


def with_ports(*ports: SeenPort, **devices: Device) -> Facts:
    found = {each.name: each for each in ports}
    return replace(WHOLE, ports={"br-int": port("br-int", "internal"), **found}, devices={**WHOLE.devices, **devices})


def problems(facts: Facts, inventory: Inventory | None = None) -> dict[str, str]:
    return {problem.code: problem.what for problem in foundation.of_host(inventory or Inventory(), facts)}


CASES: list[tuple[str, Facts, str]] = [
    ("", WHOLE, ""),
    ("", NETWORK, ""),
    ("", replace(WHOLE, flows=(DROP, RESUBMIT)), ""),
    ("normal-missing", replace(WHOLE, flows=()), "priority=0 actions=NORMAL, is gone"),
    ("normal-missing", replace(WHOLE, flows=(parse_flow("table=5, priority=0 actions=NORMAL"),)), "is gone"),
    ("normal-missing", replace(WHOLE, flows=(parse_flow("priority=0,arp actions=NORMAL"),)), "is gone"),
    ("normal-missing", replace(WHOLE, flows=(NORMAL, parse_flow("priority=9 actions=drop"))), "is gone"),
    ("data-port-missing", with_ports(), "no port of br-int leads to the other hosts"),
    ("data-port-missing", with_ports(port("tap0"), tap0=device("tap0", kind="tun")), "no port of br-int leads"),
    ("data-port-missing", with_ports(port("x", "internal")), "no port of br-int leads"),
    ("data-port-tagged", with_ports(port("ens4", tag=1)), "port ens4 carries the VLAN of its tag only"),
    ("data-port-tagged", with_ports(port("ens4", tag=1, mode="dot1q-tunnel")), "the VLAN of its tag only"),
    ("", with_ports(port("ens4", tag=1, mode="native-untagged")), ""),
    ("", with_ports(port("ens4", vlans=frozenset({100}))), ""),
    ("data-port-down", with_ports(port("ens4"), ens4=device("ens4", up=False)), "the data port ens4 is down"),
    ("data-port-down", with_ports(port("ens4"), ens4=device("ens4", carrier=False)), "ens4 has no carrier"),
    ("data-port-down", with_ports(replace(port("ens9"), number=-1)), "the data port ens9 has no device"),
    ("", with_ports(port("bond0")), ""),
    ("", with_ports(port("dpdk0", "dpdk")), ""),
    ("", with_ports(port("patch0", "patch")), ""),
    ("", with_ports(port("gn1", "geneve"), port("gn2", "geneve")), ""),
    ("data-port-unclear", with_ports(port("ens4"), port("ens5")), "each of the ports ens4, ens5 could"),
    ("uplink-missing", replace(NETWORK, devices={"ens4": device("ens4")}), "there is no interface ens3"),
    ("uplink-down", replace(NETWORK, devices={**NETWORK.devices, "ens3": device("ens3", up=False)}), "ens3 is down"),
    ("uplink-unrouted", replace(NETWORK, routes=()), "no default route leads out of the uplink ens3"),
    ("internet-overlap", replace(NETWORK, routes=(*NETWORK.routes, Route("10.60.7.4/32", "ens9", False))),
     "10.60.7.0/24 is in use: a route to 10.60.7.4/32 by ens9"),
    ("internet-overlap", replace(NETWORK, routes=(*NETWORK.routes, Route("10.60.0.0/16", "ens9", True))),
     "a route to 10.60.0.0/16 by ens9"),
    ("", replace(NETWORK, routes=(*NETWORK.routes, Route("10.60.7.0/24", "gw_vlan400", True))), ""),
    ("internet-overlap", replace(NETWORK, devices={**NETWORK.devices, "lo": device("lo", "10.60.7.77")}),
     "10.60.7.77 of lo"),
    ("", replace(NETWORK, devices={**NETWORK.devices, "gw_vlan400": device("gw_vlan400", "10.60.7.1")}), ""),
    ("internet-overlap", replace(NETWORK, peers=("10.60.7.1",)), "10.60.7.1 is connected by SSH"),
    ("internet-blocked", replace(NETWORK, barriers=("chain x of table inet fw (nftables)",)), "chain x of table inet"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "facts", "what"), CASES)
def test_each_lack_of_a_host_has_a_code(code: str, facts: Facts, what: str) -> None:
    found = problems(facts)
    assert list(found) == ([code] if code else [])
    assert what in found.get(code, "")
    assert set(found) <= set(CODES)


def test_facts_that_were_not_read_lack_nothing() -> None:
    empty = Facts(WORKER, asked=WHOLE.asked)
    assert set(problems(replace(NETWORK, asked=frozenset(), ports={}, flows=(), devices={}))) == set()
    assert set(problems(replace(empty, unread=("ports", "flows", "devices")))) == set()
    assert set(problems(empty)) == set(), "no bridge is another finding"
    assert set(problems(replace(empty, host=NODE, unread=("devices", "routes")))) == set()


def test_a_cloud_of_one_host_needs_no_data_port() -> None:
    alone = Inventory(workers_list=(WORKER,), network_node=WORKER)
    bare = with_ports()
    assert set(problems(bare, alone)) == set()
    assert set(problems(bare, Inventory(workers_list=(WORKER,)))) == {"data-port-missing"}


def test_the_setting_names_the_data_port() -> None:
    named = Inventory(data_ports={WORKER: "ens5"})
    both = with_ports(port("ens4", tag=1), port("ens5"))
    assert problems(both, named) == {}
    assert list(problems(WHOLE, named).values()) == ["the data port ens5 is not on br-int"]


def test_one_of_several_is_enough() -> None:
    assert problems(with_ports(port("ens4", tag=1), port("ens5"))) == {}
    down = device("ens4", up=False)
    assert list(problems(with_ports(port("ens4"), port("ens5"), ens4=down))) == ["data-port-unclear"]
    assert list(problems(with_ports(port("ens4", tag=1), port("ens5", tag=1)))) == [
        "data-port-unclear",
        "data-port-tagged",
    ]


def test_a_slice_shows_only_its_own_problems() -> None:
    comparison = Comparison(Inventory())
    line, alone = design("line"), design("unconnected")
    broken = with_ports(port("ens4", vlans=frozenset({1})))
    of_line = {finding.code: finding for finding in comparison.of_slice(line, {WORKER: broken})}
    assert of_line["data-port-tagged"].sentence == "10.0.10.1: the data port ens4 does not carry VLAN 100"
    assert of_line["data-port-tagged"].slice_id == line.slice_id
    assert not of_line["data-port-tagged"].is_repairable
    of_alone = {finding.code for finding in comparison.of_slice(alone, {WORKER: broken})}
    assert "data-port-tagged" not in of_alone, "none of its VLANs leaves the host"
    blocked = replace(NETWORK, barriers=("chain x",))
    with_internet = {finding.code for finding in comparison.of_slice(line, {NODE: blocked})}
    assert "internet-blocked" in with_internet
    ring = design("ring")
    for vm in ring.vms:
        vm.interfaces[0].vlan_id = vm.interfaces[0].ip_config = None
    without = {finding.code for finding in comparison.of_slice(ring, {NODE: blocked})}
    assert "internet-blocked" not in without


def test_a_problem_found_twice_is_reported_once_for_the_host() -> None:
    down = with_ports(port("ens4"), ens4=device("ens4", up=False))
    whole = {finding.what for finding in findings.of_host(Inventory(), down, 0, 0)}
    slices = {finding.what for finding in Comparison(Inventory()).of_slice(design("line"), {WORKER: down})}
    assert whole <= slices


@pytest.mark.parametrize(
    ("ports", "data_ports", "breach"),
    [
        ((port("ens4"),), {}, ""),
        ((port("gn1", "geneve"), port("gn2", "geneve")), {}, ""),
        (
            (port("ens4"), port("ens5")),
            {},
            "ports ens4, ens5 carry every VLAN; only one may, the port of the data network",
        ),
        ((port("ens4"), port("ens5")), {WORKER: "ens4"}, "port ens5 carries every VLAN"),
    ],
)
def test_the_proof_lets_the_data_port_carry_every_vlan(
    ports: tuple[SeenPort, ...], data_ports: dict[str, str], breach: str
) -> None:
    proof = Proof(Inventory(data_ports=data_ports), [], {WORKER: with_ports(*ports)})
    assert {each.what for each in proof.properties()[0].breaches} == ({breach} if breach else set())


def test_routes_are_read_as_ip_shows_them() -> None:
    text = (
        "default via 10.0.10.254 dev ens3 proto dhcp src 10.0.10.3 metric 100 \n"
        "10.0.10.0/24 dev ens3 proto kernel scope link src 10.0.10.3 \n"
        "10.9.0.1 dev wg0 scope link \n"
        "unreachable 10.1.0.0/16 metric 5 \n"
        "10.2.0.0/16 \\\tnexthop via 10.0.10.8 dev ens3 weight 1 \n"
        "default dev ppp0 scope link \n"
    )
    facts = parse_answers(
        NODE, {"routes": text, "peers": "0 0 10.0.10.3:22 10.60.7.1:4000 \n", "forwarding": "1\nchain x\n"}
    )
    assert not facts.unread
    assert facts.routes == (
        Route("default", "ens3", False),
        Route("10.0.10.0/24", "ens3", True),
        Route("10.9.0.1/32", "wg0", True),
        Route("10.1.0.0/16", "", False),
        Route("10.2.0.0/16", "ens3", False),
        Route("default", "ppp0", False),
    )
    assert facts.linked_networks("ens3") == ["10.0.10.0/24"]
    assert (facts.peers, facts.forwards, facts.barriers) == (("10.60.7.1",), True, ("chain x",))


@pytest.mark.parametrize(
    ("facts", "advice"),
    [
        (with_ports(port("ens4"), ens4=device("ens4", up=False)), "ip link set ens4 up; "),
        (with_ports(port("ens4", tag=1)), "ovs-vsctl clear Port ens4 tag trunks vlan_mode"),
        (replace(NETWORK, devices={**NETWORK.devices, "ens3": device("ens3", up=False)}), "ip link set ens3 up"),
        (with_ports(port("ens4"), port("ens5")), "name the right one in database.yaml: data_ports: {10.0.10.1: PORT}"),
    ],
)
def test_the_doctor_names_the_device_in_its_advice(facts: Facts, advice: str) -> None:
    (found,) = findings.of_host(Inventory(), facts, 0.0, 0.0)
    assert found.advice.startswith(advice)


def test_the_doctor_names_the_port_of_the_setting() -> None:
    (found,) = findings.of_host(Inventory(data_ports={WORKER: "ens9"}), with_ports(), 0.0, 0.0)
    assert found.advice.startswith("ovs-vsctl add-port br-int ens9; ")
