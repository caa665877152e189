"""Packets of guests, captured on the lab: what comes, filters and refusals, bounds, ends, and what attackers try."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.captures import KEPT_BYTES, MOST_PACKETS, MOST_SECONDS
from lab import Lab
from network.ovs import OWNER
from shell.scripts import load
from tests.support.acts import read_log
from tests.support.fake_terminal import fake_terminal
from tests.support.lab.visitor import HOSTS, IMAGES, Guest, Menu, empty_database, wait_until
from tests.support.paths import ROOT
from tests.support.pcap import Packet, packets_of

pytestmark = pytest.mark.lab

SECONDS = 120.0

# Sends datagrams of one byte to a guest, in pieces that a queue has room for, until standard input ends.
DATAGRAMS = """
import select, socket, sys, time
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while not select.select([sys.stdin], [], [], 0.02)[0]:
    for _ in range(200):
        try:
            sender.sendto(b"x", (sys.argv[1], 9))
        except OSError:
            pass
"""

# A tcpdump that has opened its TAP has a socket.
CAPTURING = """
for pid in $(pgrep -x tcpdump); do
  ls -l "/proc/$pid/fd" | grep -q socket: && ps -o user=,args= "$pid"
done 2>/dev/null
:
"""


class Wire:
    """A slice of student's, in which `a` and `b` have a link, and `c` has none."""

    def __init__(self, lab: Lab, database: Path) -> None:
        self.lab, self.database = lab, database
        menu = Menu(lab, "student", database)
        self.slice_id = menu.create_slice("wire")
        ids = [menu.add_vm(self.slice_id, name) for name in "abc"]
        menu.link(self.slice_id, ids[0], "eth1", ids[1], "eth1")
        menu.deploy(self.slice_id)
        self.vms = menu.topology(self.slice_id)
        menu.close()
        self.guests = {name: Guest(lab, self.slice_id, self.vms[name]) for name in "ab"}
        self.address = self.vms["a"].addresses["eth1"]

    def popen(self, *words: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, str(ROOT / "cli.py"), "--database", str(self.database), "--as", "student"]
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return self.lab.popen([*argv, "capture", "wire", *words], **streams)

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """Begin a capture at `a`, and wait until its file begins."""
        process = self.popen("a", "eth1", *words)
        wait_until(lambda: bool(self.captures()), "tcpdump", 30)
        return process

    def refused(self, *words: str) -> str:
        process = self.popen(*words)
        output, errors = process.communicate(timeout=SECONDS)
        assert (process.returncode, output) == (1, b"")
        assert errors.count(b"\n") == 1
        return errors.decode()

    def captures(self) -> list[str]:
        """Return user and words of each tcpdump that runs on a worker and has opened its TAP."""
        found = []
        for host in ("worker1", "worker2"):
            found += self.lab.exec(host, ["sh", "-c", CAPTURING]).stdout.splitlines()
        return found

    def ping(self, count: int, size: int = 56) -> None:
        assert self.guests["b"].succeeds(f"ping -c {count} -s {size} {self.address}")

    def close(self) -> None:
        for guest in self.guests.values():
            guest.console.close()
        menu = Menu(self.lab, "student", self.database)
        menu.delete(self.slice_id)
        menu.close()


@pytest.fixture(scope="module")
def wire(lab: Lab, home: Path) -> Iterator[Wire]:
    wire = Wire(lab, empty_database(lab, home / "database.yaml"))
    yield wire
    wire.close()


@pytest.fixture(autouse=True)
def nothing_left(wire: Wire) -> Iterator[None]:
    yield
    wait_until(lambda: not wire.captures(), "the end of tcpdump", 20)


def finished(process: subprocess.Popen[bytes]) -> tuple[int, list[Packet], str]:
    """Return exit status, packets and messages of a capture that ends by itself."""
    output, errors = process.communicate(timeout=SECONDS)
    return process.returncode, packets_of(output), errors.decode()


def test_a_ping_comes_with_its_answers(wire: Wire) -> None:
    process = wire.begin("--count", "6", "--", "icmp")
    wire.ping(3)
    status, packets, errors = finished(process)
    assert (status, errors) == (0, "Capturing packets of eth1 of a; Ctrl-C ends it\n")
    assert [packet.icmp_type for packet in packets] == [8, 0] * 3
    macs = {bytes.fromhex(wire.vms[name].macs["eth1"].replace(":", "")) for name in "ab"}
    assert {packet.data[:6] for packet in packets} == macs


def test_a_filter_keeps_other_packets_out(wire: Wire) -> None:
    process = wire.begin("--count", "2", "--", "icmp[icmptype]", "=", "8")
    wire.ping(2)
    assert [packet.icmp_type for packet in finished(process)[1]] == [8, 8]


def test_the_beginning_of_a_long_packet_is_kept(wire: Wire) -> None:
    process = wire.begin("--count", "1", "--", "icmp and greater 1000")
    wire.ping(2, 1000)
    (packet,) = finished(process)[1]
    assert (len(packet.data), packet.length) == (KEPT_BYTES, 14 + 20 + 8 + 1000)


def test_packets_come_at_once(wire: Wire) -> None:
    """Nothing waits for a buffer to be full, as Wireshark draws what there is."""
    process = wire.begin("--", "icmp")
    assert process.stdout
    stream, seen = process.stdout, bytearray()
    os.set_blocking(stream.fileno(), False)

    def received() -> int:
        seen.extend(stream.read(65_536) or b"")
        return len(seen)

    wait_until(lambda: received() >= 24, "the head of the file", 10)
    wire.ping(1)
    wait_until(lambda: received() >= 24 + 2 * (16 + 98), "both packets", 5)
    assert [packet.icmp_type for packet in packets_of(bytes(seen))] == [8, 0]
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


def test_tcpdump_has_no_right_but_to_open_the_tap(wire: Wire) -> None:
    process = wire.begin("--", "udp port 9")
    (line,) = wire.captures()
    assert line.split()[0] == "ubuntu"
    host = wire.vms["a"].worker
    status = wire.lab.exec(host, ["sh", "-c", "cat /proc/$(pgrep -x tcpdump)/status"]).stdout
    rights = dict(part.split(":\t") for part in status.splitlines() if part.startswith(("Cap", "NoNew", "Groups")))
    only_raw = f"{1 << 13:016x}"
    assert {rights[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {only_raw}
    assert (rights["NoNewPrivs"], rights["Groups"].strip()) == ("1", "")
    process.send_signal(signal.SIGINT)
    assert finished(process)[0] == 0


# --- refusals and attacks ---------------------------------------------------------------------------------------------


def test_a_wrong_filter_is_refused_with_the_words_of_tcpdump(wire: Wire) -> None:
    assert wire.refused("a", "eth1", "--", "icmp and and") == (
        "Error: tcpdump does not understand the filter: can't parse filter expression: syntax error\n"
    )
    assert "understand the filter: unknown host 'evil.example.com'" in wire.refused(
        "a", "eth1", "--", "host evil.example.com"
    )


def test_a_filter_runs_nothing_and_is_no_option(wire: Wire) -> None:
    touch = "touch /tmp/pwned"
    for filter_ in (f"$({touch})", f"icmp; {touch}", f"icmp'; {touch}; '", f'icmp"; {touch}; "', "\\", "(" * 256):
        assert "tcpdump does not understand the filter" in wire.refused("a", "eth1", "--", filter_)
    for filter_ in ("-w /tmp/pwned", "icmp -w/tmp/pwned", f"icmp\n{touch}", "icmp\x1b[2J", "a" * 257):
        assert "Error: A filter has at most 256 printable characters" in wire.refused("a", "eth1", "--", filter_)
    for host in HOSTS.values():
        assert wire.lab.exec(host, ["test", "-e", "/tmp/pwned"], check=False).returncode == 1


def test_only_own_vms_with_a_link_have_packets(wire: Wire) -> None:
    vm_id = wire.vms["c"].vm_id
    assert f"No packets pass eth1 of VM {vm_id} (c): it has no link; link it first" in wire.refused("c", "eth1")
    assert f"VM {vm_id} (c) has no eth7; its interfaces: eth0, eth1" in wire.refused("c", "eth7")
    argv = [sys.executable, str(ROOT / "cli.py"), "--database", str(wire.database), "--as", "other"]
    operator = wire.lab.popen([*argv[:-2], "user", "add", "other"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    operator.communicate(b"a password of the test\n", timeout=SECONDS)
    assert operator.returncode == 0
    done = wire.lab.popen([*argv, "capture", "wire", "a", "eth1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = done.communicate(timeout=SECONDS)
    assert (done.returncode, output) == (1, b"")
    assert b"You have no slice wire" in errors


def test_a_worker_without_tcpdump_says_so(wire: Wire) -> None:
    host = wire.vms["a"].worker
    wire.lab.exec(host, ["mv", "/usr/bin/tcpdump", "/usr/bin/tcpdump.away"])
    try:
        refusal = wire.refused("a", "eth1")
    finally:
        wire.lab.exec(host, ["mv", "/usr/bin/tcpdump.away", "/usr/bin/tcpdump"])
    assert "tcpdump is not installed (apt-get install tcpdump)" in refusal
    assert "10.0.10." in refusal


# --- bounds and ends --------------------------------------------------------------------------------------------------


def test_an_interface_has_one_capture_at_a_time(wire: Wire) -> None:
    first = wire.begin("--", "udp port 9")
    assert "are being captured already; end that capture, or try again later" in wire.refused("a", "eth1")
    other = wire.popen("b", "eth1", "--count", "1", "--", "icmp")
    wait_until(lambda: len(wire.captures()) == 2, "the other interface's capture", 30)
    wire.ping(1)
    assert len(finished(other)[1]) == 1
    first.send_signal(signal.SIGINT)
    assert finished(first) == (0, [], "Capturing packets of eth1 of a; Ctrl-C ends it\n")
    assert len(_one(wire)) == 1


def _one(wire: Wire) -> list[Packet]:
    process = wire.begin("--count", "1", "--", "icmp")
    wire.ping(1)
    return finished(process)[1]


def test_it_ends_after_the_most_packets(wire: Wire) -> None:
    process = wire.begin("--", "udp port 9")
    inside = ["ip", "netns", "exec", f"ns-gw-slice{wire.slice_id}"]
    sender = wire.lab.popen_in(
        "network", [*inside, "python3", "-c", DATAGRAMS, wire.address], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        status, packets, errors = finished(process)
    finally:
        sender.communicate(timeout=30)
    assert len(packets) == MOST_PACKETS
    assert status == 3
    assert f"Warning: the capture ends after {MOST_PACKETS} packets" in errors


@pytest.mark.parametrize("end", ["kill", "close"])
def test_a_client_that_is_gone_leaves_no_tcpdump(wire: Wire, end: str) -> None:
    """No packet comes: tcpdump never finds out by writing."""
    process = wire.begin("--", "udp port 9")
    assert process.stdout
    if end == "kill":
        process.kill()
    else:
        process.stdout.close()
    wait_until(lambda: not wire.captures(), "the end of tcpdump", 15)
    process.wait(30)
    assert len(_one(wire)) == 1


def test_a_worker_that_is_cut_off_frees_the_interface_by_its_own_timeout(wire: Wire) -> None:
    """The client is told, and what is left on the worker ends by itself: here it is only looked at."""
    process = wire.begin("--", "udp port 9")
    host = wire.vms["a"].worker
    wire.lab.cut(host)
    try:
        status, packets, errors = finished(process)
        assert (status, packets) == (1, [])
        assert "The capture was broken off: the connection to the worker was lost" in errors
        assert len(_timeouts(wire, host)) == 1
    finally:
        wire.lab.reconnect(host)
        for pid in _timeouts(wire, host):
            wire.lab.exec(host, ["kill", pid])


def _timeouts(wire: Wire, host: str) -> list[str]:
    """Return the pids of the timeouts that end captures on a host."""
    script = f"ps -eo pid=,args= | awk '/[t]imeout -k 2 {MOST_SECONDS} tcpdump/ {{ print $1 }}'"
    return wire.lab.exec(host, ["sh", "-c", script]).stdout.split()


@dataclass(frozen=True)
class WorkersCapture:
    """The script of a capture, run by root of a worker as sudo would."""

    lab: Lab
    host: str

    def popen(self, tap: str, seconds: int) -> subprocess.Popen[bytes]:
        words = ("name", OWNER, tap, "text", "1", str(seconds), str(KEPT_BYTES), "5", "udp port 9")
        identity = "SUDO_UID=$(id -u ubuntu) SUDO_GID=$(id -g ubuntu)"
        argv = ["sh", "-c", f'export {identity}; exec "$@"', "sh", *load("connection/capture-packets").argv(*words)]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = self.lab.popen_in(self.host, argv, **streams)
        assert process.stdout
        assert process.stdout.readline() + process.stdout.readline() == b"\nname ready\n"
        return process


def test_the_worker_itself_ends_it_after_its_time(wire: Wire) -> None:
    tap = f"tap_{wire.vms['a'].vm_id}_eth1"
    process = WorkersCapture(wire.lab, wire.vms["a"].worker).popen(tap, 1)
    assert process.stderr
    assert b"\nname 124\n" in process.stderr.read()
    assert process.wait(10) == 0


def test_a_device_that_goes_away_ends_it(wire: Wire) -> None:
    host = wire.vms["a"].worker
    made = f"ip link add tap_1_eth1 type veth peer name far && ip link set tap_1_eth1 alias {OWNER} up"
    wire.lab.exec(host, ["sh", "-c", f"{made} && ip link set far up"])
    process = WorkersCapture(wire.lab, host).popen("tap_1_eth1", 60)
    wait_until(lambda: bool(wire.captures()), "tcpdump", 30)
    wire.lab.exec(host, ["ip", "link", "del", "tap_1_eth1"])
    assert process.stderr
    errors = process.stderr.read()
    assert b"The interface disappeared" in errors
    assert b"\nname 1\n" in errors
    assert process.wait(10) == 0


def test_a_vm_that_is_off_has_no_packets(wire: Wire) -> None:
    guest = wire.guests["b"]
    pid_file = f"{IMAGES}/slice-{wire.slice_id}/b.pid"
    wire.lab.exec(guest.vm.worker, ["sh", "-c", f"kill -9 $(cat {pid_file})"])
    off = f"No packets pass eth1 of VM {guest.vm.vm_id} (b): the VM is off; start it: start {wire.slice_id} b"
    wait_until(lambda: off in wire.refused("b", "eth1"), "the end of b", 30)
    menu = Menu(wire.lab, "student", wire.database)
    assert "Slice repaired" in menu.choose(11, wire.slice_id)
    menu.close()
    guest.console.close()
    wire.guests["b"] = Guest(wire.lab, wire.slice_id, guest.vm)


# --- the menu and the log ---------------------------------------------------------------------------------------------


def test_the_menu_shows_packets_as_text(wire: Wire) -> None:
    menu = Menu(wire.lab, "student", wire.database)
    menu.type("18", "7", str(wire.vms["a"].vm_id), "eth1", "icmp")
    menu.read("Enter ends it")
    wait_until(lambda: len(wire.captures()) >= 1, "tcpdump", 30)
    readers = wire.lab.exec(wire.vms["a"].worker, ["sh", "-c", "ps -eo uid=,args= | grep '[t]cpdump.*-r -'"]).stdout
    assert readers.split()[0] == "65534"
    wire.ping(25)
    shown = menu.read()
    assert shown.count("ICMP echo request") == 25
    assert shown.count("ICMP echo reply") == 25
    assert f"> {wire.address}: ICMP echo request" in shown
    assert "The capture has ended after 50 packets" in shown
    menu.close()


@pytest.mark.parametrize("key", [b"\r", b"\x03"], ids=["enter", "ctrl-c"])
def test_a_key_leads_from_the_packets_back_to_the_menu(wire: Wire, key: bytes) -> None:
    argv = [sys.executable, str(ROOT / "cli.py"), "--database", str(wire.database)]
    with fake_terminal() as window:
        on = window.program
        whole = ["setsid", "--ctty", "--wait", *wire.lab.manager_argv(argv)]
        menu = subprocess.Popen(whole, stdin=on, stdout=on, stderr=on)
        try:
            for prompt in ("Username: ", "Password: "):
                window.wait_for(prompt, 60)
                window.type(b"student\r")
            window.wait_for("option: ", 60)
            window.type(f"18\r7\r{wire.vms['a'].vm_id}\reth1\rudp port 9\r".encode())
            window.wait_for("Enter ends it", 60)
            wait_until(lambda: bool(wire.captures()), "tcpdump", 30)
            window.type(key)
            window.wait_for("The capture has ended", 20)
            window.wait_for("option: ", 20)
            wait_until(lambda: not wire.captures(), "the end of tcpdump", 15)
            window.type(b"0\r")
            assert menu.wait(60) == 0
        finally:
            menu.kill()
            menu.wait()


def test_each_capture_is_in_the_log_with_vm_and_interface(wire: Wire) -> None:
    wire.begin("--count", "1", "--", "icmp").kill()
    lines = [entry for entry in read_log(wire.database) if entry["action"] == "capture"]
    assert (lines[-1]["actor"], lines[-1]["by"]) == ("student", "operator")
    assert (lines[-1]["slice"], lines[-1]["vm"]) == (wire.slice_id, wire.vms["a"].vm_id)
    assert lines[-1]["result"] == "ok: eth1, icmp"
