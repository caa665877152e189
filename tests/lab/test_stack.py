"""Guests' frames never reach a host's own IP stack, and `prove` finds each missing barrier.

Each attack comes from inside a guest, on VLAN 400 and on a link, with the network node apart and as a worker. Then the
barriers are removed by hand, and the same frames arrive: so the earlier test did not lose them.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.names import INTERNET_GATEWAY_MAC
from lab import Lab
from tests.lab.test_drift import cli
from tests.support.lab import frames as f
from tests.support.lab import intruder
from tests.support.lab.visitor import HOSTS, Guest, Menu, SeenVM, empty_database, wait_until
from tests.support.scale import scaled

pytestmark = [pytest.mark.lab, pytest.mark.torture]

MANAGER, PORT = "10.0.10.250", 5555
ALL_SYSTEMS, ALL_SYSTEMS_MAC = "224.0.0.1", "01:00:5e:00:00:01"

ROUNDS = scaled(1, 200)
FRAGMENT_BYTES = 1 << 18

_LISTEN = f"""
import socket
wire = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
wire.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
wire.bind(("::", {PORT}))
print("ready", flush=True)
while True:
    print(wire.recv(2048)[:8].decode(errors="replace"), flush=True)
"""
_OPEN = """nft delete table inet cloud-repositorio-slice-{slice_id}
for tap in {taps}; do
  sysctl -q -w net.ipv6.conf.$tap.disable_ipv6=0 net.ipv4.conf.$tap.rp_filter=0
  ip link set dev $tap addrgenmode eui64 arp on
done"""


class Listener:
    """A program on a host that receives every UDP packet to one port, for any address."""

    def __init__(self, lab: Lab, host: str, log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self._process = lab.popen_in(host, ["python3", "-c", _LISTEN], stdout=output, stdin=subprocess.DEVNULL)
        wait_until(lambda: "ready" in log.read_text(), f"the listener on {host}", 20)

    def received(self) -> set[str]:
        return set(re.findall(r"(?:ATTK|CTRL)\d{4}", self._log.read_text()))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@dataclass
class AttackScene:
    """A running slice with a guest on each of its hosts, one of which attacks its host."""

    lab: Lab
    database: Path
    slice_id: int
    vms: Mapping[str, SeenVM]
    guest: Guest
    listener: Listener

    @property
    def host(self) -> str:
        return self.guest.vm.worker

    @property
    def address(self) -> str:
        return next(address for address, name in HOSTS.items() if name == self.host)

    def tap(self, nic: str) -> str:
        return f"tap_{self.guest.vm.vm_id}_{nic}"

    def open(self) -> None:
        """Remove the barriers, as another root user of the host might."""
        taps = " ".join(self.tap(nic) for nic in ("eth0", "eth1"))
        self.lab.exec(self.host, ["sh", "-c", _OPEN.format(slice_id=self.slice_id, taps=taps)])

    def namespaces(self) -> list[str]:
        names = self.lab.exec("network", ["ip", "netns"]).stdout.splitlines()
        ours = [name.split()[0] for name in names if name.startswith("ns-")]
        assert len(ours) >= 3
        return ours

    def repair(self) -> str:
        menu = Menu(self.lab, database=self.database)
        shown = menu.choose(11, self.slice_id)
        menu.close()
        return shown

    def prove(self) -> tuple[int, str]:
        return cli(self.lab, "prove", database=self.database)


def database_of(lab: Lab, home: Path, shape: str) -> Path:
    """Return a cloud of three hosts, or of two, one of which is a worker and the network node."""
    if shape == "apart":
        return lab.database
    together = {"workers_list": ["10.0.10.3", "10.0.10.2"], "next_vm_id": 7000}
    return empty_database(lab, home / "together.yaml", lambda record: record.update(together))


def forged(scene_address: str, tap_mac: str, source: str, own: str, mark: bytes) -> list[bytes]:
    """Yield UDP packets to the guest's host with several senders: unicast, broadcast, multicast, and IPv6."""
    others = (MANAGER, *(address for address in HOSTS if address != scene_address), own, "8.8.8.8")
    ports = (PORT, PORT)
    packets = [(tap_mac, f.udp(name, scene_address, ports, mark)) for name in others]
    packets += [(f.BROADCAST, f.udp(name, "255.255.255.255", ports, mark)) for name in (f.NO_ADDRESS, own, MANAGER)]
    packets += [(f.BROADCAST, f.udp(MANAGER, "10.0.10.255", ports, mark))]
    packets += [(ALL_SYSTEMS_MAC, f.udp(name, ALL_SYSTEMS, ports, mark)) for name in (f.NO_ADDRESS, own, MANAGER)]
    frames = [f.ethernet(source, target, 0x0800, packet) for target, packet in packets]
    return [
        *frames,
        f.udp6(source, f.ALL_NODES, "fe80::bad", "ff02::1", ports, mark),
        f.router_advertisement(source, mark),
    ]


@pytest.fixture(scope="module", params=["apart", "together"])
def scene(lab: Lab, home: Path, request: pytest.FixtureRequest) -> Iterator[AttackScene]:
    database = database_of(lab, home, request.param)
    menu = Menu(lab, database=database)
    slice_id = menu.create_slice("attacker")
    one, two = (menu.add_vm(slice_id, name, 1, internet=True) for name in ("one", "two"))
    menu.link(slice_id, one, "eth1", two, "eth1")
    menu.deploy(slice_id)
    vms = {vm.worker: vm for vm in menu.topology(slice_id).values()}
    host = {"apart": "worker1", "together": "network"}[request.param]
    vm = vms[host]
    address = next(address for address, name in HOSTS.items() if name == host)
    ready: dict[str, list[bytes | str]] = {}
    for number, nic in enumerate(("eth0", "eth1")):
        tap_mac = lab.exec(host, ["cat", f"/sys/class/net/tap_{vm.vm_id}_{nic}/address"]).stdout.strip()
        for kind in ("ATTK", "CTRL"):
            mark = f"{kind}000{number}".encode()
            ready[f"{kind}-{nic}"] = list(forged(address, tap_mac, vm.macs[nic], vm.addresses[nic], mark))
    fragments = [f.first_fragment(vm.addresses["eth0"], "8.8.8.8", number) for number in range(1, 101)]
    ready["fragments"] = [f.ethernet(vm.macs["eth0"], INTERNET_GATEWAY_MAC, 0x0800, part) for part in fragments]
    ready["doors"] = [f"{MANAGER} 22", *(f"{at} {port}" for at in HOSTS for port in (22, 5901, 5902))]
    ready["away"] = [MANAGER, *HOSTS]
    intruder.offer_tools(lab, ready)
    with ExitStack() as stack:
        guest = Guest(lab, slice_id, vm)
        stack.callback(guest.console.close)
        intruder.equip(guest)
        listener = Listener(lab, host, home / f"heard-{request.param}")
        stack.callback(listener.close)
        yield AttackScene(lab, database, slice_id, vms, guest, listener)
    menu.delete(slice_id)
    menu.close()


def test_no_frame_of_a_guest_reaches_a_program_of_its_host(scene: AttackScene) -> None:
    for _ in range(ROUNDS):
        for nic in ("eth0", "eth1"):
            assert intruder.send(scene.guest, nic, f"ATTK-{nic}") > 10
    scene.open()
    try:
        status, said = scene.prove()
        assert status == 1
        for nic in ("eth0", "eth1"):
            assert f"the host speaks ARP on {scene.tap(nic)}" in said
            assert f"IPv6 on {scene.tap(nic)}" in said
            assert f"{scene.tap(nic)} has no reverse path filter" in said
            assert f"the host takes a packet to {scene.address} from {scene.tap(nic)}" in said
        assert "are not dropped before the host's IP stack" in said
        for nic in ("eth0", "eth1"):
            intruder.send(scene.guest, nic, f"CTRL-{nic}")
        wait_until(lambda: scene.listener.received() >= {"CTRL0000", "CTRL0001"}, "the frames of the control", 20)
        assert scene.listener.received() == {"CTRL0000", "CTRL0001"}
    finally:
        shown = scene.repair()
    assert "TAPs" in shown, shown
    assert scene.prove()[0] == 0, scene.prove()[1]
    assert "[]" in scene.lab.exec(scene.host, ["ip", "-j", "neigh", "show", "dev", scene.tap("eth0")]).stdout


def test_no_host_answers_arp_or_routes_for_a_guest(scene: AttackScene) -> None:
    guest, hosts = scene.guest, (*HOSTS, MANAGER)
    for nic in ("eth0", "eth1"):
        guest.run("; ".join(f"ip route replace {host}/32 dev {nic}" for host in hosts))
        guest.run(f"({' '.join(f'ping -c 1 -W 1 {host} &' for host in hosts)} wait) >/dev/null")
        known = [line for line in guest.run("ip neigh show").splitlines() if line.startswith(hosts)]
        assert len([line for line in known if f" dev {nic} " in line]) == len(hosts), known  # it has asked
        assert not [line for line in known if "lladdr" in line]
    guest.run("; ".join(f"ip route del {host}/32" for host in hosts))
    assert intruder.answering(guest, "away") == []
    assert intruder.open_doors(guest, "doors") == []


def test_a_router_advertisement_gives_no_host_and_no_namespace_an_address_or_a_way(scene: AttackScene) -> None:
    for nic in ("eth0", "eth1"):
        intruder.send(scene.guest, nic, f"ATTK-{nic}")
    for host in {*HOSTS.values()}:
        ways = scene.lab.exec(host, ["ip", "-6", "route", "show", "table", "all"]).stdout
        assert "default" not in ways, (host, ways)
        assert "tap_" not in ways, (host, ways)
        assert "gw_vlan" not in ways, (host, ways)
    for name in scene.namespaces():
        assert scene.lab.exec("network", ["ip", "-n", name, "-6", "addr"]).stdout == "", name
        assert scene.lab.exec("network", ["ip", "-n", name, "-6", "route"]).stdout == "", name


def test_no_guest_fills_the_memory_for_fragments_that_all_share(scene: AttackScene) -> None:
    def waiting() -> int:
        said = scene.lab.exec("network", ["grep", "^FRAG:", "/proc/net/sockstat"]).stdout
        return int(re.findall(r"inuse (\d+)", said)[0])

    wait_until(lambda: waiting() == 0, "the end of fragments that were sent before", 60)  # ipfrag_time is 30 s
    assert intruder.send(scene.guest, "eth0", "fragments") == 100
    assert scene.guest.reaches("8.8.8.8")
    assert waiting() == 0
    hole = f"priority=999,in_port={scene.tap('eth0')},ip"
    scene.lab.exec(scene.host, ["ovs-ofctl", "add-flow", "br-int", f"{hole},actions=NORMAL"])
    intruder.send(scene.guest, "eth0", "fragments")  # now the fragments reach the network node, and wait there
    wait_until(lambda: waiting() > 0, "fragments at the network node", 20)
    scene.lab.exec(scene.host, ["ovs-ofctl", "--strict", "del-flows", "br-int", hole])
    for name in scene.namespaces():
        argv = ["ip", "netns", "exec", name, "cat", "/proc/sys/net/ipv4/ipfrag_high_thresh"]
        assert int(scene.lab.exec("network", argv).stdout) == FRAGMENT_BYTES, name


def test_vnc_listens_on_the_management_address_only(scene: AttackScene) -> None:
    for host in scene.vms:
        address = next(address for address, name in HOSTS.items() if name == host)
        sockets = scene.lab.exec(host, ["ss", "-Hltnp"]).stdout.splitlines()
        listening = [line.split()[3] for line in sockets if "qemu" in line]
        assert listening
        assert {socket.rpartition(":")[0] for socket in listening} == {address}
