"""The isolation proof: it holds on a healthy cloud, and it names each property that is broken by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest

from lab import Lab
from tests.lab.test_drift import Pair, cli, filled
from tests.lab.test_failures import foreign_process
from tests.support.lab.visitor import IMAGES, Menu

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("idle_guests")]


@pytest.fixture(scope="module")
def two(lab: Lab) -> Iterator[tuple[Pair, Pair]]:
    """Yield slices of two users."""
    menus = Menu(lab), Menu(lab, "student")
    pairs = Pair(lab, menus[0], "mine"), Pair(lab, menus[1], "theirs")
    yield pairs
    for pair, menu in zip(pairs, menus, strict=True):
        menu.delete(pair.slice_id)
        menu.close()


def proof(lab: Lab) -> tuple[int, dict[str, list[str]]]:
    """Return the exit status, and the breaches by the first word of their property."""
    status, said = cli(lab, "prove", "--json")
    reported = json.loads(said)
    assert reported["unseen"] == []
    assert all(row["checked"] for row in reported["properties"])
    return status, {row["property"].split(":")[0]: row["breaches"] for row in reported["properties"] if row["breaches"]}


Break = Callable[[Pair, Pair], AbstractContextManager[object]]


def names(pair: Pair, other: Pair) -> dict[str, str]:
    """Return the values for the words in capitals."""
    return {
        "TAP1": pair.tap("one", "eth1"), "TAP0": pair.tap("one", "eth0"), "SPARE": pair.tap("one", "eth2"),
        "OTHER": str(other.vlan), "SLICE": str(pair.slice_id), "VLAN": str(pair.vlan),
        "MARK": "-m comment --comment cloud-repositorio",
    }  # fmt: skip


def changed(host: str, do: str, undo: str) -> Break:
    """Run a command as root on `host`, and another one that undoes it; names of the first slice are in capitals."""

    @contextmanager
    def change(pair: Pair, other: Pair) -> Iterator[None]:
        words = names(pair, other)
        pair.lab.exec(host, ["sh", "-c", filled(do, words)])
        try:
            yield
        finally:
            pair.lab.exec(host, ["sh", "-c", filled(undo, words)])

    return change


def machine(*words: str) -> Break:
    """Return a change that starts a foreign virtual machine on the first worker."""

    def start(pair: Pair, _other: Pair) -> AbstractContextManager[object]:
        disk = f"{IMAGES}/slice-{pair.slice_id}/one_img.qcow2"
        line = [word.replace("DISK", disk).replace("MAC", pair.vms["one"].macs["eth1"]) for word in words]
        start = ["qemu-system-x86_64", "-S", "-display", "none", "-m", "16", "-accel", "tcg", "-nodefaults"]
        return foreign_process(pair.lab, "worker1", *start, *line)

    return start


PORT = "ovs-vsctl add-port br-int foreign"
INTERNAL = "-- set Interface foreign type=internal"
GONE = "ovs-vsctl del-port foreign"
BREAKS: dict[str, tuple[Break, str, str]] = {
    "a TAP without a link is up": (
        changed("worker1", "ip link set dev SPARE up", "ip link set dev SPARE down"),
        "interfaces without a link", "has no link and is up",
    ),
    "a TAP without a link is a port": (
        changed("worker1", "ovs-vsctl add-port br-int SPARE tag=2099", "ovs-vsctl del-port SPARE"),
        "interfaces without a link", "has no link and is a port",
    ),
    "a wrong tag": (
        changed("worker1", "ovs-vsctl set Port TAP1 tag=OTHER", "true"), "ports", "instead of VLAN",
    ),
    "no tag": (changed("worker1", "ovs-vsctl clear Port TAP1 tag", "true"), "ports", "port TAP1 carries every"),
    "a foreign port on a slice's VLAN": (
        changed("worker2", f"{PORT} tag=VLAN {INTERNAL}", GONE), "ports", "port foreign, which is not ours, is on",
    ),
    "a foreign port on every VLAN": (
        changed("worker2", f"{PORT} {INTERNAL}", GONE), "ports", "port foreign carries every",
    ),
    "no port security": (
        changed("worker1", "ovs-ofctl del-flows br-int in_port=TAP0", "true"), "port security", "is missing",
    ),
    "a hole in the port security": (
        changed("worker1", "ovs-ofctl add-flow br-int priority=999,in_port=TAP0,actions=NORMAL",
                "ovs-ofctl --strict del-flows br-int priority=999,in_port=TAP0"),
        "port security", "overrides the port security",
    ),
    "frames that pass": (
        changed("worker1", "ovs-ofctl add-flow br-int priority=999,in_port=TAP0,actions=NORMAL",
                "ovs-ofctl --strict del-flows br-int priority=999,in_port=TAP0"),
        "probes of the switches", "lets through: an ARP answer in the gateway's name",
    ),
    "no protection": (
        changed("worker1", "ovs-vsctl set Port TAP0 protected=false", "true"), "ports", "is not protected",
    ),
    "a TAP that speaks ARP": (
        changed("worker1", "ip link set dev TAP1 arp on", "true"), "hosts", "the host speaks ARP on TAP1",
    ),
    "a TAP with IPv6": (
        changed("worker1", "sysctl -q -w net.ipv6.conf.TAP0.disable_ipv6=0", "true"), "hosts", "IPv6 on TAP0",
    ),
    "no drop before the IP stack": (
        changed("worker1", "nft delete table inet cloud-repositorio-slice-SLICE || true", "true"),
        "hosts", "frames of slice SLICE are not dropped",
    ),
    "a kernel that takes a guest's packet": (
        changed("worker1", "nft delete table inet cloud-repositorio-slice-SLICE; "
                "sysctl -q -w net.ipv4.conf.TAP1.rp_filter=0", "true"),
        "probes of the hosts", "the host takes a packet to 10.0.10.1 from TAP1",
    ),
    "a route to a guest": (
        changed("worker1", "ip route add 198.51.100.0/24 dev TAP0", "ip route del 198.51.100.0/24 dev TAP0"),
        "hosts", "the host knows a way by TAP0: 198.51.100.0/24",
    ),
    "a router with IPv6": (
        changed("network", "ip netns exec ns-gw-sliceSLICE sysctl -q -w net.ipv6.conf.all.disable_ipv6=0", "true"),
        "hosts", "gw_vlanVLAN in ns-gw-sliceSLICE has IPv6",
    ),
    "a gateway with IPv6": (
        changed("network", "sysctl -q -w net.ipv6.conf.gw_vlan400.disable_ipv6=0", "true"),
        "hosts", "on gw_vlan400",
    ),
    "a DHCP server that accepts all requests": (
        changed("network", "ip netns exec ns-dhcp-vlan400 iptables -I INPUT -p udp -j ACCEPT",
                "ip netns exec ns-dhcp-vlan400 iptables -D INPUT -p udp -j ACCEPT"),
        "DHCP of VLAN 400", "the rule '-a input -p udp -j accept' lets in more",
    ),
    "a DHCP rule less": (
        changed("network", "ip netns exec ns-dhcp-vlan400 iptables -D slice-SLICE 1", "true"),
        "DHCP of VLAN 400", "are incomplete",
    ),
    "a moved gateway": (
        changed("network", "ip -n ns-gw-sliceSLICE link set dev gw_vlanVLAN netns 1", "true"),
        "subnets", "gw_vlanVLAN is in the root namespace",
    ),
    "another address on a gateway": (
        changed("network", "ip -n ns-gw-sliceSLICE addr add 192.168.77.1/24 dev gw_vlanVLAN",
                "ip -n ns-gw-sliceSLICE addr del 192.168.77.1/24 dev gw_vlanVLAN"),
        "subnets", "192.168.77.1",
    ),
    "a rule less": (
        changed("network", "iptables -D FORWARD -d 10.0.10.2/32 -i gw_vlan400 MARK -j DROP", "true"),
        "network node", "-d 10.0.10.2/32 -i gw_vlan400",
    ),
    "a router with a way out": (
        changed("network", "ip -n ns-gw-sliceSLICE route add 10.0.10.0/24 dev gw_vlanVLAN",
                "ip -n ns-gw-sliceSLICE route del 10.0.10.0/24"),
        "probes of the routers", "has a way to 10.0.10.1, a host of the cloud",
    ),
    "a foreign rule before ours": (
        changed("network", "iptables -I FORWARD -i gw_vlan400 -j ACCEPT",
                "iptables -D FORWARD -i gw_vlan400 -j ACCEPT"),
        "network node", "comes before ours",
    ),
    "a second VM on a disk": (
        machine("-drive", "file=DISK,format=qcow2,file.locking=off,if=none,id=x"), "disks", "has the disk of slice",
    ),
    "a second VM with a MAC": (machine("-device", "virtio-net-pci,mac=MAC,romfile="), "MACs", "has the MAC"),
    "no bound of new connections": (
        changed("network", "iptables -t mangle -D PREROUTING 2", "true"), "network node", "hashlimit",
    ),
}  # fmt: skip


def test_the_proof_holds(lab: Lab, two: tuple[Pair, Pair]) -> None:
    assert proof(lab) == (0, {})
    status, said = cli(lab, "prove")
    assert status == 0
    assert "Isolation holds: " in said
    assert two


ALONE = {"a hole in the port security", "a foreign rule before ours", "a DHCP server that accepts all requests"}
"""Breaches that another one would hide, or that change the same object as another."""

TOGETHER = [what for what in BREAKS if what not in ALONE]


@pytest.mark.parametrize(
    "broken", [TOGETHER[::2], TOGETHER[1::2], [*ALONE]], ids=["some things", "other things", "holes"]
)
def test_each_broken_property_is_found_and_named(lab: Lab, two: tuple[Pair, Pair], broken: list[str]) -> None:
    """Break several at a time; each one alone is in the unit tests."""
    mine, theirs = two
    with ExitStack() as stack:
        stack.callback(mine.repair)  # when all is undone
        for what in broken:
            stack.enter_context(BREAKS[what][0](mine, theirs))
        status, breaches = proof(lab)
        assert status == 1
        for what in broken:
            _, title, words = BREAKS[what]
            expected = filled(words, names(mine, theirs))
            assert any(expected in line for line in breaches.get(title, ())), (what, breaches)
        assert set(breaches) >= {BREAKS[what][1] for what in broken}
    assert proof(lab) == (0, {})


def test_a_student_sees_counts_and_nothing_of_others(lab: Lab, two: tuple[Pair, Pair]) -> None:
    mine, theirs = two
    assert "Isolation holds: " in theirs.menu.choose(13)
    lab.exec("worker1", ["ovs-vsctl", "set", "Port", mine.tap("one", "eth1"), f"tag={theirs.vlan}"])
    try:
        shown = theirs.menu.choose(13)
        assert "Isolation does not hold" in shown
        assert "elsewhere: 1 more, which an operator sees" in shown
        assert mine.tap("one", "eth1") not in shown
        assert str(mine.slice_id) not in shown
        assert mine.tap("one", "eth1") in mine.menu.choose(13)
    finally:
        mine.repair()
