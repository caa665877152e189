"""The way in on a network node of its own: real iptables and socat, and a guest that tries to come in by itself."""

from __future__ import annotations

import sys
import time

import pytest

from core.inventory import Inventory
from network import firewall
from shell.scripts import load
from tests.support.own_host import OwnHost

GATEWAY, GUEST = "10.60.7.1", "10.60.7.101"
RULE = firewall.answers_of_guests(Inventory()).words
ECHO = "ip netns exec guest socat TCP-LISTEN:7,fork,reuseaddr EXEC:cat >/dev/null 2>&1 &"

# Sends TCP segments with these flags from one port to another, and prints every answer of the gateway.
SEGMENTS = """
import socket, struct, sys, time
source, target, *flags = map(int, sys.argv[3:])
me, gateway = sys.argv[1:3]
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
raw.bind((me, 0))
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 65535)
    return ~(total + (total >> 16)) & 65535
for flag in flags:
    header = struct.pack("!HHIIBBHHH", source, target, 1000, 2000, 80, flag, 1024, 0, 0)
    pseudo = socket.inet_aton(me) + socket.inet_aton(gateway) + struct.pack("!BBH", 0, 6, len(header))
    raw.sendto(header[:16] + struct.pack("!H", checksum(pseudo + header)) + header[18:], (gateway, 0))
raw.settimeout(0.5)
try:
    while True:
        packet = raw.recv(65536)
        if packet[12:16] == socket.inet_aton(gateway):
            print("answer", packet[33])
except TimeoutError:
    print("silence")
"""
SYN, RST, ACK = 2, 4, 16
FIN_URG_PSH = 1 + 32 + 8


@pytest.fixture
def node(host: OwnHost) -> OwnHost:
    """Return a network node with the rules, a guest on VLAN 400 that echoes on port 7, and a server on port 22."""
    host.program("setpriv", 'while [ "$1" != -- ]; do shift; done', "shift", 'exec "$@"')
    host.do("ip link set lo up; ip link add ens3 type veth peer name far; ip link set ens3 up")
    host.do("ip netns add guest; ip link add gw_vlan400 type veth peer name eth0 netns guest")
    host.do(f"ip addr add {GATEWAY}/24 dev gw_vlan400; ip link set gw_vlan400 up")
    host.do(f"ip -n guest addr add {GUEST}/24 dev eth0; ip -n guest link set eth0 up")
    host.do(f"{ECHO} socat TCP-LISTEN:22,fork,reuseaddr EXEC:cat >/dev/null 2>&1 &")
    assert host.run(firewall.put_up(Inventory()).argv).returncode == 0
    deadline = time.monotonic() + 10
    while "LISTEN" not in host.do("ip netns exec guest ss -Htln 'sport = :7'; ss -Htln 'sport = :22' | sed s/$/x/"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return host


def join(node: OwnHost, *, port: int = 7, namespace: str = "", rule: tuple[str, ...] = RULE) -> tuple[str, str]:
    """Return output and messages of a connection with the guest that says hello."""
    words = ("name", namespace, GUEST, str(port), "1", "5", "1", *rule)
    argv = load("connection/join-port").argv(*words)
    done = node.run(argv, stdin="hello\n")
    return done.stdout, done.stderr


def segments(node: OwnHost, source: int, target: int, *flags: int) -> str:
    """Return what the guest hears after it has sent segments with these flags."""
    words = (GUEST, GATEWAY, *(str(number) for number in (source, target, *flags)))
    done = node.run(("ip", "netns", "exec", "guest", sys.executable, "-c", SEGMENTS, *words))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_node_reaches_the_guest_and_hears_its_answer(node: OwnHost) -> None:
    output, messages = join(node)
    assert output == "\nname ready\nhello\n"
    assert "N starting data transfer loop" in messages
    assert "N socket 2 (fd " in messages


def test_a_closed_port_is_told_from_a_guest_that_is_silent(node: OwnHost) -> None:
    assert "Connection refused" in join(node, port=9)[1]
    node.do("ip netns exec guest iptables -A INPUT -j DROP")
    assert "Connection timed out" in join(node)[1]


def test_without_the_rule_nothing_is_tried(node: OwnHost) -> None:
    node.do(f"iptables -D {' '.join(RULE)}")
    assert join(node) == ("\nname rule\n", "")


def test_from_a_router_namespace_no_rule_is_needed(node: OwnHost) -> None:
    node.do("ip netns add ns-gw-slice1000; ip link set gw_vlan400 netns ns-gw-slice1000")
    node.do(f"ip -n ns-gw-slice1000 addr add {GATEWAY}/24 dev gw_vlan400")
    node.do("ip -n ns-gw-slice1000 link set gw_vlan400 up")
    assert join(node, namespace="ns-gw-slice1000", rule=())[0] == "\nname ready\nhello\n"
    assert join(node, namespace="ns-gw-slice1001", rule=())[0] == "\nname namespace\n"


def test_a_node_without_socat_says_so(node: OwnHost) -> None:
    _, *script = load("connection/join-port").argv("n", "", "a", "1", "1", "1", "1")
    done = node.run(("env", f"PATH={node.programs}", "/bin/sh", *script))
    assert done.stdout.strip() == "n socat"


# --- attacks: what the guest begins stays dropped ---------------------------------------------------------------------


def test_a_guest_reaches_no_port_of_the_node(node: OwnHost) -> None:
    done = node.run(
        ("ip", "netns", "exec", "guest", "socat", "-u", "OPEN:/dev/null", f"TCP4:{GATEWAY}:22,connect-timeout=1")
    )
    assert "Connection timed out" in done.stderr


@pytest.mark.parametrize("target", [22, 7, 40_000])
def test_no_kind_of_segment_is_answered(node: OwnHost, target: int) -> None:
    """A closed port would answer with RST, an open one with SYN and ACK."""
    every = (SYN, ACK, SYN | ACK, RST, RST | ACK, FIN_URG_PSH, 0, 255)
    assert segments(node, 7, target, *every) == "silence"
    assert segments(node, 4711, target, *every) == "silence"


def test_a_guest_that_was_reached_reaches_no_other_port(node: OwnHost) -> None:
    """While the node has a connection with port 7 of the guest, port 7 of the guest reaches nothing else."""
    node.do(f"{{ sleep 5 | socat - TCP4:{GUEST}:7; }} >/dev/null 2>&1 &")
    deadline = time.monotonic() + 5
    while "ESTAB" not in node.do("ss -Htn 'dport = :7'"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert segments(node, 7, 22, SYN, ACK, SYN | ACK, FIN_URG_PSH) == "silence"
    (port,) = {line.split()[3].rpartition(":")[2] for line in node.do("ss -Htn 'dport = :7'").splitlines()}
    assert segments(node, 8, int(port), SYN, ACK, SYN | ACK, FIN_URG_PSH) == "silence"
    assert segments(node, 7, int(port) ^ 1, SYN, ACK, SYN | ACK, FIN_URG_PSH) == "silence"


def test_segments_without_the_rules_are_answered(node: OwnHost) -> None:
    """Prove that the attacks above would be seen."""
    node.do("iptables -F INPUT")
    assert segments(node, 4711, 22, SYN).startswith("answer 18")
    assert segments(node, 4711, 9, SYN).startswith("answer 20")
