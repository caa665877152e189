"""The preflight's sentences about the hosts' own network; scripts of ours replace the programs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from core.inventory import Inventory, SSHSettings
from core.names import BRIDGE
from network import checks
from remote.plan import Command
from shell.scripts import load
from tests.support.designs import design

NOTHING = '"""""",{}'
GONE = (
    "br-int passes no frame on, its own flow is gone; "
    "put it back with: ovs-ofctl add-flow br-int priority=0,actions=NORMAL"
)
NORMAL = "\n 0. priority 0\n    NORMAL\n     -> no learned MAC for destination, flooding\n"
START = "start it with: systemctl start openvswitch-switch"
TRUNK = "make it a trunk with: ovs-vsctl clear Port {} tag trunks vlan_mode"


def bridge(ports: dict[str, str], interfaces: dict[str, str]) -> str:
    """Return the output of ovs-vsctl: names of ports, their columns, and those of interfaces."""
    rows = [*ports, *(f"{name},{columns}" for name, columns in {**ports, "br-int": "[],[],[]"}.items())]
    rows += ["", *(f"{name},{columns}" for name, columns in {**interfaces, "br-int": "internal,{}"}.items())]
    return "\n".join(["cat <<'END'", *rows, "END"])


def run(folder: Path, argv: tuple[str, ...], programs: dict[str, str]) -> tuple[int, str]:
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o700)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "LC_ALL": "C"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    return done.returncode, done.stderr + done.stdout


def ready(folder: Path, ovs_vsctl: str, *vlans: int, setting: str = "", trace: str = NORMAL) -> str:
    """Return the sentence about the bridge, empty when all is well."""
    argv = load("bridge/check-bridge").argv(BRIDGE, setting, *map(str, vlans))
    asked = f"echo \"$@\" >{folder}/asked; cat <<'END'\n{trace}END"
    status, said = run(folder, argv, {"ovs-vsctl": ovs_vsctl, "ovs-appctl": asked})
    assert status == bool(said)
    return said.strip()


PLAIN = "[],[],[]"
TUNNELS = {"gn1": PLAIN, "gn2": PLAIN}, {"gn1": "geneve,{}", "gn2": "geneve,{}"}
OURS = (
    {"gw_vlan9": "9,[],[]", "tap_1_eth1": "9,[],[]"},
    {
        "gw_vlan9": 'internal,"{owner=cloud-repositorio, slice=""1000""}"',
        "tap_1_eth1": '"""""","{owner=cloud-repositorio, slice=""1000""}"',
    },
)


def with_ours(ports: dict[str, str], interfaces: dict[str, str]) -> str:
    return bridge({**OURS[0], **ports}, {**OURS[1], **interfaces})


@pytest.mark.parametrize(
    ("ports", "interfaces", "setting", "port"),
    [
        ({"patch0": PLAIN}, {"patch0": "patch,{}"}, "", "patch0"),
        ({"dpdk0": PLAIN}, {"dpdk0": "dpdk,{}"}, "", "dpdk0"),
        ({"patch0": "[],100,[]"}, {"patch0": "patch,{}"}, "", "patch0"),
        ({"patch0": '[],"[99, 100, 101]",[]'}, {"patch0": "patch,{}"}, "", "patch0"),
        ({"patch0": "1,[],native-untagged"}, {"patch0": "patch,{}"}, "", "patch0"),
        ({"patch0": "1,[],trunk"}, {"patch0": "patch,{}"}, "", "patch0"),
        (*TUNNELS, "", "gn1"),
        (*TUNNELS, "gn2", "gn2"),
        ({"bond0": PLAIN}, {"x1": NOTHING, "x2": NOTHING}, "", "LOCAL"),
        ({"a": "7,[],[]", "patch0": PLAIN}, {"a": "patch,{}", "patch0": "patch,{}"}, "", "patch0"),
    ],
    ids=["patch", "dpdk", "one VLAN", "VLANs", "native", "trunk", "tunnels", "named", "bond", "one of two is good"],
)
def test_a_data_port_that_carries_the_vlan_is_enough(
    tmp_path: Path, ports: dict[str, str], interfaces: dict[str, str], setting: str, port: str
) -> None:
    assert ready(tmp_path, with_ours(ports, interfaces), 100, setting=setting) == ""
    assert f"in_port={port},dl_vlan=100" in (tmp_path / "asked").read_text()


@pytest.mark.parametrize(
    ("ports", "interfaces", "setting", "said"),
    [
        ({}, {}, "", "no port of br-int leads to the other hosts; add that of the data network (docs/data-network.md)"),
        ({}, {}, "ens4", "its data port ens4 is not on the bridge: ovs-vsctl add-port br-int ens4"),
        (*TUNNELS, "ens4", "its data port ens4 is not on the bridge: ovs-vsctl add-port br-int ens4"),
        ({"p": "1,[],[]"}, {"p": "patch,{}"}, "", f"its data port p carries the VLAN of its tag only; {TRUNK}"),
        ({"p": "1,[],access"}, {"p": "patch,{}"}, "", f"its data port p carries the VLAN of its tag only; {TRUNK}"),
        ({"p": '[],"[99, 101]",[]'}, {"p": "patch,{}"}, "", f"its data port p does not carry VLAN 100; {TRUNK}"),
        ({"p": "[],10,[]"}, {"p": "patch,{}"}, "", f"its data port p does not carry VLAN 100; {TRUNK}"),
        ({"nodevice0": PLAIN}, {"nodevice0": NOTHING}, "", "its data port nodevice0 has no device"),
    ],
)
def test_a_data_port_that_cannot_work_is_refused(
    tmp_path: Path, ports: dict[str, str], interfaces: dict[str, str], setting: str, said: str
) -> None:
    assert ready(tmp_path, with_ours(ports, interfaces), 100, setting=setting) == said.format("p")
    assert ready(tmp_path, with_ours(ports, interfaces), setting=setting) == "", "where no VLAN leaves the host"


def test_the_tunnel_of_an_earlier_setting_is_refused(tmp_path: Path) -> None:
    """With a data port beside it, frames would circle."""
    patch = {"patch-tun": 'patch,"{owner=cloud-repositorio, tunnel=""1""}"', "p": "patch,{}"}
    switch = with_ours({"patch-tun": PLAIN, "p": PLAIN}, patch)
    said = (
        "port patch-tun is of the tunnel that database.yaml had before (underlay); remove it with: python3 cli.py "
        "doctor --fix"
    )
    assert ready(tmp_path, switch, 100) == said
    assert ready(tmp_path, switch) == "", "where no VLAN leaves the host"


def test_the_tunnel_of_another_realm_is_no_earlier_one(tmp_path: Path) -> None:
    """A worker of two realms has a bridge for each, and this patch is a port of the other one."""
    switch = bridge({"p": PLAIN}, {"p": "patch,{}", "patch-tun-b": 'patch,"{owner=cloud-repositorio, tunnel=""2""}"'})
    assert ready(tmp_path, switch, 100) == ""


@pytest.mark.parametrize(
    ("ovs_vsctl", "said"),
    [
        ("echo 'ovs-vsctl: no bridge named br-int' >&2; exit 1",
         "Open vSwitch has no bridge br-int; add it with: ovs-vsctl add-br br-int"),
        ("echo 'ovs-vsctl: unix:/x: database connection failed' >&2; exit 1",
         f"Open vSwitch does not answer; {START}"),
    ],
)  # fmt: skip
def test_a_missing_switch_is_reported(tmp_path: Path, ovs_vsctl: str, said: str) -> None:
    assert ready(tmp_path, ovs_vsctl, 100) == said


@pytest.mark.parametrize(
    ("trace", "status", "said"),
    [
        (" 0. No match.\n    drop\n", 0, GONE),
        ("ovs-appctl: cannot connect to /x\n", 2, f"ovs-vswitchd does not answer; {START}"),
        (f" 0. priority 5\n resubmit(,3)\n 3. priority 0\n{NORMAL}", 0, ""),
    ],
)  # fmt: skip
def test_the_path_of_a_frame_through_the_bridge_is_checked(tmp_path: Path, trace: str, status: int, said: str) -> None:
    argv = load("bridge/check-bridge").argv(BRIDGE, "", "100")
    switch = {"ovs-vsctl": bridge(*TUNNELS), "ovs-appctl": f"cat <<'END'\n{trace}END\nexit {status}"}
    assert run(tmp_path, argv, switch) == (bool(said), f"{said}\n" if said else "")


def test_only_vlans_that_leave_the_host_need_a_data_port() -> None:
    def words(name: str, host: str, inventory: Inventory) -> tuple[str, ...]:
        (command,) = checks.check_bridge(inventory, design(name), host).do
        assert isinstance(command, Command)
        return command.argv[5:]

    named = Inventory(data_ports={"10.0.10.1": "bond0"})
    assert words("internet", "10.0.10.1", named) == ("bond0", "400")
    assert words("internet", "10.0.10.3", named) == ("", "400")
    assert words("unconnected", "10.0.10.1", named) == ("bond0",)
    alone = Inventory(workers_list=("10.0.10.1",), network_node="10.0.10.1")
    (command,) = checks.check_bridge(alone, design("ring", alone), "10.0.10.1").do
    assert isinstance(command, Command)
    assert command.argv[4:] == (BRIDGE, "")


# --- the way to the internet ------------------------------------------------------------------------------------------

CONNECTION = "0 0 10.0.10.3:2222 10.60.7.1:41234"
ROUTE = "echo 'default via 10.0.10.254 dev eth9 proto dhcp metric 100'"
HOLDS = "internet: cidr: 10.60.7.0/24 holds"
CHOOSE = "hoose a network that nothing else uses"


@pytest.mark.parametrize(
    ("uplink", "programs", "said"),
    [
        ("lo", {}, ""),
        ("nix7", {"ip": ROUTE},
         "internet: uplink: there is no interface nix7; the default route is by eth9; set it in database.yaml"),
        ("nix7", {"ip": "exit 1"}, "internet: uplink: there is no interface nix7; set it in database.yaml"),
        ("lo", {"ss": f"echo '{CONNECTION}'"},
         f"{HOLDS} 10.60.7.1, which is connected by SSH: is it the manager? C{CHOOSE}"),
        ("lo", {"ip": "echo '2: ens3    inet 10.60.7.9/24 brd 10.60.7.255 scope global ens3'"},
         f"internet: cidr: 10.60.7.0/24 is in use here: address 10.60.7.9/24 of ens3; c{CHOOSE}"),
        ("lo", {"ip": "echo '10.60.7.128/25 via 10.0.10.254 dev ens3 '"},
         f"internet: cidr: 10.60.7.0/24 is in use here: route to 10.60.7.128/25 via 10.0.10.254; c{CHOOSE}"),
        ("lo", {"ip": "echo '10.60.7.0/24 dev gw_vlan400 scope link'; echo 'default dev ppp0 scope link'"}, ""),
    ],
)  # fmt: skip
def test_a_way_out_that_cannot_work_is_refused(
    tmp_path: Path, uplink: str, programs: dict[str, str], said: str
) -> None:
    silent = {"ip": "cat >/dev/null", "ss": "exit 0", "nft": "exit 0"}
    argv = load("firewall/check-way-out").argv("gw_vlan400", "10.60.7.0/24", uplink, "2222")
    assert run(tmp_path, argv, {**silent, **programs}) == (bool(said), f"{said}\n" if said else "")


def test_the_port_of_sshd_is_that_of_the_file() -> None:
    (command,) = checks.check_way_out(Inventory(ssh=SSHSettings(port=2222))).do
    assert isinstance(command, Command)
    assert command.argv[4:] == ("gw_vlan400", "10.60.7.0/24", "ens3", "2222")
    assert ":2222 " in checks.list_peers(Inventory(ssh=SSHSettings(port=2222)))[-1]


def chains(table: str, rules: str, *, policy: str = "drop", hook: str = "forward") -> tuple[str, str]:
    """Return nft(8)'s output for a table with one chain: without its rules, and with them."""
    heads = f"table {table} {{\n\tchain x {{\n\t\ttype filter hook {hook} priority filter - 10; policy {policy};\n"
    return heads + "\t}\n}", heads + "".join(f"\t\t{rule}\n" for rule in rules.splitlines()) + "\t}\n}"


STATE = "ct state established,related accept"
FOREIGN = "chain x of table inet fw (nftables)\n"


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (chains("inet fw", STATE), FOREIGN),
        (chains("ip fw", ""), "chain x of table ip fw (nftables)\n"),
        (chains("inet fw", f"{STATE}\ncounter packets 1 bytes 60 reject with icmpx admin-prohibited", policy="accept"),
         FOREIGN),
        (chains("inet fw", f"{STATE}\ndrop", policy="accept"), FOREIGN),
        (chains("inet fw", f"{STATE}\nip saddr 192.0.2.1 drop", policy="accept"), ""),
        (chains("inet fw", f'{STATE}\niifname "gw_vlan400" accept'), ""),
        (chains("inet fw", f'{STATE}\niifname "gw_vlan*" accept'), ""),
        (chains("inet fw", f"{STATE}\nip saddr 10.60.7.0/24 accept"), ""),
        (chains("inet fw", "counter packets 0 bytes 0 accept"), ""),
        (chains("inet fw", "ct state new counter packets 0 bytes 0 accept"), FOREIGN),
        (chains("inet fw", STATE, hook="input"), ""),
        (chains("bridge fw", STATE), ""),
        (chains("ip6 fw", STATE), ""),
        (("Error: no permission", ""), ""),
    ],
)  # fmt: skip
def test_another_firewall_that_drops_guests_packets_is_reported(
    tmp_path: Path, shown: tuple[str, str], said: str
) -> None:
    script = f"case $* in 'list chains') cat <<'END'\n{shown[0]}\nEND\n;; *) cat <<'END'\n{shown[1]}\nEND\nesac"
    assert barriers(tmp_path, script) == said


def barriers(folder: Path, nft: str) -> str:
    """Return the lines behind the first one, which says whether the host routes."""
    argv = load("collect/list-forwarding").argv(*checks.barrier_words(Inventory()))
    status, said = run(folder, argv, {"nft": nft})
    routes, newline, rest = said.partition("\n")
    assert (status, routes in {"0", "1"}, newline) == (0, True, "\n")
    return rest


def test_the_chain_that_iptables_shares_with_us_is_no_other_firewall(tmp_path: Path) -> None:
    shown = chains("ip filter", "")[0].replace("chain x", "chain FORWARD")
    assert barriers(tmp_path, f"cat <<'END'\n{shown}\nEND") == ""
