"""Attacks on the network node's shared parts: its table of connections, its neighbours, names in /tmp.

A namespace on the network node stands for a guest: it has a port of br-int on a VLAN, and an address there.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import pytest

from core.names import INTERNET_GATEWAY_MAC, dhcp_namespace, router_namespace
from lab import Lab
from network import firewall, neighbours
from tests.support.lab import frames as f
from tests.support.lab.visitor import Menu, wait_until
from tests.support.paths import ROOT
from tests.support.scale import scaled

pytestmark = [pytest.mark.lab, pytest.mark.torture]

INTERNET = "8.8.8.8"
ALLOWED = "[172.16.3.0/24, 10.0.10.0/24]"
SITE = ("169.254.169.254", "172.16.3.4", "192.168.200.1", "100.64.0.9", "198.18.0.1")
"""Addresses of the operator's site, for which the lab's internet answers."""

# Sends packets that each begin a connection, of several kinds, from several guests, without waiting for answers. The
# port is closed: half-open connections would keep the internet's web page busy for other tests.
_BEGIN = r"""import socket, struct, sys
kind, target, count, *sources = sys.argv[1:]
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
def packet(source, number):
    there, here = socket.inet_aton(target), socket.inet_aton(source)
    port = 1024 + number % 60000
    if kind == "icmp":
        number, body = 1, struct.pack("!BBHHH", 8, 0, 0, port, 1)
        body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    elif kind == "udp":
        number, body = 17, struct.pack("!HHHH", port, 9, 8, 0)
    else:
        flags = {"syn": 2, "ack": 16}[kind]
        number, body = 6, struct.pack("!HHIIBBHHH", port, 9, 1, flags - 2, 80, flags, 8192, 0, 0)
        sum_ = checksum(here + there + struct.pack("!BBH", 0, 6, len(body)) + body)
        body = body[:16] + struct.pack("!H", sum_) + body[18:]
    return struct.pack("!BBHHHBBH4s4s", 69, 0, 20 + len(body), 0, 0, 64, number, 0, here, there) + body
for number in range(int(count)):
    for source in sources:
        raw.sendto(packet(source, number), (target, 0))
"""

# Connects and closes, as many at a time as possible; prints the number of connections within these seconds.
_CONNECT_AND_CLOSE = r"""import select, socket, sys, time
target, seconds, source = sys.argv[1:]
end, opened = time.monotonic() + float(seconds), 0
while time.monotonic() < end:
    wires, waiting = [socket.socket() for _ in range(60)], select.poll()
    for wire in wires:
        wire.setblocking(False); wire.bind((source, 0)); wire.connect_ex((target, 80))
        waiting.register(wire, select.POLLOUT)
    time.sleep(1)
    opened += sum(events == select.POLLOUT for _, events in waiting.poll(0))
    for wire in wires: wire.close()
print(opened)
"""


@dataclass
class Standin:
    """A namespace that stands for guests of a VLAN, with their `addresses` and their `gateway`."""

    lab: Lab
    name: str
    vlan: int
    addresses: tuple[str, ...]
    gateway: str
    host: str = "network"

    def __enter__(self) -> Self:
        port = f"port_{self.name}"
        lines = [
            f"ovs-vsctl add-port br-int {port} tag={self.vlan} -- set interface {port} type=internal",
            f"ip netns add {self.name}",
            f"ip link set {port} netns {self.name}",
            # A constant MAC, because the gateway remembers the MACs of addresses.
            f"ip -n {self.name} link set {port} address 06:01:00:00:{self.vlan >> 8:02x}:{self.vlan & 255:02x}",
            *(f"ip -n {self.name} addr add {address}/24 dev {port}" for address in self.addresses),
            f"ip -n {self.name} link set {port} up",
            f"ip -n {self.name} route add default via {self.gateway}",
        ]
        self.lab.exec(self.host, ["sh", "-ec", "\n".join(lines)])
        if self.host == "network":  # elsewhere the flows of a worker let no answer in
            wait_until(lambda: self.reaches(self.gateway), f"the gateway of {self.name}", 20)
        return self

    def __exit__(self, *_: object) -> None:
        gone = f"ovs-vsctl del-port br-int port_{self.name}; ip netns del {self.name}"
        self.lab.exec(self.host, ["sh", "-c", gone])

    def argv(self, *argv: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *argv]

    def run(self, *argv: str, seconds: float = 60) -> str:
        return self.lab.exec("network", self.argv(*argv), check=False, timeout=seconds).stdout

    def reaches(self, address: str) -> bool:
        ping = self.argv("busybox", "ping", "-c", "1", "-W", "1", address)
        return self.lab.exec("network", ping, check=False).returncode == 0


@dataclass
class Neighbourhood:
    """A deployed slice: one VM on the internet VLAN, and two links between its VMs."""

    slice_id: int
    vlans: tuple[int, int]


@pytest.fixture(scope="module")
def town(lab: Lab) -> Iterator[Neighbourhood]:
    menu = Menu(lab)
    slice_id = menu.create_slice("shared")
    one, two = menu.add_vm(slice_id, "one", 2, internet=True), menu.add_vm(slice_id, "two", 2)
    vlans = tuple(menu.link(slice_id, one, nic, two, nic) for nic in ("eth1", "eth2"))
    menu.deploy(slice_id)
    yield Neighbourhood(slice_id, (vlans[0], vlans[1]))
    menu.delete(slice_id)
    menu.close()


@pytest.fixture
def guests(lab: Lab, town: Neighbourhood) -> Iterator[Standin]:
    """Yield six guests of the internet VLAN, the first of which attacks no one."""
    assert town.slice_id, "its VM has the VLAN up"
    addresses = tuple(f"10.60.7.{host}" for host in range(231, 237))
    with Standin(lab, "guests", 400, addresses, "10.60.7.1") as standin:
        yield standin


def _connections(lab: Lab) -> int:
    return int(lab.exec("network", ["cat", "/proc/sys/net/netfilter/nf_conntrack_count"]).stdout)


@pytest.mark.parametrize("kind", ["syn", "ack", "udp", "icmp"])
def test_no_guest_holds_more_connections_than_its_part(lab: Lab, guests: Standin, kind: str) -> None:
    """Send 3,000 packets of each guest, each with a new connection; 30,000 in the long version."""
    _, *attackers = guests.addresses
    before = _connections(lab)
    guests.run("python3", "-c", _BEGIN, kind, INTERNET, str(scaled(3_000, 30_000)), *attackers)
    assert _connections(lab) - before <= len(attackers) * (firewall.NEW_BURST + 60)
    assert guests.reaches(INTERNET), "a peaceful guest keeps its access"


def test_connections_that_are_closed_are_counted_too(lab: Lab, guests: Standin) -> None:
    _, attacker, *_ = guests.addresses
    seconds = scaled(6, 200)
    before = _connections(lab)
    opened = int(
        guests.run("python3", "-c", _CONNECT_AND_CLOSE, INTERNET, str(seconds), attacker, seconds=seconds + 60)
    )
    assert opened > 0, "a guest has connections after a pause, or at least some of them"
    assert opened <= firewall.NEW_BURST + firewall.NEW_PER_SECOND * (seconds + 2)
    assert _connections(lab) - before <= firewall.most_connections(120)
    assert guests.reaches(INTERNET), "a peaceful guest keeps its access"


# --- destinations -----------------------------------------------------------------------------------------------------


@pytest.fixture
def site(lab: Lab) -> Iterator[tuple[str, ...]]:
    """Answer for private and special addresses behind the uplink, which the node itself reaches."""
    change = "for each in %s; do ip addr %s $each/32 dev lo; done"
    lab.exec("internet", ["sh", "-c", change % (" ".join(SITE), "add")])
    for address in SITE:
        assert lab.exec("network", ["busybox", "ping", "-c", "1", "-W", "2", address], check=False).returncode == 0
    yield (*SITE, "10.0.10.254")
    lab.exec("internet", ["sh", "-c", change % (" ".join(SITE), "del")])


@pytest.fixture
def allowed(lab: Lab, town: Neighbourhood) -> Iterator[None]:
    """Allow one network, and the network of the cloud's own hosts."""
    text = lab.database.read_text()
    assert "  dns: 8.8.8.8\n" in text
    lab.database.write_text(text.replace("  dns: 8.8.8.8\n", f"  dns: 8.8.8.8\n  allow: {ALLOWED}\n"))
    _repair(lab, town)
    yield
    text = lab.database.read_text()
    lab.database.write_text(re.sub(r"^  allow:(\n  - .*| .*)*\n", "", text, flags=re.MULTILINE))
    _repair(lab, town)


def _repair(lab: Lab, town: Neighbourhood) -> None:
    menu = Menu(lab)
    shown = menu.choose(11, town.slice_id)
    assert "Error" not in shown, shown
    menu.close()


def test_guests_reach_the_internet_and_not_the_site_around_it(guests: Standin, site: tuple[str, ...]) -> None:
    assert guests.reaches(INTERNET)
    assert [address for address in site if guests.reaches(address)] == []


@pytest.mark.usefixtures("allowed")
def test_allowed_networks_are_reached_and_the_clouds_hosts_are_not(guests: Standin, site: tuple[str, ...]) -> None:
    assert {address for address in site if guests.reaches(address)} == {"172.16.3.4", "10.0.10.254"}
    assert [host for host in ("10.0.10.1", "10.0.10.2", "10.0.10.3") if guests.reaches(host)] == []


# --- names in /tmp ----------------------------------------------------------------------------------------------------

# Takes all names of logs, every second one as a dangling link, as a user without rights.
_TAKE_NAMES = """mkdir /tmp/links; cd /tmp/links
for vlan in $(seq 100 2 2099); do echo /var/tmp/dnsmasq_vlan$vlan.log; done | xargs ln -s -t . && mv * /tmp
cd /tmp; rmdir links; for vlan in $(seq 101 2 2099); do echo dnsmasq_vlan$vlan.log; done | xargs mkdir"""
_GIVE_NAMES_BACK = "rm -rf /tmp/dnsmasq_vlan*.log"


@pytest.fixture
def taken_names(lab: Lab, town: Neighbourhood) -> Iterator[None]:
    """Take all names of logs on the network node as an ordinary user; /tmp is sticky, /var/tmp is open to all."""
    lab.exec("network", ["sh", "-c", _GIVE_NAMES_BACK])
    lab.exec("network", ["sh", "-ec", _TAKE_NAMES], user="ubuntu")
    yield
    lab.exec("network", ["sh", "-c", _GIVE_NAMES_BACK])
    _repair(lab, town)


@pytest.mark.usefixtures("taken_names")
def test_foreign_names_prevent_no_deployment_and_no_foreign_link_is_followed(lab: Lab, menu: Menu) -> None:
    before = lab.exec("network", ["find", "/tmp", "-name", "dnsmasq_vlan*", "-printf", "%f %y %u %l\n"]).stdout
    slice_id = menu.create_slice("names")
    one, two = menu.add_vm(slice_id, "one", 2), menu.add_vm(slice_id, "two", 2)
    vlans = [menu.link(slice_id, one, nic, two, nic) for nic in ("eth1", "eth2")]
    menu.deploy(slice_id)
    logs = [f"/run/ns-dhcp-vlan{vlan}/log" for vlan in vlans]
    assert lab.exec("network", ["ls", *logs]).stdout.split() == sorted(logs)
    doctor = lab.run([sys.executable, str(ROOT / "cli.py"), "--database", str(lab.database), "doctor"], check=False)
    assert all(f"dnsmasq_vlan{vlan}.log is not ours" in doctor.stdout for vlan in vlans), doctor.stdout
    menu.delete(slice_id)
    assert "dnsmasq_vlan" not in lab.exec("network", ["ls", "/var/tmp"]).stdout
    after = lab.exec("network", ["find", "/tmp", "-name", "dnsmasq_vlan*", "-printf", "%f %y %u %l\n"]).stdout
    assert sorted(before.splitlines()) == sorted(after.splitlines())


def test_a_link_to_a_log_goes_with_its_vlan_and_one_that_is_left_is_found(lab: Lab, menu: Menu) -> None:
    """Leave one link of a forgotten slice, and an older version's log, a file of dnsmasq's user."""
    slice_id = menu.create_slice("links")
    one, two = menu.add_vm(slice_id, "one", 1), menu.add_vm(slice_id, "two", 1)
    vlan = menu.link(slice_id, one, "eth1", two, "eth1")
    menu.deploy(slice_id)
    link, left = f"/tmp/dnsmasq_vlan{vlan}.log", "/tmp/dnsmasq_vlan2099.log"
    assert lab.exec("network", ["readlink", link]).stdout.strip() == f"/run/ns-dhcp-vlan{vlan}/log"
    lab.exec("network", ["ln", "-s", "/run/ns-dhcp-vlan2099/log", left])
    lab.exec("network", ["sh", "-c", 'rm "$1"; echo older >"$1"; chown dnsmasq "$1"', "sh", link])
    menu.delete(slice_id)
    assert lab.exec("network", ["ls", link], check=False).returncode == 2
    doctor = [sys.executable, str(ROOT / "cli.py"), "--database", str(lab.database), "doctor"]
    assert f"{left}" in lab.run(doctor, check=False).stdout
    lab.run([*doctor, "--fix", "--yes"], check=False)
    assert lab.exec("network", ["ls", left], check=False).returncode == 2


# --- neighbours -------------------------------------------------------------------------------------------------------

_SEND = r"""import socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); wire.bind((sys.argv[1], 0))
for line in sys.stdin: wire.send(bytes.fromhex(line))
"""
_ASK_ALL = """import socket, sys
wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for host in range(3, 255): wire.sendto(b"?", (sys.argv[1] + str(host), 9))
"""


OWN = 77
"""An address that a guest has chosen itself."""


def _subnet(vlan: int) -> str:
    return f"192.168.{vlan % 256}."


def _lies(vlan: int, macs: dict[int, str]) -> Iterator[bytes]:
    """Yield ARP, pings and DHCP requests in the name of all addresses, to the gateway and the DHCP server."""
    for number in set(range(3, 255)) - {OWN}:
        mac, address = f"06:00:00:00:00:{number:02x}", f"{_subnet(vlan)}{number}"
        for host, theirs in macs.items():
            target = f"{_subnet(vlan)}{host}"
            yield f.arp(mac, f.BROADCAST, 1, (mac, address), ("00:00:00:00:00:00", target), b"")
            yield f.ethernet(mac, theirs, 0x0800, f.echo(address, target, b""))
        asked = f.dhcp(f.DISCOVER, mac, b"")
        yield f.ethernet(mac, f.BROADCAST, 0x0800, f.udp(f.NO_ADDRESS, "255.255.255.255", (68, 67), asked))


def _known(lab: Lab, namespace: str) -> int:
    return len(lab.exec("network", ["ip", "-n", namespace, "neigh", "show", "nud", "all"]).stdout.splitlines())


def _mac(lab: Lab, namespace: str, port: str) -> str:
    return lab.exec(
        "network", ["ip", "netns", "exec", namespace, "cat", f"/sys/class/net/{port}/address"]
    ).stdout.strip()


@pytest.fixture
def insider(lab: Lab, town: Neighbourhood) -> Iterator[Standin]:
    """Yield a guest with an address of its own choice on the first link."""
    own = _subnet(town.vlans[0])
    with Standin(lab, "insider", town.vlans[0], (f"{own}{OWN}",), f"{own}1") as standin:
        yield standin


def test_no_guest_makes_the_network_node_know_many_neighbours(
    lab: Lab, town: Neighbourhood, insider: Standin, guests: Standin
) -> None:
    here, there = town.vlans
    router, server = router_namespace(town.slice_id), dhcp_namespace(here)
    macs = {1: _mac(lab, router, f"gw_vlan{here}"), 2: _mac(lab, server, f"dhcp_v{here}")}
    lies = "".join(f"{frame.hex()}\n" for frame in _lies(here, macs))
    for _ in range(scaled(1, 20)):
        insider.run("python3", "-c", _ASK_ALL, _subnet(there))
        lab.exec("network", insider.argv("python3", "-c", _SEND, "port_insider"), input=lies)
        lab.exec("network", ["ip", "-n", guests.name, "neigh", "flush", "all"])
        assert guests.reaches(INTERNET), "others find their gateway while the attack goes on"
    allowed = neighbours.bounds(town.slice_id, dict.fromkeys(town.vlans, 2), town.vlans)
    for namespace in (router, server, dhcp_namespace(there)):
        assert _known(lab, namespace) <= 2 * allowed[namespace], namespace
    assert insider.reaches(insider.gateway), "an address of one's own, used before the attack, is still known"


def test_bounds_of_neighbours_that_are_gone_are_found_and_brought_back(lab: Lab, town: Neighbourhood) -> None:
    router = router_namespace(town.slice_id)
    for family in ("arp", "ip"):
        gone = ["ip", "netns", "exec", router, "nft", "delete", "table", family, neighbours.TABLE]
        lab.exec("network", gone)
        doctor = [sys.executable, str(ROOT / "cli.py"), "--database", str(lab.database), "doctor"]
        what = f"{router} has no limit for the neighbours that guests make it remember"
        assert what in lab.run(doctor, check=False).stdout
        _repair(lab, town)
        assert lab.run(doctor, check=False).returncode == 0


# --- the gateway's place ----------------------------------------------------------------------------------------------

# A broadcast ARP request of the gateway for its own address.
_AWAIT_GATEWAY = r"""import socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806)); wire.bind((sys.argv[1], 0x0806))
print("listens", flush=True)
while True:
    frame = wire.recv(2048)
    if frame[:6] == b"\xff" * 6 and frame[28:32] == frame[38:42] == socket.inet_aton(sys.argv[2]):
        print(frame[22:28].hex(":")); break
"""


def test_a_new_gateway_announces_its_place_to_all_switches(lab: Lab, town: Neighbourhood) -> None:
    """Listen on a worker whose switch does not know the gateway: its MAC is the same on each network node."""
    with Standin(lab, "listener", 400, ("10.60.7.240",), "10.60.7.1", "worker1") as standin:
        argv = standin.argv("timeout", "60", "python3", "-c", _AWAIT_GATEWAY, "port_listener", standin.gateway)
        listener = lab.popen_in("worker1", argv, stdout=subprocess.PIPE, text=True)
        assert listener.stdout
        assert listener.stdout.readline() == "listens\n"
        lab.exec("network", ["ip", "link", "set", "gw_vlan400", "down"])
        lab.exec("worker1", ["ovs-appctl", "fdb/flush", "br-int"])
        _repair(lab, town)
        assert listener.communicate(timeout=90)[0] == f"{INTERNET_GATEWAY_MAC}\n"
    known = lab.exec("worker1", ["ovs-appctl", "fdb/show", "br-int"]).stdout
    assert re.search(rf"400 +{INTERNET_GATEWAY_MAC}", known), known
