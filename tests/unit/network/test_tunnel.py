"""The tunnel between the hosts: its steps, its flows, and its scripts with programs that stand in for the real ones."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from core.inventory import Inventory
from core.underlay import LEAST_MTU, Tunnel
from deployment import DeploymentAPI
from network import firewall, tunnel, wire
from remote.plan import Command, Step
from shell.scripts import load
from tests.support.designs import design
from tests.support.fake_hosts import FakeHosts

FIRST, SECOND, NODE = "10.0.10.1", "10.0.10.2", "10.0.10.3"
INVENTORY = Inventory(underlay="tunnel", data_addresses={FIRST: "172.16.0.1"})
ENDS = Tunnel.between(INVENTORY.hosts, INVENTORY.data_addresses)
PORTS = {FIRST: ("tun1_0a000a02", "tun1_0a000a03"), NODE: ("tun1_0a000a02", "tun1_ac100001")}


def steps(name: str, inventory: Inventory = INVENTORY) -> dict[str, list[Step]]:
    """Return the steps of the tunnel in the plan of a design, by stage."""
    plan = DeploymentAPI(inventory).deploy_plan(design(name, inventory))
    return {stage.title: [step for step in stage.steps if step.title == tunnel.TITLE] for stage in plan.stages}


def argv(step: Step, place: int = 0) -> tuple[str, ...]:
    command = step.do[place]
    assert isinstance(command, Command)
    return command.argv[3:] if command.argv[:2] == ("sh", "-c") else command.argv


# --- plans ------------------------------------------------------------------------------------------------------------


def test_each_host_between_which_vlans_pass_has_its_end() -> None:
    found = steps("line")
    assert {stage: [step.host for step in made] for stage, made in found.items()} == {
        "preflight": [FIRST, SECOND, NODE],
        "prepare": [FIRST, SECOND, NODE],
        "launch": [],
        "verify": [FIRST, SECOND, NODE],
    }
    assert not any(step.undo for made in found.values() for step in made)
    assert all(step.lock and step.objects == ("br-tun",) for step in found["prepare"])
    ends = ("tun1_0a000a02", SECOND, "tun1_0a000a03", NODE)
    words = ("cloud-repositorio", "1", "3", "8192", "br-tun", "br-int", "patch-tun", "patch-int", "172.16.0.1", *ends)
    assert argv(found["prepare"][0]) == ("set-tunnel.sh", *words)
    assert argv(found["verify"][0]) == ("tunnel-is-set.sh", *words)
    names = ("patch-tun", "patch-int", "tun1_0a000a02", "tun1_0a000a03")
    assert argv(found["preflight"][0]) == (
        "check-underlay.sh",
        "cloud-repositorio",
        "1",
        "1600",
        "172.16.0.1",
        "br-tun",
        "br-int",
    )
    assert argv(found["preflight"][0], 1) == ("check-port-names.sh", *names)


@pytest.mark.parametrize(("name", "inventory"), [("unconnected", INVENTORY), ("line", Inventory())])
def test_no_other_slice_needs_the_tunnel(name: str, inventory: Inventory) -> None:
    assert not any(steps(name, inventory).values())


def test_the_tunnel_is_there_before_frames_are_sent_and_they_are_the_longest() -> None:
    plan = DeploymentAPI(INVENTORY).deploy_plan(design("line", INVENTORY))
    prepare = next(stage for stage in plan.stages if stage.title == "prepare")
    for host in (FIRST, SECOND, NODE):
        titles = [step.title for step in prepare.by_host[host]]
        assert titles[:2] == [tunnel.TITLE, wire.TITLE]
    frames = [step.do[0] for step in plan.steps if step.title == wire.TITLE]
    lines = [line for each in frames if isinstance(each, Command) for line in each.stdin.splitlines()]
    assert {len(line.split("packet=")[1].split()[0]) // 2 for line in lines} == {1518}


def test_a_worker_that_left_the_settings_keeps_its_end_for_the_slices_on_it() -> None:
    """Else such a slice could be neither repaired nor deleted."""
    left = Inventory(underlay="tunnel", workers_list=(FIRST,), unlisted={"": (SECOND,)})
    plan = DeploymentAPI(left).deploy_plan(design("line", INVENTORY))
    made = {step.host: argv(step) for stage in plan.stages for step in stage.steps if step.title == tunnel.TITLE}
    assert {*made} == {FIRST, SECOND, NODE}
    assert made[FIRST][-5:] == (FIRST, "tun1_0a000a02", SECOND, "tun1_0a000a03", NODE)
    assert made[SECOND][-5:] == (SECOND, "tun1_0a000a01", FIRST, "tun1_0a000a03", NODE)


def test_with_a_tunnel_no_data_port_is_asked_for() -> None:
    plan = DeploymentAPI(INVENTORY).deploy_plan(design("line", INVENTORY))
    checks = [argv(step) for step in plan.steps if step.title == "bridge br-int"]
    assert checks == [("check-bridge.sh", "br-int", "")] * 3


def test_the_second_slice_changes_no_end_and_the_deletion_leaves_it() -> None:
    cloud = FakeHosts()
    plan = DeploymentAPI(INVENTORY).deploy_plan(design("line", INVENTORY))
    for step in plan.steps:
        if step.title == tunnel.TITLE:
            list(cloud.connect(step.host).run((step,)))
    made = {host: (each.tunnel, each.tunnel_flows) for host, each in cloud.hosts.items()}
    assert all(words and flows for words, flows in made.values())
    for step in steps("ring")["prepare"]:
        outcomes = list(cloud.connect(step.host).run((step,)))
        assert [getattr(outcome, "status", 0) for outcome in outcomes] == [None, None], "both guards hold"
    assert not [step for step in plan.undone("remove").steps if step.title == tunnel.TITLE]
    assert made == {host: (each.tunnel, each.tunnel_flows) for host, each in cloud.hosts.items()}


def test_guests_do_not_reach_the_ends_by_the_internet() -> None:
    drops = [rule.match for rule in firewall.rules(INVENTORY) if rule.chain == "FORWARD" and rule.target == "DROP"]
    assert "-d 172.16.0.1/32 -i gw_vlan400" in drops


# --- flows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [FIRST, NODE])
def test_no_flow_leads_from_one_port_of_the_tunnel_to_another(host: str) -> None:
    flows = [flow.removeprefix("cookie=0xc10d000000000001,") for flow in tunnel.marked_flows(ENDS, host)]
    to_br_int = [flow.partition(",actions=") for flow in flows if flow.startswith("table=1,")]
    assert [(match, actions.rpartition(",")[2]) for match, _, actions in to_br_int] == [
        ("table=1,priority=0", "output:patch-int")
    ]
    first = [flow for flow in flows if not flow.startswith("table=")]
    assert first == [
        "priority=10,in_port=patch-int,actions=resubmit(,2)",
        *(f"priority=10,in_port={port},actions=resubmit(,1)" for port in PORTS[host]),
    ]
    assert flows[-1] == f"table=4,priority=0,actions={','.join(f'output:{port}' for port in PORTS[host])}"
    assert not any("NORMAL" in flow for flow in flows)


def test_a_host_that_is_alone_sends_nowhere() -> None:
    assert tunnel.marked_flows(ENDS.among({FIRST}), FIRST)[-1].endswith("table=4,priority=0,actions=drop")


# --- scripts ----------------------------------------------------------------------------------------------------------


def run(folder: Path, argv: tuple[str, ...], **programs: str) -> tuple[int, str]:
    """Run a script with these programs; ovs_vsctl stands for ovs-vsctl. Each writes down its words."""
    for name, text in programs.items():
        program = folder / name.replace("_", "-")
        program.write_text(f'#!/bin/sh\necho "$*" >>{folder}/asked\n{text}\n')
        program.chmod(0o700)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "LC_ALL": "C"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    return done.returncode, done.stderr + done.stdout


def lines(*texts: str) -> str:
    return "\n".join(("cat <<'END'", *texts, "END"))


OURS = '"{owner=cloud-repositorio, tunnel=""1""}"'
UNDERLAY = load("tunnel/check-underlay").argv("cloud-repositorio", "1", str(LEAST_MTU), "127.0.0.1", "br-tun", "br-int")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (("br-int,{}", "br-int,[],[],[]", "br-int,internal,{}"), ""),
        (("p", "br-int,{}", f"br-tun,{OURS}", "p,[],[],[]", f"p,patch,{OURS}"), ""),
        (("p", "br-int,{}", "p,7,[],[]", "p,patch,{}"), ""),
        (("p", "br-int,{}", "p,7,[],access", "p,patch,{}"), ""),
        (("br-int,{}", "br-tun,{}"), "a bridge br-tun is there that is not ours; remove it: ovs-vsctl del-br br-tun"),
        (("p", "br-int,{}", "p,[],[],[]", "p,patch,{}"), "port p of br-int leads to other hosts beside the tunnel"),
        (("p", "br-int,{}", '"p,[],""[7, 8]"",[]"', "p,1,[],trunk", "p,patch,{}"), "port p of br-int leads to other"),
        (("br-int,{}", f"br-tun-b,{OURS.replace('1', '7')}", f"patch-int-b,patch,{OURS}"), ""),
        (("br-int,{}", f"br-tun-b,{OURS}"), "the bridge br-tun-b has the key 1, too; a realm with another"),
        (("bond0", "br-int,{}", "bond0,[],[],[]", 'ens4,"""""",{}'), "port bond0 of br-int leads to other hosts"),
    ],
)  # fmt: skip
def test_another_way_to_the_hosts_is_refused(tmp_path: Path, said: tuple[str, ...], why: str) -> None:
    status, words = run(tmp_path, UNDERLAY, ovs_vsctl=lines(*said))
    assert (status, why in words) == (int(bool(why)), True)
    assert words.count("\n") == status


def test_a_host_without_the_address_or_with_a_small_mtu_is_refused(tmp_path: Path) -> None:
    status, said = run(tmp_path, UNDERLAY, ip="exit 0")
    assert (status, "no interface has the address 127.0.0.1" in said) == (1, True)
    _, _, text, *words = UNDERLAY
    (tmp_path / "eth7").mkdir()
    (tmp_path / "eth7/mtu").write_text("1599\n")
    script = ("sh", "-c", text.replace("/sys/class/net", str(tmp_path)), *words)
    status, said = run(tmp_path, script, ip="echo '7: eth7    inet 127.0.0.1/8 scope global eth7'")
    assert status == 1
    assert said == (
        "eth7 has an MTU of 1599, and the tunnel needs 1600 or more: set it here (ip link set dev eth7 mtu 1600), on "
        "the other hosts and on the switches between them\n"
    )


WORDS = (
    "cloud-repositorio",
    "1",
    "3",
    "8192",
    "br-tun",
    "br-int",
    "patch-tun",
    "patch-int",
    FIRST,
    "tun1_0a000a02",
    SECOND,
)
OPTIONS = f'"{{key=""1"", local_ip=""{FIRST}"", remote_ip=""{SECOND}""}}"'
SET_UP = [
    "br-int",
    "[],[],[],false",
    '"true"',
    "secure",
    "8192,evict",
    "patch-int",
    "tun1_0a000a02",
    "patch-tun,patch,{peer=patch-int},2",
    "br-tun,internal,{},65534",
    "patch-int,patch,{peer=patch-tun},1",
    f"tun1_0a000a02,geneve,{OPTIONS},3",
]


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("", "", ""),
        ("br-int", "br-ex", "not joined as they were made"),
        ("[],[],[],false", "7,[],[],false", "not joined as they were made"),
        ('"true"', "", "not joined as they were made"),
        ("secure", "[]", "not joined as they were made"),
        ("8192,evict", "9999,evict", "has no bound for the MACs that it learns"),
        (
            SECOND,
            "10.0.10.9",
            "port tun1_0a000a02 of the tunnel, to 10.0.10.2, is missing, not open, or leads elsewhere",
        ),
        (f"{OPTIONS},3", f"{OPTIONS},-1", "port tun1_0a000a02 of the tunnel, to 10.0.10.2, is missing, not open"),
        ("{peer=patch-int},2", "{peer=x},2", "port patch-tun of the tunnel, to br-tun, is missing"),
        ("patch-int\ntun1", "patch-int\nens4\ntun1", "br-tun has a port ens4, which is not ours"),
        ("patch-int\ntun1_0a000a02\n", "patch-int\n", "port tun1_0a000a02 is not on br-tun"),
    ],
)
def test_an_end_that_is_not_as_it_was_made_is_reported(tmp_path: Path, old: str, new: str, why: str) -> None:
    said = "\n".join(SET_UP).replace(old, new, 1)
    status, words = run(tmp_path, load("tunnel/tunnel-is-set").argv(*WORDS), ovs_vsctl=lines(said))
    assert (status, why in words) == (int(bool(why)), True), words


def test_an_end_of_many_ports_is_made_in_one_transaction(tmp_path: Path) -> None:
    hosts = [f"10.0.1.{number}" for number in range(1, 201)]
    end = tunnel.make(Tunnel.between(hosts, {}), hosts[0]).do[0]
    assert isinstance(end, Command)
    assert run(tmp_path, end.argv, ovs_vsctl="case $* in *datapath_type) echo netdev;; esac") == (0, "")
    *_, made = (tmp_path / "asked").read_text().splitlines()
    assert made.count("--may-exist add-port br-tun tun1_") == made.count("type=geneve") == 199
    assert made.count("remote_ip=") == len(set(re.findall(r'remote_ip="[\d.]+"', made))) == 199


def test_an_end_is_made_in_one_transaction_without_stale_ports(tmp_path: Path) -> None:
    vsctl = "case $* in *list-ports*) printf 'patch-int\\ntun1_0a000a02\\ntun1_0a000a09\\n';; *get*) echo netdev;; esac"
    assert run(tmp_path, load("tunnel/set-tunnel").argv(*WORDS), ovs_vsctl=vsctl) == (0, "")
    *_, made = (tmp_path / "asked").read_text().splitlines()
    for words in (
        "set Bridge br-tun datapath_type=netdev fail_mode=secure flow_tables:3=@learned",
        "set Bridge br-int other_config:forward-bpdu=true",
        "--may-exist add-port br-int patch-tun -- set Port patch-tun tag=[] trunks=[] vlan_mode=[] protected=false",
        f'type=geneve options={{key="1",local_ip="{FIRST}",remote_ip="{SECOND}"}}',
        "-- --if-exists del-port br-tun tun1_0a000a09",
    ):
        assert words in made
    assert "del-port br-tun tun1_0a000a02" not in made
    assert "del-port br-tun patch-int" not in made


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("echo \"ovs-vsctl: Error detected while setting up 'tun1_0a000a02': not supported.\" >&2", "not supported"),
        ("echo 'ovs-vsctl: cannot create a port named x' >&2; exit 1", "cannot create a port"),
    ],
)
def test_a_port_that_cannot_be_made_fails_the_step(tmp_path: Path, answer: str, said: str) -> None:
    vsctl = f"case $* in *get*) echo netdev;; *add-br*) {answer};; esac"
    status, words = run(tmp_path, load("tunnel/set-tunnel").argv(*WORDS), ovs_vsctl=vsctl)
    assert (status, said in words) == (1, True)


@pytest.mark.parametrize(
    ("status", "differing", "expected"),
    [
        (0, "", 0),
        (2, '-table=3 priority=10,dl_dst=02:00:00:00:00:16 idle_timeout=300 actions=output:"tun1_0a000a02"', 0),
        (2, "-cookie=0xc10d000000000001 table=3 priority=0 actions=drop", 1),
        (2, "+cookie=0xc10d000000000001 table=4 priority=0 actions=output:x", 1),
        (2, "-table=30 priority=0 actions=NORMAL", 1),
        (1, "", 1),
    ],
)
def test_flows_are_compared_without_the_learned_ones(
    tmp_path: Path, status: int, differing: str, expected: int
) -> None:
    (command,) = [each for each in tunnel.check(ENDS, FIRST).do if "check-tunnel-flows.sh" in getattr(each, "argv", ())]
    assert isinstance(command, Command)
    program = f"cat >{tmp_path}/input; {lines(*filter(None, [differing]))}\nexit {status}"
    assert run(tmp_path, command.argv, ovs_ofctl=program)[0] == expected
    assert (tmp_path / "input").read_text().splitlines() == tunnel.marked_flows(ENDS, FIRST)


MARKED = """case $* in
  *'find Bridge'*) echo br-tun-b;;
  *type=patch*) echo patch-tun-b;;
  *'find Interface'*) printf 'patch-tun-b\\ntun2_0a000a02\\n';;
  *'port-to-br patch-tun-b') echo br-int-b;;
esac"""


def test_a_tunnel_is_removed_by_its_marks(tmp_path: Path) -> None:
    """On a worker of two realms, the other one's bridge goes on passing BPDUs."""
    assert run(tmp_path, tunnel.remove("2").argv, ovs_vsctl=MARKED) == (0, "")
    *asked, _, removed = (tmp_path / "asked").read_text().splitlines()
    assert all("external_ids:owner=cloud-repositorio external_ids:tunnel=2" in words for words in asked)
    assert removed == (
        "--timeout=20 -- remove Bridge br-int-b other_config forward-bpdu -- --if-exists del-port patch-tun-b "
        "-- --if-exists del-port tun2_0a000a02 -- --if-exists del-br br-tun-b"
    )


def test_a_tunnel_that_is_gone_is_not_removed_again(tmp_path: Path) -> None:
    assert run(tmp_path, tunnel.remove("2").argv, ovs_vsctl="exit 0") == (0, "")
    assert all("find" in words for words in (tmp_path / "asked").read_text().splitlines())


@pytest.mark.parametrize(
    ("status", "said", "shown"),
    [
        (0, " cookie=0x1, priority=0 actions=drop\n table=3, idle_timeout=300, priority=10 actions=drop", 1),
        (1, "ovs-ofctl: br-tun is not a bridge or a socket", 0),
    ],
)
def test_learned_flows_are_not_collected(tmp_path: Path, status: int, said: str, shown: int) -> None:
    program = f"{lines(said)}\nexit {status}"
    done = run(tmp_path, load("collect/list-tunnel").argv("br-tun", "3"), ovs_ofctl=program)
    assert done == (0, " cookie=0x1, priority=0 actions=drop\n" * shown)
