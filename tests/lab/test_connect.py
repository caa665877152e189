"""Ports of guests through the manager, on the lab: bytes both ways, refusals, ends, and what guests try with it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab
from tests.support.acts import read_log
from tests.support.lab.visitor import Guest, Menu, empty_database, wait_until
from tests.support.paths import ROOT

pytestmark = pytest.mark.lab

GATEWAY = "10.60.7.1"
BINARY = bytes(range(256)) * 8192
SECONDS = 120.0
LISTENING = "ss -Htuln | sort"


class Gate:
    """A slice of student's: `a` has internet and a link, `b` the link only, and `c` neither; a and b run servers."""

    def __init__(self, lab: Lab, database: Path) -> None:
        self.lab, self.database = lab, database
        menu = Menu(lab, "student", database)
        self.slice_id = menu.create_slice("lab")
        ids = [menu.add_vm(self.slice_id, name, internet=name == "a") for name in "abc"]
        menu.link(self.slice_id, ids[0], "eth1", ids[1], "eth1")
        menu.deploy(self.slice_id)
        vms = menu.topology(self.slice_id)
        menu.close()
        self.guests = {name: Guest(lab, self.slice_id, vms[name]) for name in "ab"}
        for guest in self.guests.values():
            guest.run("nc -ll -p 7 -e cat >/dev/null 2>&1 &")
            guest.run("mkdir -p /www; dd if=/dev/urandom of=/www/big bs=1M count=20; httpd -p 80 -h /www")

    def popen(self, *words: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, str(ROOT / "cli.py"), "--database", str(self.database), "connect", *words]
        return self.lab.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def connect(self, *words: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
        """Return exit status, output and errors of a connection that is given all its input at once."""
        process = self.popen(*words)
        output, errors = process.communicate(stdin, timeout=SECONDS)
        return process.returncode, output, errors.decode()

    def on_node(self, command: str) -> str:
        return self.lab.exec("network", ["sh", "-c", command]).stdout

    def sockets(self) -> list[str]:
        """Return the processes that connect guests, on the network node."""
        return self.on_node("pgrep -a socat || true").splitlines()

    def close(self) -> None:
        for guest in self.guests.values():
            guest.console.close()
        menu = Menu(self.lab, "student", self.database)
        menu.delete(self.slice_id)
        menu.close()


@pytest.fixture(scope="module")
def gate(lab: Lab, home: Path) -> Iterator[Gate]:
    gate = Gate(lab, empty_database(lab, home / "database.yaml"))
    yield gate
    gate.close()


@pytest.mark.parametrize("vm", ["a", "b"])
def test_bytes_go_both_ways_and_nothing_is_left(gate: Gate, vm: str) -> None:
    """`a` is reached by VLAN 400, and `b` from the router of its slice."""
    before = gate.on_node(LISTENING)
    assert gate.connect("lab", vm, "7", stdin=BINARY) == (0, BINARY, "")
    wait_until(lambda: not gate.sockets(), "the end of socat", 20)
    assert gate.on_node(LISTENING) == before


@pytest.mark.parametrize("vm", ["a", "b"])
def test_a_long_answer_arrives_whole_after_the_end_of_input(gate: Gate, vm: str) -> None:
    began = time.monotonic()
    status, output, errors = gate.connect("lab", vm, "80", stdin=b"GET /big HTTP/1.0\r\n\r\n")
    head, _, body = output.partition(b"\r\n\r\n")
    assert (status, errors) == (0, "")
    assert b" 200 OK" in head
    digest = gate.guests[vm].run("sha256sum /www/big").split()[0]
    assert hashlib.sha256(body).hexdigest() == digest
    assert time.monotonic() - began < 60


def test_a_dialogue_is_prompt(gate: Gate) -> None:
    process = gate.popen("lab", "b", "7")
    assert process.stdin
    assert process.stdout
    for number in range(20):
        line = b"line %d\n" % number
        process.stdin.write(line)
        process.stdin.flush()
        began = time.monotonic()
        assert process.stdout.readline() == line
        assert number == 0 or time.monotonic() - began < 2
    assert gate.on_node(LISTENING).count(":7 ") == 0
    process.stdin.close()
    assert process.wait(30) == 0


def test_what_cannot_be_reached_says_what_to_do(gate: Gate) -> None:
    status, output, errors = gate.connect("lab", "c")
    assert (status, output) == (1, b"")
    assert "has no address that leads outside: give it internet access or a link, or use its console" in errors
    for vm in ("a", "b"):
        assert f"({vm}) refuses connections to port 22: no program listens there yet" in gate.connect("lab", vm)[2]
    gate.guests["b"].run("ip link set eth1 down")
    began = time.monotonic()
    assert "(b) does not answer at 192.168." in gate.connect("lab", "b", "7")[2]
    assert time.monotonic() - began < 30
    gate.guests["b"].run("ip link set eth1 up")
    status, output, errors = gate.connect("lab", "b", "0")
    assert (status, output) == (2, b"")


def test_a_missing_rule_is_named_and_a_repair_adds_it(gate: Gate) -> None:
    gate.on_node("iptables-save | grep -v -- '--ctdir REPLY' | iptables-restore")
    errors = gate.connect("lab", "a", "7")[2]
    assert f"the firewall has no rule for answers of VMs; repair slice {gate.slice_id}, which adds it" in errors
    menu = Menu(gate.lab, "student", gate.database)
    assert "Slice repaired" in menu.choose(11, gate.slice_id)
    menu.close()
    assert gate.connect("lab", "a", "7", stdin=b"again")[1] == b"again"


def test_a_lost_manager_leaves_no_connection_behind(gate: Gate) -> None:
    process = gate.popen("lab", "b", "7")
    wait_until(lambda: len(gate.sockets()) > 0, "socat", 30)
    process.kill()
    process.communicate()
    wait_until(lambda: not gate.sockets(), "the end of socat", 40)


def test_the_guest_that_is_reached_reaches_nothing(gate: Gate) -> None:
    """While a connection is open, the guest tries the node's sshd and DNS from other ports and from the same one."""
    process = gate.popen("lab", "a", "7")
    wait_until(lambda: len(gate.sockets()) > 0, "socat", 30)
    guest = gate.guests["a"]
    for port in (22, 53, 7, 80):
        assert not guest.succeeds(f"nc -w 2 {GATEWAY} {port} </dev/null")
        assert not guest.succeeds(f"nc -w 2 -p 4711 {GATEWAY} {port} </dev/null")
    neighbour = gate.guests["b"].vm.addresses["eth1"].rpartition(".")[0] + ".1"
    assert not gate.guests["b"].succeeds(f"nc -w 2 {neighbour} 22 </dev/null")
    assert process.stdin
    process.stdin.close()
    assert process.wait(30) == 0


def test_doctor_and_prove_know_the_rule(gate: Gate) -> None:
    for command in ("doctor", "prove"):
        argv = [sys.executable, str(ROOT / "cli.py"), "--database", str(gate.database), command]
        process = gate.lab.popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        output, errors = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, output + errors


def test_connections_are_counted_in_one_line(gate: Gate) -> None:
    lines = [entry for entry in read_log(gate.database) if entry["action"] == "connect" and entry["result"] == "ok"]
    assert {entry["by"] for entry in lines} == {"operator"}
    assert {(entry["slice"], entry["vm"]) for entry in lines} == {
        (gate.slice_id, guest.vm.vm_id) for guest in gate.guests.values()
    }
    assert sum(entry["count"] for entry in lines) >= 6
    assert len(lines) <= 4  # another hour may have begun


def test_a_vm_that_is_off_is_called_so(gate: Gate) -> None:
    """Nothing answers at its address, and its worker says why."""
    guest = gate.guests["b"]
    guest.console.run("poweroff -f &", 5)
    find = ["sh", "-c", 'pgrep -f -- "$0" || :', f"^qemu-system-x86_64 -name slice{gate.slice_id}-vm{guest.vm.vm_id} "]
    wait_until(lambda: not gate.lab.exec(guest.vm.worker, find).stdout, "the end of b", 60)
    for _ in range(2):
        assert f"(b) is off; start it: start {gate.slice_id} b" in gate.connect("lab", "b", "7")[2]
