"""Ports and flows of br-int, with programs that stand in for those of Open vSwitch."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from network import ovs
from shell.scripts import load

COOKIE = "0xc10d0000000003e8"
FLOWS = ["priority=210,in_port=tap_1001_eth0,actions=drop", "table=193,reg0=1000,priority=0,actions=NORMAL"]


class Switch:
    """Programs in a folder, each of which leaves its words and its input."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def program(self, name: str, *lines: str) -> None:
        path = self.folder / name
        path.write_text("\n".join(("#!/bin/sh", f"echo \"{name} $*\" >>'{self.folder}/calls'", *lines, "")))
        path.chmod(0o755)

    def run(self, argv: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        env = {"PATH": f"{self.folder}:{os.environ['PATH']}", "LC_ALL": "C"}
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=20)

    def calls(self) -> list[str]:
        calls = (self.folder / "calls").read_text().splitlines()
        (self.folder / "calls").unlink()
        return calls


@pytest.fixture
def switch(tmp_path: Path) -> Switch:
    return Switch(tmp_path)


@pytest.mark.parametrize(("internal", "how"), [(True, ""), (False, " --no-wait")])
def test_ports_of_ours_are_removed_in_one_transaction(switch: Switch, internal: bool, how: str) -> None:
    switch.program("ovs-vsctl", 'case $* in *find*) printf "gw_vlan10\\ngw_vlan101\\ndhcp_v101\\n";; esac')
    wanted = ["gw_vlan101", "gw_vlan1", "tap_1001_eth0", "dhcp_v101"]
    done = switch.run(ovs.remove_ports(wanted, internal=internal).argv)
    assert (done.returncode, done.stderr) == (0, "")
    listed, removed = switch.calls()
    assert listed.endswith("find Interface external_ids:owner=cloud-repositorio")
    first, second = (f"-- --if-exists del-port {name}" for name in ("gw_vlan101", "dhcp_v101"))
    assert removed == f"ovs-vsctl --timeout=20{how} {first} {second}"


def test_without_ports_of_ours_nothing_is_removed(switch: Switch) -> None:
    switch.program("ovs-vsctl")
    assert switch.run(ovs.remove_ports(["gw_vlan101"]).argv).returncode == 0
    assert len(switch.calls()) == 1


@pytest.mark.parametrize("failing", ["find", "del-port"])
def test_a_switch_that_does_not_answer_fails(switch: Switch, failing: str) -> None:
    switch.program("ovs-vsctl", f'case $* in *{failing}*) echo "no answer" >&2; exit 1;; *) echo gw_vlan101;; esac')
    done = switch.run(ovs.remove_ports(["gw_vlan101"]).argv)
    assert (done.returncode, done.stderr) == (1, "no answer\n")


@pytest.mark.parametrize(
    ("status", "differing", "expected"),
    [
        (0, "", 0),
        (2, "-cookie=0xc10d0000000003eb priority=0,actions=NORMAL", 0),
        (2, f"-cookie={COOKIE}0 priority=0,actions=NORMAL", 0),
        (2, f"-cookie={COOKIE} priority=210,in_port=tap_1001_eth0,actions=drop", 1),
        (2, f"+cookie={COOKIE} priority=210,in_port=tap_1001_eth0,actions=NORMAL", 1),
        (1, "", 1),
    ],
)
def test_flows_are_compared_by_their_cookie(switch: Switch, status: int, differing: str, expected: int) -> None:
    """diff-flows ends with 2 where anything differs, and with 1 where the switch does not answer (ovs-ofctl(8))."""
    switch.program("ovs-ofctl", 'cat >"$0.input"', f"echo '{differing}'", f"exit {status}")
    done = switch.run(ovs.replace_flows("br-int-b", COOKIE, FLOWS).unless)
    assert done.returncode == expected
    assert ("the flows of" in done.stderr) == (expected == 1 and status == 2)
    assert (switch.folder / "ovs-ofctl.input").read_text() == "".join(f"cookie={COOKIE},{flow}\n" for flow in FLOWS)
    assert switch.calls() == ["ovs-ofctl --timeout=20 --names diff-flows br-int-b /dev/stdin"]


LIST = "101,false,[],[]"


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        ("gw_vlan101,101,false,[],[]\n5,gw_vlan101", ""),
        ("gw_vlan101,101,false,[],access\n5,gw_vlan101", ""),
        ("gw_vlan101,[],false,[],[]\n5,gw_vlan101", "is not on the bridge with just tag and protection 101,false"),
        ('gw_vlan101,101,false,"[5, 6]",[]\n5,gw_vlan101', "is not on the bridge"),
        ("gw_vlan101,101,true,[],[]\n5,gw_vlan101", "is not on the bridge"),
        ("gw_vlan101,101,false,[],trunk\n5,gw_vlan101", "is not on the bridge"),
        ("gw_vlan1010,101,false,[],[]\n5,gw_vlan1010", "is not on the bridge"),
        ("gw_vlan101,101,false,[],[]\n-1,gw_vlan101", "is not opened by ovs-vswitchd"),
        ("gw_vlan101,101,false,[],[]\n[],gw_vlan101", "is not opened by ovs-vswitchd"),
    ],
)
def test_a_port_carries_its_vlan_and_no_other(switch: Switch, listed: str, why: str) -> None:
    switch.program("ovs-vsctl", f"cat <<'END'\n{listed}\nEND")
    switch.program("sleep")
    done = switch.run(load("bridge/check-tags").argv("gw_vlan101,101,false"))
    assert done.returncode == int(bool(why))
    assert why in done.stderr


@pytest.mark.parametrize(
    ("listed", "is_there"),
    [("tap_1001_eth10,101,false,[],[]\n5,tap_1001_eth10", False), ("tap_1001_eth1,[],false,[],[]", True)],
)
def test_a_tap_without_a_link_must_be_no_port(switch: Switch, listed: str, is_there: bool) -> None:
    switch.program("ovs-vsctl", f"cat <<'END'\n{listed}\nEND")
    done = switch.run(ovs.check_tags([], ["tap_1001_eth1"]))
    assert done.returncode == int(is_there)
    assert done.stderr == ("port tap_1001_eth1 is on a bridge, but its interface has no link\n" if is_there else "")


def test_a_port_that_is_opened_a_moment_later_is_waited_for(switch: Switch) -> None:
    number = "$([ -e $0.again ] && echo 5 || echo -1)"
    switch.program("ovs-vsctl", f'echo "gw_vlan101,{LIST}"', f'echo "{number},gw_vlan101"', "touch $0.again")
    switch.program("sleep")
    assert switch.run(load("bridge/check-tags").argv("gw_vlan101,101,false")).returncode == 0
    assert [call.split()[0] for call in switch.calls()] == ["ovs-vsctl", "sleep", "ovs-vsctl"]


def test_foreign_ports_with_names_of_ours_are_named(switch: Switch) -> None:
    listed = "gw_vlan101\n\ngw_vlan101,internal\ntap_1001_eth0,\nens4,\n"
    switch.program("ovs-vsctl", f"printf '{listed}'")
    check = load("bridge/check-port-names")
    assert switch.run(check.argv("gw_vlan101", "tap_1002_eth0")).returncode == 0
    done = switch.run(check.argv("gw_vlan101", "tap_1001_eth0"))
    assert done.returncode == 1
    assert done.stderr.startswith("a port tap_1001_eth0 is there that is not ours")
