"""Attacks from inside guests, as root there, on the slice of another user: on the same worker and on the other one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial

import pytest

from lab import Lab
from tests.lab import frames as f
from tests.lab import intruder
from tests.lab.seat import Guest, Menu, SeenVM, wait_until
from tests.scale import scaled

pytestmark = pytest.mark.lab

GATEWAY, GATEWAY_MAC = "10.60.7.1", "02:c1:0d:00:00:01"
DHCP_SERVER, DHCP_MAC = "10.60.7.2", "02:c1:0d:00:00:02"
INTERNET_VLAN = 400
HOSTS = ("10.0.10.1", "10.0.10.2", "10.0.10.3", "10.0.10.250")
FLOOD_FRAMES = scaled(10_000, 200_000)


class Tenant:
    """A user's slice: two VMs with internet, one on each worker, with a link between."""

    def __init__(self, lab: Lab, user: str) -> None:
        self.lab, self.user = lab, user
        menu = Menu(lab, user)
        self.slice_id = menu.create_slice("neighbour")
        one, two = (menu.add_vm(self.slice_id, name, 1, internet=True) for name in ("one", "two"))
        self.vlan = menu.link(self.slice_id, one, "eth1", two, "eth1")
        menu.deploy(self.slice_id)
        self.vms = {vm.worker: vm for vm in menu.topology(self.slice_id).values()}
        menu.close()
        assert set(self.vms) == {"worker1", "worker2"}

    @cached_property
    def guests(self) -> dict[str, Guest]:
        """The guests by worker."""
        return {worker: Guest(self.lab, self.slice_id, vm) for worker, vm in self.vms.items()}

    @property
    def gateway(self) -> str:
        return f"192.168.{self.vlan % 256}.1"

    def delete(self) -> None:
        for guest in self.guests.values():
            guest.console.close()
        menu = Menu(self.lab, self.user)
        menu.delete(self.slice_id)
        menu.close()


@dataclass
class Street:
    """Two tenants, and the name of each attack by its mark."""

    attacker: Tenant
    victim: Tenant
    attacks: dict[str, str]


def link_attacks(own: SeenVM, other: Tenant, victim: SeenVM) -> Iterator[tuple[str, list[bytes]]]:
    """What one's own link VLAN may be used for; each with `MARK` where the mark of the attack is to be."""
    here, there, mark = own.macs["eth1"], victim.macs["eth1"], b"ATTKMARK"
    mine, theirs = own.addresses["eth1"], victim.addresses["eth1"]
    targets = (f.BROADCAST, there, victim.macs["eth0"], GATEWAY_MAC)
    yield "broadcast", [f.ethernet(here, f.BROADCAST, f.LOCAL_EXPERIMENT, mark)]
    yield "unicast", [f.ethernet(here, target, f.LOCAL_EXPERIMENT, mark) for target in targets]
    yield (
        "arp",
        [f.arp(here, target, 1, (here, mine), ("00:00:00:00:00:00", theirs), mark) for target in (f.BROADCAST, there)],
    )
    yield (
        "arp in the gateway's name",
        [f.arp(here, target, 2, (here, other.gateway), (there, theirs), mark) for target in (f.BROADCAST, there)],
    )
    yield "ipv6", [f.router_advertisement(here, mark)]
    vlans = (0, 1, other.vlan, INTERNET_VLAN, 4095)
    yield (
        "tagged",
        [
            f.ethernet(here, target, f.LOCAL_EXPERIMENT, mark, (tag, vlan))
            for target in targets
            for vlan in vlans
            for tag in (f.Q_TAG, f.S_TAG)
        ],
    )
    yield (
        "tagged twice",
        [
            f.ethernet(here, target, f.LOCAL_EXPERIMENT, mark, (outer_tag, outer), (f.Q_TAG, inner))
            for target in (f.BROADCAST, there)
            for outer in vlans
            for inner in (other.vlan, INTERNET_VLAN)
            for outer_tag in (f.Q_TAG, f.S_TAG)
        ],
    )
    forged = (there, victim.macs["eth0"], GATEWAY_MAC, DHCP_MAC)
    yield "forged mac", [f.ethernet(source, f.BROADCAST, f.LOCAL_EXPERIMENT, mark) for source in forged]
    yield (
        "forged ip",
        [
            f.ethernet(here, target, 0x0800, f.echo(source, theirs, mark))
            for target in targets
            for source in (other.gateway, theirs, "8.8.8.8")
        ],
    )
    offer = f.dhcp(2, there, mark, wanted="192.168.0.66", server=mine, reply=True)
    yield "dhcp server", [f.ethernet(here, f.BROADCAST, 0x0800, f.udp(mine, "255.255.255.255", (67, 68), offer))]


def internet_attacks(own: SeenVM, victim: SeenVM) -> Iterator[tuple[str, list[bytes]]]:
    """The same on the VLAN that all share, and what may be tried by way of its gateway and its DHCP server."""
    here, there, mark = own.macs["eth0"], victim.macs["eth0"], b"ATTKMARK"
    mine, theirs = own.addresses["eth0"], victim.addresses["eth0"]
    targets = (f.BROADCAST, there, f.ALL_NODES)
    yield "broadcast", [f.ethernet(here, target, f.LOCAL_EXPERIMENT, mark) for target in targets]
    yield "unicast ip", [f.ethernet(here, target, 0x0800, f.echo(mine, theirs, mark)) for target in targets]
    yield (
        "by the gateway",
        [f.ethernet(here, GATEWAY_MAC, 0x0800, f.echo(source, theirs, mark)) for source in (mine, "8.8.8.8")],
    )
    yield (
        "by the dhcp server",
        [
            f.ethernet(here, DHCP_MAC, 0x0800, packet)
            for packet in (f.echo(mine, theirs, mark), f.udp(mine, theirs, (68, 67), mark))
        ],
    )
    yield (
        "echo in the victim's name",
        [
            f.ethernet(source, peer_mac, 0x0800, f.echo(theirs, peer, mark))
            for source in (here, there)
            for peer_mac, peer in ((GATEWAY_MAC, GATEWAY), (DHCP_MAC, DHCP_SERVER))
        ],
    )
    yield (
        "arp",
        [
            f.arp(here, target, operation, (sender, address), (there, theirs), mark)
            for target in targets
            for operation in (1, 2)
            for sender in (here, there)
            for address in (mine, GATEWAY, theirs)
        ],
    )
    yield (
        "arp that sends answers to the victim",
        [f.arp(here, GATEWAY_MAC, operation, (there, mine), (GATEWAY_MAC, GATEWAY), mark) for operation in (1, 2)]
        + [f.ethernet(here, GATEWAY_MAC, 0x0800, f.echo(mine, GATEWAY, mark))],
    )
    yield "ipv6", [f.router_advertisement(here, mark)]
    yield (
        "tagged",
        [
            f.ethernet(here, target, kind, payload, *tags)
            for target in targets
            for kind, payload in ((f.LOCAL_EXPERIMENT, mark), (0x0800, f.echo(mine, theirs, mark)))
            for tags in (
                *(((tag, vlan),) for tag in (f.Q_TAG, f.S_TAG) for vlan in (0, INTERNET_VLAN, 100)),
                *(
                    ((f.Q_TAG, outer), (f.Q_TAG, inner))
                    for outer in (0, INTERNET_VLAN)
                    for inner in (INTERNET_VLAN, 100)
                ),
            )
        ],
    )
    yield (
        "dhcp server",
        [
            f.ethernet(here, f.BROADCAST, 0x0800, f.udp(source, "255.255.255.255", (67, 68), message))
            for source in (mine, DHCP_SERVER)
            for message in [f.dhcp(2, there, mark, wanted="10.60.7.66", server=source, reply=True)]
        ],
    )
    messages = [
        *(f.dhcp(kind, there, mark, wanted=theirs, server=DHCP_SERVER) for kind in (f.DISCOVER, f.REQUEST, f.DECLINE)),
        *(f.dhcp(kind, there, mark, ciaddr=theirs, server=DHCP_SERVER) for kind in (f.RELEASE, f.REQUEST, f.INFORM)),
        *(f.dhcp(kind, here, mark, ciaddr=theirs, wanted=theirs) for kind in (f.REQUEST, f.INFORM)),
        *(f.dhcp(kind, here, mark, wanted=theirs, server=DHCP_SERVER) for kind in (f.REQUEST, f.DECLINE)),
        *(f.dhcp(f.DISCOVER, client, mark, giaddr=theirs) for client in (here, there)),
        *(f.dhcp(f.DISCOVER, client, mark, flags=0x8000) for client in (here, there)),
    ]
    yield (
        "dhcp in the victim's name",
        [
            f.ethernet(here, target, 0x0800, f.udp(source, to, (68, 67), message))
            for message in messages
            for source, target, to in ((f.NOBODY, f.BROADCAST, "255.255.255.255"), (mine, DHCP_MAC, DHCP_SERVER))
        ],
    )


def control(vm: SeenVM, mark: bytes) -> bytes:
    """A ping to the internet's gateway, whose answer brings the mark back."""
    own, address = vm.macs["eth0"], vm.addresses["eth0"]
    return f.ethernet(own, GATEWAY_MAC, 0x0800, f.echo(address, GATEWAY, mark))


@pytest.fixture(scope="module")
def street(lab: Lab) -> Iterator[Street]:
    """Both tenants, all guests with their tools, and all frames made."""
    attacker, victim = Tenant(lab, "admin"), Tenant(lab, "student")
    attacks: dict[str, str] = {}
    ready: dict[str, list[bytes | str]] = {}
    for worker, own in attacker.vms.items():
        for other, target in victim.vms.items():
            made = [("eth1", *attack) for attack in link_attacks(own, victim, target)]
            made += [("eth0", *attack) for attack in internet_attacks(own, target)]
            for nic, attack, frames in made:
                mark = f"ATTK{len(attacks):04d}"
                attacks[mark] = f"{worker} {nic} -> {other}: {attack}"
                ready.setdefault(f"{worker}-{nic}", []).extend(
                    frame.replace(b"ATTKMARK", mark.encode()) for frame in frames
                )
    for number, (worker, vm) in enumerate(victim.vms.items()):
        ready[f"link-{worker}"] = [f.ethernet(vm.macs["eth1"], f.BROADCAST, f.LOCAL_EXPERIMENT, b"CTRL%04d" % number)]
        ready[f"internet-{worker}"] = [control(vm, b"CTRL001%d" % number)]
        ready[f"secret-{worker}"] = [control(vm, b"CTRL002%d" % number)]
    ready["inside"] = [f"{host} {port}" for host in HOSTS for port in (22, 6640, 6653)]
    ready["inside"] += [
        f"{host} {port}" for tenant in (attacker, victim) for vm in tenant.vms.values() for host, port in _vnc(vm)
    ]
    ready["doors"] = ["8.8.8.8 80", *ready["inside"]]
    ready["doors"] += [f"{at} {port}" for at in (GATEWAY, attacker.gateway) for port in (22, 53, 6640, 6653)]
    ready["doors"] += [f"{DHCP_SERVER} {port}" for port in (22, 53)]
    away = [*HOSTS, victim.gateway, victim.gateway.removesuffix("1") + "2"]
    ready["away"] = [*away, *(address for vm in victim.vms.values() for address in vm.addresses.values())]
    ready["near"] = [GATEWAY, attacker.gateway, "8.8.8.8"]
    intruder.offer_tools(lab, ready)
    for tenant in (attacker, victim):
        for guest in tenant.guests.values():
            intruder.equip(guest)
    yield Street(attacker, victim, attacks)
    for tenant in (attacker, victim):
        tenant.delete()


class Traffic:
    """The victim's own pings, over the link and to the internet, from both ends, for as long as an attack takes."""

    def __init__(self, victim: Tenant) -> None:
        self._targets = {
            worker: ["8.8.8.8", *(vm.addresses["eth1"] for name, vm in victim.vms.items() if name != worker)]
            for worker in victim.vms
        }
        self._guests = victim.guests
        for worker, targets in self._targets.items():
            for target in targets:
                assert self._guests[worker].reaches(target)
                self._guests[worker].run(
                    f"(ping -i 0.2 {target} >/tmp/ping.{target} 2>&1 & echo $! >/tmp/pid.{target})"
                )

    def losses(self) -> dict[str, int]:
        """Ends the pings; how many were not answered, by who asked whom. The last one may still be on its way."""
        lost = {}
        for worker, targets in self._targets.items():
            for target in targets:
                guest = self._guests[worker]
                guest.run(f"kill -INT $(cat /tmp/pid.{target})")
                wait_until(lambda g=guest, t=target: "packet loss" in g.run(f"cat /tmp/ping.{t}"), "the summary", 20)  # type: ignore[misc]
                said = guest.run(f"tail -n 3 /tmp/ping.{target}")
                sent, answered = map(int, re.findall(r"(\d+) packets transmitted, (\d+) packets received", said)[0])
                assert sent > 5, said
                lost[f"{worker} -> {target}"] = max(0, sent - answered - 1)
        return lost


def test_no_frame_arrives_in_another_tenants_slice(street: Street) -> None:
    traffic = Traffic(street.victim)
    for worker, guest in street.attacker.guests.items():
        assert intruder.send(guest, "eth1", f"{worker}-eth1") > 100
        assert intruder.send(guest, "eth0", f"{worker}-eth0") > 100
    # The listeners heard all the time: what the slice itself sends is the last that they hear.
    for worker, guest in street.victim.guests.items():
        intruder.send(guest, "eth1", f"link-{worker}")
        intruder.send(guest, "eth0", f"internet-{worker}")
    own = {"worker1": {"CTRL0001", "CTRL0010"}, "worker2": {"CTRL0000", "CTRL0011"}}
    for worker, guest in street.victim.guests.items():
        wait_until(lambda w=worker, g=guest: own[w] <= intruder.heard(g), f"the controls on {worker}", 30)  # type: ignore[misc]
    arrived = {worker: intruder.heard(guest) - own[worker] for worker, guest in street.victim.guests.items()}
    assert not [f"{street.attacks.get(mark, mark)}, heard on {at}" for at in own for mark in sorted(arrived[at])]
    assert not any(traffic.losses().values())


def test_a_flood_of_macs_stops_nobodys_traffic(street: Street, lab: Lab) -> None:
    traffic = Traffic(street.victim)
    for guest in street.attacker.guests.values():
        guest.run(f"perl /intruder/flood.pl eth1 {FLOOD_FRAMES} ATTK9999 >/tmp/flood 2>&1 &")
    for guest in street.attacker.guests.values():
        wait_until(lambda g=guest: "sent" in g.run("cat /tmp/flood"), "the end of the flood", scaled(90, 900))  # type: ignore[misc]
    known = lab.exec("worker1", ["ovs-appctl", "fdb/stats-show", "br-int"]).stdout
    evicted = re.findall(r"evicted MAC entries *: *(\d+)", known)
    assert int(*evicted) > 0, known
    assert not any(traffic.losses().values())
    assert not any("ATTK9999" in intruder.heard(guest) for guest in street.victim.guests.values())


def test_a_switch_that_has_forgotten_all_macs_sends_nothing_to_others(street: Street, lab: Lab) -> None:
    """What a flood is for: frames to a MAC that is not known go to every port of the VLAN."""
    for worker, guest in street.victim.guests.items():
        for _ in range(5):
            for host in ("worker1", "worker2", "network"):
                lab.exec(host, ["ovs-appctl", "fdb/flush", "br-int"])
            intruder.send(guest, "eth0", f"secret-{worker}")
    for number, (worker, guest) in enumerate(street.victim.guests.items()):
        mark = f"CTRL002{number}"
        wait_until(lambda g=guest, m=mark: m in intruder.heard(g), f"the answer on {worker}", 20)  # type: ignore[misc]
    for guest in street.attacker.guests.values():
        assert not any(mark.startswith("CTRL") for mark in intruder.heard(guest))


def test_the_victim_gets_its_address_whatever_others_told_the_dhcp_server(street: Street, lab: Lab) -> None:
    """The attacks above asked for, gave back and declined its address with its MAC."""
    log = lab.exec("network", ["cat", "/tmp/dnsmasq_vlan400.log"]).stdout
    assert "disabling DHCP static address" not in log
    assert "DHCPRELEASE" not in log
    for guest in street.victim.guests.values():
        assert guest.succeeds("udhcpc -i eth0 -n -q -t 10 -T 1 -s /etc/udhcpc.script")
        assert guest.addresses()["eth0"] == guest.vm.addresses["eth0"]
        assert guest.reaches("8.8.8.8")


@pytest.fixture
def doors_ajar(lab: Lab) -> Iterator[None]:
    """Open vSwitch listens on the hosts' addresses, as where an operator has it managed from elsewhere."""
    switches = ("worker1", "worker2", "network")
    remote = ("ovs-appctl", "-t", "ovsdb-server")
    try:
        for host in switches:
            lab.exec(host, [*remote, "ovsdb-server/add-remote", "ptcp:6640"])
            lab.exec(host, ["ovs-vsctl", "set-controller", "br-int", "ptcp:6653"])
        yield
    finally:
        for host in switches:
            lab.exec(host, ["ovs-vsctl", "del-controller", "br-int"])
            lab.exec(host, [*remote, "ovsdb-server/remove-remote", "ptcp:6640"])


@pytest.mark.usefixtures("doors_ajar")
def test_no_way_leads_to_another_slice_or_to_the_clouds_hosts(street: Street, lab: Lab) -> None:
    """Doors that are open from inside the cloud, tried by the default gateway, by the link's and by the DHCP server."""
    doors = [f"{host} {port}" for host in HOSTS[:3] for port in (22, 6640, 6653)]
    doors += [f"{host} {port}" for vm in street.victim.vms.values() for host, port in _vnc(vm)]
    assert lab.run(["sh", "-c", _ALL_OPEN], input="".join(f"{door}\n" for door in doors)).stdout.count("open") == len(
        doors
    )
    with ThreadPoolExecutor() as pool:
        for _ in pool.map(partial(_try_all_ways, street.attacker.gateway), street.attacker.guests.values()):
            pass


def _try_all_ways(own_gateway: str, guest: Guest) -> None:
    assert intruder.open_doors(guest, "doors") == ["8.8.8.8:80"]
    assert intruder.answering(guest, "away") == []
    for gateway, nic in ((own_gateway, "eth1"), (GATEWAY, "eth0"), (DHCP_SERVER, "eth0")):
        route = f"while read -r to; do ip route %s $to/32 via {gateway} dev {nic} onlink; done </intruder/away"
        assert guest.succeeds(route % "replace")
        assert intruder.open_doors(guest, "inside") == []
        assert intruder.answering(guest, "away") == []
        assert guest.succeeds(route % "del")
    assert intruder.answering(guest, "near") == sorted([GATEWAY, own_gateway, "8.8.8.8"])


_ALL_OPEN = """while read -r host port; do
    timeout 3 bash -c "exec 3<>/dev/tcp/$host/$port" && echo open || echo "closed: $host $port"
done"""


def _vnc(vm: SeenVM) -> list[tuple[str, str]]:
    return re.findall(r"VNC ([\d.]+):(\d+)", vm.text)
