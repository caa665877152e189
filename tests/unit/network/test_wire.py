"""The proof of the wire: the frames of each host, and the sentence about a missing frame."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from core.inventory import Inventory
from core.names import BRIDGE, INTERNET_DHCP_MAC, INTERNET_GATEWAY_MAC
from network import wire
from remote.plan import Command
from shell.scripts import load
from tests.support.designs import design

FIRST, SECOND, NODE = "10.0.10.1", "10.0.10.2", "10.0.10.3"


def test_each_vlan_has_its_workers_and_the_network_node() -> None:
    ring = design("ring")
    found = wire.spans(Inventory(), ring)
    assert set(found) == {400, *(link.vlan_id for link in ring.links)}
    assert all(set(hosts) == {FIRST, SECOND, NODE} for hosts in found.values())
    assert wire.spans(Inventory(), design("internet"))[400][-1] == NODE
    assert wire.spans(Inventory(), design("unconnected")) == {}


def test_a_cloud_of_one_host_has_no_wire() -> None:
    single = design("ring")
    for vm in single.vms:
        vm.worker_ip = NODE
    assert wire.spans(Inventory(workers_list=(NODE,)), single) == {}
    assert list(wire.send(BRIDGE, {}, 1)) == list(wire.receive(BRIDGE, {}, 1)) == []


def test_of_an_absent_host_nothing_is_waited_for() -> None:
    found = wire.spans(Inventory(), design("ring"), absent={SECOND})
    assert all(set(hosts) == {FIRST, NODE} for hosts in found.values())
    assert wire.spans(Inventory(), design("ring"), absent={SECOND, NODE}) == {}


def test_each_host_sends_on_its_vlans_in_one_command_and_waits_for_all_others() -> None:
    vlans = {100: (FIRST, SECOND, NODE), 101: (FIRST, NODE)}
    sent = {step.host: step.do for step in wire.send("br-int-b", vlans, 7)}
    assert {host: len(do) for host, do in sent.items()} == {FIRST: 1, SECOND: 1, NODE: 1}
    (command,) = sent[SECOND]
    assert isinstance(command, Command)
    assert command.argv[2:] == ("bundle", "br-int-b", "-")
    mac = wire.probe_mac(7, SECOND).replace(":", "")
    frame = re.fullmatch(r"packet-out in_port=controller packet=(\w+) actions=NORMAL\n", command.stdin)
    assert frame
    assert frame[1].startswith(f"ffffffffffff{mac}8100006488b5")
    assert len(frame[1]) == 120
    waiting = {step.host: step.do[1] for step in wire.receive("br-int-b", vlans, 7)}
    command = waiting[NODE]
    assert isinstance(command, Command)
    assert command.argv[4:7] == ("br-int-b", "5", "trunk")
    assert command.argv[7:] == (
        *(FIRST, "100", wire.probe_mac(7, FIRST)),
        *(SECOND, "100", wire.probe_mac(7, SECOND)),
        *(FIRST, "101", wire.probe_mac(7, FIRST)),
    )


def test_the_macs_of_frames_are_ours_and_of_one_run_only() -> None:
    macs = {wire.probe_mac(run, host) for run in range(500) for host in (FIRST, SECOND, NODE)}
    assert len(macs) == 1500
    assert all(re.fullmatch(r"02:c1:0d:[89a-f][0-9a-f](:[0-9a-f]{2}){2}", mac) for mac in macs)
    assert not macs & {INTERNET_GATEWAY_MAC, INTERNET_DHCP_MAC}


A, B = "02:c1:0d:80:00:0a", "02:c1:0d:80:00:0b"
ASK = (SECOND, "100", A, NODE, "100", B, SECOND, "400", A, NODE, "400", B)
LOOK = (
    "does the switch between the hosts pass them tagged (trunk)? Is the data port on the bridge, and up "
    "(ovs-vsctl list-ports br-int; ip link set PORT up)?\n"
)


@pytest.mark.parametrize(
    ("learned", "asked", "said"),
    [
        ([(100, A), (400, A), (100, B), (400, B)], ASK, ""),
        ([], ASK, f"nothing arrives from any other host ({SECOND}, {NODE}); look at the wire of this host: "),
        ([(100, B), (400, B)], ASK, f"nothing arrives from {SECOND}, from other hosts it does; look at the wire of "),
        ([(100, A), (100, B), (400, B)], ASK, f"nothing arrives from {SECOND}, and on other VLANs it does: "),
        ([(1000, A), (14, B)], ASK[:3], f"VLAN 100: nothing arrives from {SECOND}; look at the wires of both: "),
        ([(100, B)], ASK[:6], f"VLAN 100: nothing arrives from {SECOND}, from other hosts it does; look at the wire "),
    ],
    ids=["whole", "own", "another's", "a VLAN", "of two", "another's VLAN"],
)
def test_a_missing_frame_is_reported_with_the_host_to_check(
    tmp_path: Path, learned: list[tuple[int, str]], asked: tuple[str, ...], said: str
) -> None:
    table = " port  VLAN  MAC                Age\n" + "".join(
        f"    1  {vlan:4d}  {mac}    0\n" for vlan, mac in learned
    )
    done = await_frames(tmp_path, f"cat <<'END'\n{table}END", "0", asked)
    assert done.returncode == bool(said)
    assert said in done.stderr
    assert done.stderr.endswith(LOOK) or not said
    assert done.stderr.count("\n") == bool(said)


def test_a_frame_that_comes_late_is_waited_for(tmp_path: Path) -> None:
    late = f'[ -e {tmp_path}/second ] && echo "    1   100  {A}    0"; touch {tmp_path}/second'
    assert await_frames(tmp_path, late, "10", ASK[:3]).returncode == 0


def test_a_missing_frame_of_a_tunnel_has_other_reasons(tmp_path: Path) -> None:
    done = await_frames(tmp_path, "echo", "0", ASK[:3], underlay="tunnel")
    assert done.stderr.endswith(
        "do the firewalls let UDP port 6081 pass between the hosts, and all switches between them packets of 1,600 "
        "bytes?\n"
    )


def test_a_silent_switch_is_reported(tmp_path: Path) -> None:
    done = await_frames(tmp_path, "echo 'ovs-appctl: cannot connect' >&2; exit 2", "0", ASK)
    assert (done.returncode, done.stderr) == (2, "ovs-appctl: cannot connect\n")


def await_frames(
    folder: Path, script: str, wait: str, words: tuple[str, ...], underlay: str = "trunk"
) -> subprocess.CompletedProcess[str]:
    """Run the script with `ovs-appctl` played by ours."""
    program = folder / "ovs-appctl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    argv = load("bridge/await-frames").argv(BRIDGE, wait, underlay, *words)
    path = f"{folder}:{os.environ['PATH']}"
    return subprocess.run(argv, capture_output=True, text=True, check=False, env={"PATH": path, "LC_ALL": "C"})
