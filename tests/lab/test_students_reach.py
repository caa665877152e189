"""A student reaches VMs through sshd with its forced command: `connect`, `capture`, ssh_config, lost sessions."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.reference.commands import leaves
from lab import Lab, paths
from menu.arguments import restricted_parser
from tests.support.lab.door import ADDRESS, StudentDoor, opened_door
from tests.support.lab.visitor import Guest, SeenVM, wait_until
from tests.support.pcap import packets_of
from tests.support.playing import terminal_of

pytestmark = pytest.mark.lab

BINARY = bytes(range(256)) * 8192
SECONDS = 120.0

SLICE = """slice: gate
vms: {a: {flavor: cirros, internet: true}, b: cirros}
links: [a - b]
"""


@pytest.fixture(scope="module")
def door(lab: Lab, home: Path) -> Iterator[StudentDoor]:
    with opened_door(lab, home) as door:
        yield door


@pytest.fixture(scope="module")
def guests(lab: Lab, door: StudentDoor) -> Iterator[dict[str, Guest]]:
    """Return the guests of a slice of alice's, made by commands alone."""
    created = door.piped("alice", "create - --json", stdin=SLICE)
    assert '{"slice_id": ' in created, created
    deployed = door.piped("alice", "deploy gate")
    assert "Slice deployed successfully" in deployed, deployed
    shown = door.piped("alice", "show gate")
    slice_id = int(shown.partition(":")[0].removeprefix("Slice "))
    vms = [SeenVM(part) for part in re.split(r"^  (?=VM )", shown, flags=re.MULTILINE)[1:]]
    found = {vm.name: Guest(lab, slice_id, vm) for vm in vms}
    for guest in found.values():
        guest.run("nc -ll -p 7 -e cat >/dev/null 2>&1 &")
        guest.run(f"nc -ll -p 22 -e echo hello from {guest.vm.name} >/dev/null 2>&1 &")
    yield found
    for guest in found.values():
        guest.console.close()
    assert "Slice deleted" in door.piped("alice", "delete gate --yes")


@pytest.mark.parametrize("vm", ["a", "b"])
@pytest.mark.usefixtures("guests")
def test_a_student_reaches_own_vms_with_a_key_alone(door: StudentDoor, vm: str) -> None:
    argv = door.ssh("alice", "-T", f"cloud@{ADDRESS}", "connect", "gate", vm, "7")
    done = subprocess.run(argv, input=BINARY, capture_output=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, BINARY, b"")
    assert "You have no slice gate" in door.piped("mallory", f"connect gate {vm} 7")
    wait_until(lambda: not door.processes(), "the end of the session", 30)


@pytest.mark.usefixtures("guests")
def test_the_blocks_of_ssh_config_lead_to_the_vm(door: StudentDoor, tmp_path: Path) -> None:
    """The guest has no sshd: ssh -v quotes its greeting."""
    config = door.piped("alice", f"ssh-config gate --via cloud@{ADDRESS}")
    (tmp_path / "config").write_text(config)
    (tmp_path / "bin").mkdir()
    inner = tmp_path / "bin" / "ssh"  # the client of the ProxyCommand, with the student's key
    options = ["-i", str(door.keys["alice"]), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    inner.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F none {" ".join(options)} "$@"\n')
    inner.chmod(0o755)
    for path in (tmp_path, tmp_path / "config", tmp_path / "bin", inner):
        paths.caller().own(path)
    for vm in ("a", "b"):
        client = [str(shutil.which("ssh")), "-F", str(tmp_path / "config"), "-v", "-o", "BatchMode=yes", f"gate-{vm}"]
        argv = door.lab.manager_argv(["env", f"PATH={tmp_path}/bin:/usr/bin:/bin", *client])
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 255
        assert f"banner line 0: hello from {vm}" in done.stderr


@pytest.mark.usefixtures("guests")
def test_sessions_that_are_cut_off_leave_no_connection(door: StudentDoor) -> None:
    """Kill the client while the guest waits: the place of the account is free again, and socat is gone."""
    for _ in range(10):
        argv = door.ssh("alice", "-T", f"cloud@{ADDRESS}", "connect", "gate", "b", "7")
        client = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert client.stdin
        assert client.stdout
        client.stdin.write(b"x\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"x\n"
        client.kill()
        client.communicate()
    wait_until(lambda: not door.processes(), "the end of the sessions", 60)
    wait_until(lambda: "socat" not in door.root("ps -eo args"), "the end of socat", 40)


def captured(door: StudentDoor, *words: str, options: tuple[str, ...] = ("-T",)) -> subprocess.Popen[bytes]:
    argv = door.ssh("alice", *options, f"cloud@{ADDRESS}", "capture", *words)
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def tcpdumps(door: StudentDoor) -> str:
    found = [door.lab.exec(host, ["ps", "-eo", "args="]).stdout.splitlines() for host in ("worker1", "worker2")]
    return "\n".join(line for lines in found for line in lines if line.startswith("tcpdump"))


def test_a_student_captures_a_ping_of_an_own_vm(door: StudentDoor, guests: dict[str, Guest]) -> None:
    """The quotation marks are for the program: ssh sends one line."""
    process = captured(door, "gate", "a", "eth1", "--count", "4", "--", "'icmp and (icmp[0] = 8 or icmp[0] = 0)'")
    wait_until(lambda: "tcpdump -nn -p -i tap_" in tcpdumps(door), "tcpdump", 30)
    assert guests["b"].succeeds(f"ping -c 2 {guests['a'].vm.addresses['eth1']}")
    output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (0, b"Capturing packets of eth1 of a; Ctrl-C ends it\n")
    assert [packet.icmp_type for packet in packets_of(output)] == [8, 0, 8, 0]


@pytest.mark.usefixtures("guests")
def test_a_student_captures_nothing_else(door: StudentDoor) -> None:
    assert "You have no slice gate" in door.piped("mallory", "capture gate a eth1")
    assert "tcpdump does not understand the filter" in door.piped("alice", "capture gate a eth1 -- '$(id)'")
    assert "none of its words begins with -" in door.piped("alice", "capture gate a eth1 -- -w /tmp/x")
    assert "an interface is eth0 to eth10" in door.piped("alice", "capture gate a br-int")
    output, _ = captured(door, "gate", "a", "eth1", options=("-tt",)).communicate(timeout=SECONDS)
    assert b"a terminal cannot show" in output
    assert b"| wireshark -k -i -, and call ssh without -t" in output


@pytest.mark.usefixtures("guests")
def test_a_session_that_is_cut_off_leaves_no_capture(door: StudentDoor) -> None:
    """No packet comes, so that only the end of the session says that the student has gone."""
    process = captured(door, "gate", "a", "eth1", "--", "udp port 9")
    wait_until(lambda: "tcpdump -nn -p -i tap_" in tcpdumps(door), "tcpdump", 30)
    process.kill()
    process.communicate()
    wait_until(lambda: not door.processes(), "the end of the session", 30)
    wait_until(lambda: not tcpdumps(door), "the end of tcpdump", 15)


DRAFT = "slice: draft\nvms: {x: cirros, y: cirros}\nlinks: [x - y]\ngoals: [{name: up, booted: [x, y]}]\n"
CLAB = "name: r\ntopology: {nodes: {a: {kind: linux}, b: {kind: linux}}, links: [{endpoints: [a:eth1, b:eth1]}]}\n"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f laptop\n"

COMMANDS = [
    ("help", "", "console"),
    ("list --json", "", '"name": "gate"'),
    ("show gate", "", "VM "),
    ("quota --json", "", '{"used_vms": 2, "quota_vms": 10, '),
    ("validate -", DRAFT, "-: slice draft: 2 VMs, 1 link, 1 goal"),
    ("create - --dry-run", DRAFT, "Nothing was created: --dry-run"),
    ("convert - --from containerlab", CLAB, "- ends: [a, b]"),
    ("apply -", DRAFT, "Slice created! ID: "),
    ("plan - --json", DRAFT, '"differences": [], "steps": []'),
    ("plan draft", "", "on 3 hosts to deploy slice "),
    ("export draft", "", "- name: up\n  booted: [x, y]"),
    ("graph draft", "", "x-y"),
    ("link draft x y --name second", "", "link second: added"),
    ("set-link draft second --state down", "", "link second: changed live (state up -> down)"),
    ("unlink draft second", "", "link second: removed"),
    ("add-vm draft z cirros --dry-run", "", "VM z: added"),
    ("remove-vm draft y --yes", "", "goal up: changed live (targets x, y -> x)"),
    ("add-vm draft z cirros --nics 2", "", "VM added! ID: "),
    ("delete draft --yes", "", "Slice deleted"),
    ("keys add -", KEY, "Key added! ssh-ed25519 "),
    ("keys list", "", "laptop"),
    ("keys remove 1", "", "Key removed: ssh-ed25519 "),
    ("snapshot gate base b", "", "Snapshot base: b"),
    ("snapshots gate --json", "", '"vm": "b", "name": "base"'),
    ("restore gate base b --yes", "", "Restored base: b"),
    ("stop gate b --now --yes", "", "b"),
    ("start gate b", "", "Started: b"),
    ("restart gate b --dry-run", "", "restart VMs of slice "),
    ("reset gate b --yes", "", "Reset: b"),
    ("repair gate", "", "Nothing was missing: 0 changes"),
    ("deploy gate", "", "Error: Slice already running"),
    ("console gate a", "", "Error: console joins a terminal with the VM"),
]
"""The commands of a student in an order that works, with their input and a part of what they say."""

ELSEWHERE = {"connect", "ssh-config", "capture"}
"""Commands that the tests above use."""


def test_every_command_of_a_student_has_its_line_here() -> None:
    names = {name for name, _ in leaves(restricted_parser())}
    assert names - ELSEWHERE == {
        name for name in names for words, _, _ in COMMANDS if f"{words} ".startswith(f"{name} ")
    }


@pytest.mark.usefixtures("guests")
def test_every_command_of_a_student_works_through_ssh(door: StudentDoor) -> None:
    for words, text, said in COMMANDS:
        shown = door.piped("alice", words, stdin=text)
        assert said in shown, (words, shown)
        assert "Traceback" not in shown
        other = door.piped("mallory", words, stdin=text) if " gate" in words else ""
        assert " gate" not in words or "You have no slice gate" in other, (words, other)


def test_a_student_opens_a_console_by_command(door: StudentDoor, guests: dict[str, Guest]) -> None:
    guests["a"].console.close()
    with terminal_of(door.ssh("alice", "-tt", "-e", "none", f"cloud@{ADDRESS}", "console", "gate", "a")) as terminal:
        terminal.wait_for("Connected to a", 60)
        terminal.type("\x1d")
        terminal.wait_for("Left the console", 60)
