from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bench import hosts, report, startup
from bench.contenders import Facts, StageClock, ssh_argv
from bench.documented import DocumentedDesign, Line
from bench.ring import Ring
from bench.rounds import Measured
from database import Database
from deployment import DeploymentAPI
from inventory import Inventory, SSHSettings
from remote.events import StageStarted, StepDone
from remote.plan import Stage, Step

IMAGE = Path("/images/blank.qcow2")
NODE = "10.0.10.3"
SIZES = (2, 3, 8, 20)
DNSMASQ = (
    "sudo ip netns exec ns-dhcp-vlan100 dnsmasq --interface=dhcp_v100 --bind-interfaces "
    "--dhcp-range=192.168.100.10,192.168.100.250,24h --dhcp-option=3,192.168.100.1 --dhcp-option=6,8.8.8.8 "
    "--log-dhcp --log-facility=/tmp/dnsmasq_vlan100.log"
)


def documented(vms: int) -> DocumentedDesign:
    inventory = Inventory()
    return DocumentedDesign(Ring(vms).slice(inventory, IMAGE), inventory)


def count(lines: list[Line], part: str) -> int:
    return sum(part in line.text for line in lines)


# --- the ring ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vms", SIZES)
def test_a_ring_uses_every_data_interface_once(vms: int) -> None:
    tenant = Ring(vms).slice(Inventory(), IMAGE)
    assert all(interface.vlan_id for vm in tenant.vms for interface in vm.interfaces)
    assert len({link.vlan_id for link in tenant.links}) == len(tenant.vms) == vms


def test_a_ring_is_spread_evenly_over_the_workers() -> None:
    tenant = Ring(8).slice(Inventory(), IMAGE)
    assert Counter(vm.worker_ip for vm in tenant.vms) == {"10.0.10.1": 4, "10.0.10.2": 4}


# --- the documented design --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vms", SIZES)
def test_the_documented_design_makes_what_is_expected_on_the_hosts(vms: int) -> None:
    lines = documented(vms).deploy()
    made = {
        "QEMU processes": count(lines, " qemu-system-x86_64 "),
        "VNC ports": count(lines, " -vnc "),
        "TAPs": count(lines, " tuntap add "),
        "tagged ports": count(lines, " add-port "),
        "overlays": count(documented(vms).design(), "qemu-img create"),
        "dnsmasq processes": count(lines, " dnsmasq "),
        "DHCP namespaces": count(lines, " netns add "),
    }
    assert made == hosts.expected(vms)
    assert all(" tag=" in line.text for line in lines if "add-port" in line.text)


@pytest.mark.parametrize("vms", SIZES)
def test_the_documented_design_removes_what_it_made(vms: int) -> None:
    made, removed = documented(vms).deploy(), documented(vms).delete()
    pairs = {
        "add-port br-int ": "del-port br-int ",
        "tuntap add ": "ip link del ",
        "netns add ": "netns del ",
        " -A ": " -D ",
        "-pidfile ": "kill -KILL ",
        " dnsmasq ": "ip netns pids ",
    }
    assert {there: count(made, there) for there in pairs} == {
        there: count(removed, gone) for there, gone in pairs.items()
    }
    assert count(removed, "rm -f vm_images/") == vms


def test_the_documented_design_takes_these_many_commands_for_eight_vms() -> None:
    design = documented(8)
    phases = [design.design(), design.deploy(), design.delete()]
    assert [len(lines) for lines in phases] == [8, 9 * 9 + 4 + 8 * (3 * 3 + 1), 8 * (1 + 3 * 2) + 9 * 4 + 3 + 8]


def test_the_documented_commands_are_those_of_the_pages() -> None:
    lines = documented(3).deploy()
    assert [line.text for line in lines if line.host == NODE][:9] == [
        "sudo ovs-vsctl --may-exist add-port br-int gw_vlan100 tag=100 -- set interface gw_vlan100 type=internal",
        "sudo ip addr add 192.168.100.1/24 dev gw_vlan100",
        "sudo ip link set dev gw_vlan100 up",
        "sudo ip netns add ns-dhcp-vlan100",
        "sudo ovs-vsctl --may-exist add-port br-int dhcp_v100 tag=100 -- set interface dhcp_v100 type=internal",
        "sudo ip link set dhcp_v100 netns ns-dhcp-vlan100",
        "sudo ip netns exec ns-dhcp-vlan100 ip addr add 192.168.100.2/24 dev dhcp_v100",
        "sudo ip netns exec ns-dhcp-vlan100 ip link set dev dhcp_v100 up",
        DNSMASQ,
    ]
    on_worker = [line.text for line in lines if line.host == "10.0.10.1"]
    assert on_worker[:3] == [
        "sudo ip tuntap add mode tap name tap_1001_eth0",
        "sudo ip link set dev tap_1001_eth0 up",
        "sudo ovs-vsctl --may-exist add-port br-int tap_1001_eth0 tag=400",
    ]
    assert "sudo iptables -t nat -A POSTROUTING -s 10.60.7.0/24 -o ens3 -j MASQUERADE" in [line.text for line in lines]


def test_the_documented_design_connects_guests_to_the_vlans_of_our_plan() -> None:
    inventory = Inventory()
    tenant = Ring(4).slice(inventory, IMAGE)
    ours = DeploymentAPI(inventory).deploy_plan(tenant).text()
    for line in DocumentedDesign(tenant, inventory).deploy():
        words = line.text.split()
        if "add-port" in words:
            port, tag = words[words.index("br-int") + 1 :][:2]
            assert f"add-port br-int {port} {tag} " in ours


def test_each_command_is_an_ssh_process_without_settings_of_the_machine() -> None:
    argv = ssh_argv(SSHSettings(key_file="/k", known_hosts="/h"), Line(NODE, "sudo true"))
    assert argv[:3] == ["ssh", "-F", "none"]
    assert argv[-2:] == [f"ubuntu@{NODE}", "sudo true"]
    assert not [word for word in argv if "Control" in word]


# --- counting and reporting -------------------------------------------------------------------------------------------


def test_counts_are_read_from_what_the_hosts_print() -> None:
    assert hosts.parsed("TAPs\t24\nQEMU processes\t8\n") == {"TAPs": 24, "QEMU processes": 8}


def test_the_stage_clock_keeps_the_last_step_of_each_host() -> None:
    clock = StageClock()
    steps = (Step("a", "one", ()), Step("a", "two", ()), Step("b", "one", ()))
    stage = Stage("launch", steps)
    clock(StageStarted(stage))
    for step in steps:
        clock(StepDone(stage, step, 0.0, changed=True))
    assert list(clock.seconds) == ["launch"]
    assert sorted(clock.seconds["launch"]) == ["a", "b"]


def results(deploy: tuple[float, ...], delete: tuple[float, ...]) -> list[Measured]:
    """Rounds in which ssh always takes 10 s."""
    ours: Facts = {"round_trips": {NODE: 3}, "stages": {"launch": {NODE: 0.5}}}
    phases = {"design": (1.0,), "deploy": deploy, "delete": delete}
    return [
        measured
        for phase, times in phases.items()
        for seconds in times
        for measured in (
            Measured("ours", phase, {"seconds": seconds, **ours}),
            Measured("ssh", phase, {"seconds": 10.0, "commands": 7}),
        )
    ]


def test_the_ratio_is_that_of_the_medians() -> None:
    assert report.ratio(results((0.5, 9.0, 0.4), (1.0,)), "deploy") == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("deploy", "delete", "missed"),
    [(1.0, 1.0, []), (1.01, 1.0, ["deploy"]), (0.1, 1.5, ["delete"]), (2.0, 2.0, ["deploy", "delete"])],
)
def test_a_tenth_is_the_bound(deploy: float, delete: float, missed: list[str]) -> None:
    assert report.missed(results((deploy,), (delete,))) == missed


def test_the_table_says_medians_spread_ratio_and_verdict() -> None:
    shown = report.lines(results((0.5, 9.0, 0.4), (2.0,)), vms=8, repeat=3)
    (deploy,) = [line for line in shown if line.startswith("deploy  ")]
    assert "0.50 s (0.40 to 9.00)" in deploy
    assert deploy.endswith("0.050   bound 0.1: met")
    (delete,) = [line for line in shown if line.startswith("delete  ")]
    assert delete.endswith("0.200   bound 0.1: MISSED")
    assert f"deploy, ours, SSH round trips: {NODE} 3" in shown


# --- the start of the menu --------------------------------------------------------------------------------------------


def test_the_big_file_is_valid_and_has_nobody_to_talk_to(tmp_path: Path) -> None:
    path = tmp_path / "database.yaml"
    startup.write_file(path)
    state = Database(path).load()
    assert len(state.slices) == 100
    assert sum(len(tenant.vms) for tenant in state.slices.values()) == 1000
    assert sum(len(tenant.links) for tenant in state.slices.values()) == 1000
    assert {tenant.status for tenant in state.slices.values()} == {"design", "running"}
    assert state.inventory.hosts == ("127.0.0.1",)


def test_peak_memory_is_read_from_proc() -> None:
    assert startup.peak_megabytes("Name:\tpython\nVmHWM:\t  100000 kB\nVmRSS:\t 1 kB\n") == pytest.approx(102.4)
    with pytest.raises(ValueError, match="no VmHWM"):
        startup.peak_megabytes("Name:\tkthreadd\n")


@pytest.mark.parametrize(("seconds", "megabytes", "missed"), [(1.5, 100, False), (1.6, 50, True), (0.5, 101, True)])
def test_both_bounds_of_the_start_count(seconds: float, megabytes: float, missed: bool) -> None:
    assert startup.Startup(report.Spread((seconds,)), megabytes).missed is missed
