"""Attacks from inside guests, as root there, on another user's slice: on the same worker and on the other one."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial

import pytest

from lab import Lab
from shell.scripts import load
from tests.support.lab import frames as f
from tests.support.lab import intruder, visitor
from tests.support.lab.visitor import Guest, Menu, SeenVM, wait_until
from tests.support.scale import scaled

pytestmark = [pytest.mark.lab, pytest.mark.torture]

GATEWAY, GATEWAY_MAC = "10.60.7.1", "02:c1:0d:00:00:01"
DHCP_SERVER, DHCP_MAC = "10.60.7.2", "02:c1:0d:00:00:02"
INTERNET_VLAN = 400
LOG_BYTES = 1 << 17
HOSTS = ("10.0.10.1", "10.0.10.2", "10.0.10.3", "10.0.10.250")
SWITCHES = tuple(visitor.HOSTS.values())
OTHER_USER = "daemon"
KNOWN_MACS = scaled(1_000, 8_192)
"""Size of the switch's table in the long flood: Open vSwitch's default (ovs-vswitchd.conf.db(5))."""
FLOOD_FRAMES = scaled(2_000, 200_000)


class Deployed:
    """A user's slice: two linked VMs with internet, one on each worker."""

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
        """Return the guests by worker."""
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
    """Two slices, and the name of each attack by its mark."""

    attacker: Deployed
    victim: Deployed
    attacks: dict[str, str]
    seen_by_other_user: str


def link_attacks(own: SeenVM, other: Deployed, victim: SeenVM) -> Iterator[tuple[str, list[bytes]]]:
    """Yield the attacks on one's own link VLAN; `MARK` in each is replaced by the attack's mark."""
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
    """Yield the attacks on the shared VLAN, and by its gateway and its DHCP server."""
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
            for source, target, to in ((f.NO_ADDRESS, f.BROADCAST, "255.255.255.255"), (mine, DHCP_MAC, DHCP_SERVER))
        ],
    )


def control(vm: SeenVM, mark: bytes) -> bytes:
    """Send a ping to the internet's gateway, whose answer brings the mark back."""
    own, address = vm.macs["eth0"], vm.addresses["eth0"]
    return f.ethernet(own, GATEWAY_MAC, 0x0800, f.echo(address, GATEWAY, mark))


@pytest.fixture(scope="module")
def street(lab: Lab) -> Iterator[Street]:
    """Yield both slices, with tools in all guests and all frames made."""
    with subprocess.Popen(
        lab.host_argv("worker1", ["python3", "-c", _WATCH], user=OTHER_USER),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as watch:
        attacker, victim = Deployed(lab, "admin"), Deployed(lab, "student")
        seen_by_other_user, _ = watch.communicate("", timeout=30)
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
        f"{host} {port}" for slice_ in (attacker, victim) for vm in slice_.vms.values() for host, port in _vnc(vm)
    ]
    ready["doors"] = ["8.8.8.8 80", *ready["inside"]]
    ready["doors"] += [f"{at} {port}" for at in (GATEWAY, attacker.gateway) for port in (22, 53, 6640, 6653)]
    ready["doors"] += [f"{DHCP_SERVER} {port}" for port in (22, 53)]
    away = [*HOSTS, victim.gateway, victim.gateway.removesuffix("1") + "2"]
    ready["away"] = [*away, *(address for vm in victim.vms.values() for address in vm.addresses.values())]
    own = attacker.vms["worker1"]
    ask = f.udp(f.NO_ADDRESS, "255.255.255.255", (68, 67), f.dhcp(f.DISCOVER, own.macs["eth1"], b"ATTK8888"))
    ready["asking"] = [f.ethernet(own.macs["eth1"], f.BROADCAST, 0x0800, ask)] * 2500
    ready["near"] = [GATEWAY, attacker.gateway, "8.8.8.8"]
    intruder.offer_tools(lab, ready)
    for slice_ in (attacker, victim):
        for guest in slice_.guests.values():
            intruder.equip(guest)
    yield Street(attacker, victim, attacks, seen_by_other_user)
    for slice_ in (attacker, victim):
        slice_.delete()


class Traffic:
    """The victim's own pings, over the link and to the internet, from both ends, during an attack."""

    def __init__(self, victim: Deployed) -> None:
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

    def losses(self) -> dict[str, float]:
        """End the pings and return the share without an answer, by guest and target.

        A missing answer counts only if a later one arrived. Pings on their way at the end do not count, so the test
        waits for some that were sent after the attack.
        """
        asking = [(self._guests[worker], target) for worker, targets in self._targets.items() for target in targets]
        later = {(guest.vm.vm_id, target): self._last(guest, target) + 10 for guest, target in asking}
        lost = {}
        for guest, target in asking:
            wait_until(lambda g=guest, t=target: self._last(g, t) > later[g.vm.vm_id, t], "answers", 30)  # type: ignore[misc]
            guest.run(f"kill $(cat /tmp/pid.{target})")
            answered = int(guest.run(f"grep 'bytes from' /tmp/ping.{target} | grep -vc DUP").split()[0])
            lost[f"{guest.vm.worker} -> {target}"] = 1 - answered / (self._last(guest, target) + 1)
        return lost

    @staticmethod
    def _last(guest: Guest, target: str) -> int:
        """Return the number of the last answered ping, counted from 0."""
        said = guest.run(f"grep 'bytes from' /tmp/ping.{target} | tail -n 1")
        return int(*re.findall(r"seq=(\d+)", said))


def test_no_frame_arrives_in_another_slice(street: Street) -> None:
    traffic = Traffic(street.victim)
    for worker, guest in street.attacker.guests.items():
        assert intruder.send(guest, "eth1", f"{worker}-eth1") > 100
        assert intruder.send(guest, "eth0", f"{worker}-eth0") > 100
    # The listeners ran all the time: the slice's own frames are their last ones.
    for worker, guest in street.victim.guests.items():
        intruder.send(guest, "eth1", f"link-{worker}")
        intruder.send(guest, "eth0", f"internet-{worker}")
    own = {"worker1": {"CTRL0001", "CTRL0010"}, "worker2": {"CTRL0000", "CTRL0011"}}
    for worker, guest in street.victim.guests.items():
        wait_until(lambda w=worker, g=guest: own[w] <= intruder.received(g), f"the controls on {worker}", 30)  # type: ignore[misc]
    arrived = {worker: intruder.received(guest) - own[worker] for worker, guest in street.victim.guests.items()}
    assert not [f"{street.attacks.get(mark, mark)}, heard on {at}" for at in own for mark in sorted(arrived[at])]
    assert not any(traffic.losses().values())


@pytest.fixture
def table_of_macs(lab: Lab) -> Iterator[None]:
    """Set a table of MACs that a flood fills in reasonable time."""
    for host in SWITCHES:
        lab.exec(host, ["ovs-vsctl", "set", "bridge", "br-int", f"other_config:mac-table-size={KNOWN_MACS}"])
    yield
    for host in SWITCHES:
        lab.exec(host, ["ovs-vsctl", "remove", "bridge", "br-int", "other_config", "mac-table-size"])


@pytest.mark.usefixtures("table_of_macs")
def test_a_flood_of_macs_stops_no_other_traffic(street: Street, lab: Lab) -> None:
    traffic = Traffic(street.victim)
    for guest in street.attacker.guests.values():
        guest.run(f"perl /intruder/flood.pl eth1 {FLOOD_FRAMES} ATTK9999 >/tmp/flood 2>&1 &")
    for guest in street.attacker.guests.values():
        wait_until(lambda g=guest: "sent" in g.run("cat /tmp/flood"), "the end of the flood", scaled(90, 1800))  # type: ignore[misc]
    known = lab.exec("worker1", ["ovs-appctl", "fdb/stats-show", "br-int"]).stdout
    evicted = re.findall(r"evicted MAC entries *: *(\d+)", known)
    assert int(*evicted) > 0, known
    assert not any(traffic.losses().values())
    assert not any("ATTK9999" in intruder.received(guest) for guest in street.victim.guests.values())


def test_a_switch_that_has_forgotten_all_macs_sends_nothing_to_others(street: Street, lab: Lab) -> None:
    """Empty the table, which is the aim of a flood: frames to an unknown MAC go to every port."""
    for worker, guest in street.victim.guests.items():
        for _ in range(5):
            for host in SWITCHES:
                lab.exec(host, ["ovs-appctl", "fdb/flush", "br-int"])
            intruder.send(guest, "eth0", f"secret-{worker}")
    for number, (worker, guest) in enumerate(street.victim.guests.items()):
        mark = f"CTRL002{number}"
        wait_until(lambda g=guest, m=mark: m in intruder.received(g), f"the answer on {worker}", 20)  # type: ignore[misc]
    for guest in street.attacker.guests.values():
        assert not any(mark.startswith("CTRL") for mark in intruder.received(guest))


def test_forged_dhcp_requests_do_not_cost_the_victim_its_address(street: Street, lab: Lab) -> None:
    """Restart the victim's DHCP client after the attacks in its name."""
    log = lab.exec("network", ["cat", "/tmp/dnsmasq_vlan400.log"]).stdout
    assert "disabling DHCP static address" not in log
    assert "DHCPRELEASE" not in log
    for guest in street.victim.guests.values():
        assert guest.succeeds("udhcpc -i eth0 -n -q -t 10 -T 1 -s /etc/udhcpc.script")
        assert guest.addresses()["eth0"] == guest.vm.addresses["eth0"]
        assert guest.reaches("8.8.8.8")


@pytest.fixture
def doors_ajar(lab: Lab) -> Iterator[None]:
    """Let Open vSwitch listen on the hosts' addresses, as with a remote manager."""
    remote = ("ovs-appctl", "-t", "ovsdb-server")
    try:
        for host in SWITCHES:
            lab.exec(host, [*remote, "ovsdb-server/add-remote", "ptcp:6640"])
            lab.exec(host, ["ovs-vsctl", "set-controller", "br-int", "ptcp:6653"])
        yield
    finally:
        for host in SWITCHES:
            lab.exec(host, ["ovs-vsctl", "del-controller", "br-int"])
            lab.exec(host, [*remote, "ovsdb-server/remove-remote", "ptcp:6640"])


@pytest.mark.usefixtures("doors_ajar")
def test_no_way_leads_to_another_slice_or_to_the_clouds_hosts(street: Street, lab: Lab) -> None:
    """Try doors that are open inside the cloud, by the default gateway, the link's and the DHCP server."""
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


# --- consoles ---------------------------------------------------------------------------------------------------------

# Prints until the end of its input what another user of the worker can read of processes.
_WATCH = """import glob, select, sys
seen = set()
while not select.select([sys.stdin], [], [], 0)[0]:
    for path in glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(path, errors="replace") as file: seen.add(file.read())
        except OSError: pass
print("\\n".join(seen))
"""

# RFC 6143, 7.1 and 7.2.2. TripleDES with one key three times is DES; VNC reverses the bits of each byte.
_VNC_LOGIN = """import socket, sys, warnings
warnings.simplefilter("ignore")
from cryptography.hazmat.primitives.ciphers import Cipher, modes
try: from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
except ImportError: from cryptography.hazmat.primitives.ciphers.algorithms import TripleDES
host, port, secret = sys.argv[1:]
server = socket.create_connection((host, int(port)), 10).makefile("rwb", buffering=0)
server.write(server.read(12))
kinds = server.read(server.read(1)[0])
assert list(kinds) == [2], kinds
server.write(bytes([2]))
key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in secret.encode().ljust(8, b"\\0")[:8])
answer = Cipher(TripleDES(key * 3), modes.ECB()).encryptor().update(server.read(16))
server.write(answer)
print(int.from_bytes(server.read(4), "big"))
"""


def _secret(vm: SeenVM) -> str:
    return str(re.findall(r"password (\w{8})", vm.text)[0])


def test_vnc_lets_the_owner_in_and_refuses_other_passwords(street: Street, lab: Lab) -> None:
    vms = [vm for slice_ in (street.attacker, street.victim) for vm in slice_.vms.values()]
    assert len({_secret(vm) for vm in vms}) == len(vms)
    own, other = street.victim.vms["worker1"], street.attacker.vms["worker1"]
    ((host, port),) = _vnc(own)
    for secret, answer in ((_secret(own), "0"), (_secret(other), "1"), ("", "1"), (_secret(own).swapcase(), "1")):
        assert lab.run([sys.executable, "-c", _VNC_LOGIN, host, port, secret]).stdout.strip() == answer, secret


MOMENTARY = {"grep", "ip", "mkdir", "mv", "ovs-ofctl", "ovs-vsctl", "qemu-img", "rm", "setpriv", "setsid", "ss"}
"""Programs of a deployment that live for some milliseconds; another user sees none, one or two of them by chance."""


def test_no_other_user_of_the_worker_sees_a_secret_or_reaches_a_console(street: Street, lab: Lab) -> None:
    programs = {line.partition("\0")[0] for line in street.seen_by_other_user.split("\n")}
    assert "qemu-system-x86_64" in programs
    assert len(programs & MOMENTARY) >= 3, "who only sees what stays has not looked well enough"
    for slice_ in (street.attacker, street.victim):
        vm = slice_.vms["worker1"]
        secret = _secret(vm)
        assert secret not in street.seen_by_other_user
        assert base64.b64encode(secret.encode()).decode() not in street.seen_by_other_user
        files = f"/home/ubuntu/vm_images/slice-{slice_.slice_id}/{vm.name}"
        for name in (".console", ".vnc", ".log", ".qemu", ".pid", "_img.qcow2"):
            look = ["test", "-r", f"{files}{name}"]
            assert lab.exec("worker1", look, user="ubuntu", check=False).returncode == 0, name
            assert lab.exec("worker1", look, user=OTHER_USER, check=False).returncode == 1, name
        connect = ["socat", "-u", "OPEN:/dev/null", f"UNIX-CONNECT:{files}.console"]
        assert "Permission denied" in lab.exec("worker1", connect, user=OTHER_USER, check=False).stderr


# --- QEMU -------------------------------------------------------------------------------------------------------------


def _files(slice_: Deployed, worker: str) -> str:
    return f"/home/ubuntu/vm_images/slice-{slice_.slice_id}/{slice_.vms[worker].name}"


def _pid(lab: Lab, slice_: Deployed, worker: str) -> str:
    return lab.exec(worker, ["cat", f"{_files(slice_, worker)}.pid"]).stdout.strip()


def test_qemu_is_no_root_is_in_its_sandbox_and_obeys_its_user_only(street: Street, lab: Lab) -> None:
    for slice_ in (street.attacker, street.victim):
        for worker in slice_.vms:
            pid = _pid(lab, slice_, worker)
            status = lab.exec(worker, ["cat", f"/proc/{pid}/status"]).stdout
            assert re.search(r"^Uid:\t1000\t1000\t1000\t1000$", status, re.MULTILINE)
            assert re.search(r"^Seccomp:\t2$", status, re.MULTILINE)
            assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)
            listening = lab.exec(worker, ["ss", "-Hlntxp"]).stdout.splitlines()
            doors = [line.split()[4] for line in listening if f"pid={pid}," in line]
            ((_, port),) = _vnc(slice_.vms[worker])
            own = f"vm_images/slice-{slice_.slice_id}/{slice_.vms[worker].name}"
            sockets = [door for door in doors if door.startswith("vm_images/")]
            assert {door.rpartition(":")[2] for door in doors if door not in sockets} == {port}
            assert sorted(sockets) == [f"{own}.console", f"{own}.qmp"]
            paths = [f"/home/ubuntu/{path}" for path in (own.rpartition("/")[0], *sockets)]
            assert set(lab.exec(worker, ["stat", "-c", "%a %U", *paths]).stdout.splitlines()) == {"700 ubuntu"}


def test_a_disk_that_pretends_to_be_an_image_gains_nothing(street: Street, lab: Lab) -> None:
    """Write the header of a qcow2 file with the backing file /etc/passwd onto a guest's disk."""
    guest = street.attacker.guests["worker2"]
    overlay = f"{_files(street.attacker, 'worker2')}_img.qcow2"
    make = "qemu-img create -q -f qcow2 -F raw -b /etc/passwd /tmp/evil.qcow2 && od -An -v -tx1 -N 512 /tmp/evil.qcow2"
    header = "".join(lab.exec("worker2", ["sh", "-c", f"{make}; rm /tmp/evil.qcow2"], user="ubuntu").stdout.split())
    saved = "dd if=/dev/vda of=/tmp/sector bs=512 count=1"
    write = f'perl -e \'print pack("H*", "{header[:400]}")\' | dd of=/dev/vda conv=notrunc; sync'
    assert guest.succeeds(f"{saved} && {write}")
    try:
        info = lab.exec("worker2", ["qemu-img", "info", "-U", "--output=json", overlay], user="ubuntu").stdout
        assert '"format": "qcow2"' in info
        assert "passwd" not in info
    finally:
        guest.run("dd if=/tmp/sector of=/dev/vda; sync")


def test_a_base_image_that_names_another_file_is_refused(lab: Lab) -> None:
    folder = "/tmp/images"
    make = f"""mkdir {folder}; cd {folder}; qemu-img create -q -f qcow2 whole 1M
qemu-img create -q -f qcow2 -F raw -b /etc/passwd backed; echo text >text; cp /etc/passwd raw; truncate -s 1M raw
qemu-img create -q -f qcow2 -o data_file=raw,data_file_raw=on split 1M"""
    lab.exec("worker1", ["sh", "-c", make], user="ubuntu")
    check = load("disks/check-image")
    said = {
        name: lab.exec("worker1", check.argv(f"{folder}/{name}", name, "repair it", "/dev/null"), check=False).stderr
        for name in ("whole", "backed", "split", "text")
    }
    lab.exec("worker1", ["rm", "-r", folder])
    assert said["whole"] == ""
    assert "names another file" in said["backed"]
    assert "names another file" in said["split"]
    assert "is not a whole qcow2 image" in said["text"]


def test_a_disk_is_as_large_as_its_flavor_says_and_never_smaller_than_its_base_image(lab: Lab) -> None:
    """Use sizes that are rounded up to MiB; a larger image is refused."""
    folder = "/tmp/disks"
    script = f"""mkdir -p {folder}/own; cd {folder}; qemu-img create -q -f qcow2 base 3M
for sizes in "2 3" "3 3" "5 5" "2 2"; do
  set -- "$1" $sizes; name=$2-$3
  sh -c "$1" sh ../base own/$name $2 '' $3 2>&1 && qemu-img info own/$name
done; ls -A own"""
    said = lab.exec("worker1", ["sh", "-c", script, "sh", load("disks/make-overlay").text], user="ubuntu").stdout
    lab.exec("worker1", ["rm", "-r", folder])
    assert re.findall(r"virtual size: (\d) MiB", said) == ["3", "3", "5"]
    assert "the base image base is a disk of 3 MiB, and the flavor has 2 MiB" in said
    assert said.splitlines()[-3:] == ["2-3", "3-3", "5-5"]


# --- no more than its share -------------------------------------------------------------------------------------------


def test_a_disk_written_again_and_again_grows_to_its_flavors_size_only(street: Street, lab: Lab) -> None:
    guest = street.attacker.guests["worker2"]
    overlay = f"{_files(street.attacker, 'worker2')}_img.qcow2"
    first = int(guest.run("cat /etc/first-free-megabyte").split()[0])
    size = int(guest.run("cat /sys/block/vda/size").split()[0]) // 2048
    megabytes = scaled(40, size - first)
    for _ in range(3):
        fill = f"dd if=/dev/urandom of=/dev/vda bs=1M seek={first} count={megabytes} conv=notrunc && sync"
        assert guest.succeeds(fill, scaled(120, 1800))
        guest.run(f"blkdiscard -o {(first + 8) << 20} -l {32 << 20} /dev/vda")
    assert guest.succeeds(fill, scaled(120, 1800))
    used = int(lab.exec("worker2", ["du", "-k", overlay]).stdout.split()[0]) / 1024
    assert megabytes <= used <= megabytes * 1.02 + 4
    # No byte can be written after the end of the disk.
    assert not guest.succeeds(f"dd if=/dev/zero of=/dev/vda bs=1M seek={size} count=1 conv=notrunc")


def test_a_vm_goes_on_when_its_console_log_is_full(street: Street, lab: Lab) -> None:
    """Fill the log up to its bound by lowering it; the unit test writes all of it."""
    guest, log = street.attacker.guests["worker1"], f"{_files(street.attacker, 'worker1')}.log"
    assert "guest ready" in lab.exec("worker1", ["cat", log]).stdout
    keeper = lab.exec("worker1", ["sh", "-c", 'find /proc/[0-9]*/fd -lname "$1"', "sh", log]).stdout
    (process,) = {path.split("/")[2] for path in keeper.split()}
    before = lab.exec("worker1", ["stat", "-c", "%s", log]).stdout
    lab.exec("worker1", ["prlimit", "--pid", process, f"--fsize={before.strip()}"], user="ubuntu")
    assert "goes on" in guest.run("seq 2000; echo it goes on")
    for _ in range(20):
        assert len(guest.run("seq 500").split()) == 500
    assert lab.exec("worker1", ["stat", "-c", "%s", log]).stdout == before
    assert "it goes on" in lab.exec("worker1", ["cat", f"{log}-end"]).stdout


def test_asking_for_addresses_all_day_fills_no_disk(street: Street, lab: Lab) -> None:
    guest, log = street.attacker.guests["worker1"], f"/run/ns-dhcp-vlan{street.attacker.vlan}/log"
    intruder.send(guest, "eth1", "asking")
    wait_until(lambda: _size(lab, log) == LOG_BYTES, "the end of the log", 60)
    intruder.send(guest, "eth1", "asking")
    assert guest.succeeds("udhcpc -i eth1 -n -q -t 20 -T 1 -s /etc/udhcpc.script", 60)
    assert guest.addresses()["eth1"] == guest.vm.addresses["eth1"]
    assert _size(lab, log) == LOG_BYTES


def _size(lab: Lab, path: str) -> int:
    return int(lab.exec("network", ["stat", "-c", "%s", path]).stdout)


def test_a_vm_takes_no_more_cpu_than_its_cores(street: Street, lab: Lab) -> None:
    busy, neighbour = street.attacker, street.victim
    status = [lab.exec("worker1", ["cat", f"/proc/{_pid(lab, who, 'worker1')}/status"]) for who in (busy, neighbour)]
    cpus = [re.findall(r"Cpus_allowed_list:\t(.*)", each.stdout)[0] for each in status]
    assert len(set(cpus)) == 2, "each has a CPU of its own"
    assert all(cpu.isdecimal() for cpu in cpus), "and one only"
    guest = busy.guests["worker1"]
    guest.run("for i in 1 2 3 4 5 6; do (while :; do :; done) & done")
    guest.run("(while :; do dd if=/dev/vda of=/dev/null bs=1M count=32; done) 2>/dev/null &")
    try:
        pid = _pid(lab, busy, "worker1")
        idle = _idle_seconds(guest)
        used, began = _cpu_seconds(lab, pid), time.monotonic()
        wait_until(lambda: time.monotonic() > began + scaled(6, 60), "some time", 90)
        share = (_cpu_seconds(lab, pid) - used) / (time.monotonic() - began)
        assert share <= 1.1
        assert _idle_seconds(guest) - idle < 1, "the guest is busy all the time"
        assert neighbour.guests["worker1"].reaches("8.8.8.8")
        assert neighbour.guests["worker1"].run("echo hello", 10).strip() == "hello"
    finally:
        guest.run("kill $(jobs -p)")


def _idle_seconds(guest: Guest) -> float:
    return int(guest.run("sed -n 's/^cpu  *//p' /proc/stat").split()[3]) / 100


def _cpu_seconds(lab: Lab, pid: str) -> float:
    fields = lab.exec("worker1", ["cat", f"/proc/{pid}/stat"]).stdout.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
