from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from bench import designing, frozen, hosts, jobs, startup
from bench.clock import StageClock, phases
from bench.documented import CommandLine, DocumentedDesign
from bench.one_ssh import ssh_argv
from bench.samples import BenchError
from bench.with_ansible import WithAnsible
from bench.with_libvirt import domain
from bench.work import Work
from core.inventory import Inventory, SSHSettings
from core.status import SliceStatus
from database import Database
from deployment import DeploymentAPI
from remote.events import StageStarted, StepDone
from remote.plan import Command, Plan, Stage, Step, Upload
from tests.support.many import write_file

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
    (slice_,) = Work("ring", vms).slices(inventory, IMAGE)
    return DocumentedDesign(slice_, inventory)


def count(lines: list[CommandLine], part: str) -> int:
    return sum(part in line.text for line in lines)


# --- the work ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vms", SIZES)
def test_a_ring_uses_every_data_interface_once(vms: int) -> None:
    (slice_,) = Work("ring", vms).slices(Inventory(), IMAGE)
    assert all(interface.vlan_id for vm in slice_.vms for interface in vm.interfaces)
    assert len({link.vlan_id for link in slice_.links}) == len(slice_.vms) == vms


def test_a_line_leaves_its_two_ends_open() -> None:
    (slice_,) = Work("line", 4).slices(Inventory(), IMAGE)
    assert len(slice_.links) == 3
    assert [vm.name for vm in slice_.vms if not all(i.vlan_id for i in vm.interfaces)] == ["vm1", "vm4"]


def test_vms_are_spread_evenly_over_the_workers_that_take_part() -> None:
    inventory = Inventory(workers_list=frozen.ADDRESSES)
    (two,) = Work("ring", 8, 2).slices(inventory, IMAGE)
    assert Counter(vm.worker_ip for vm in two.vms) == {"10.0.10.1": 4, "10.0.10.2": 4}
    (four,) = Work("ring", 8, 4).slices(inventory, IMAGE)
    assert set(Counter(vm.worker_ip for vm in four.vms).values()) == {2}


@pytest.mark.parametrize(
    ("work", "parts"),
    [
        (Work("ring", 20), [20]),
        (Work("ring", 40), [20, 20]),
        (Work("line", 80), [20, 20, 20, 20]),
        (Work("ring", 21), [11, 10]),
        (Work("ring", 6, per_slice=2), [2, 2, 2]),
    ],
)
def test_more_vms_than_a_pool_has_vlans_are_several_slices(work: Work, parts: list[int]) -> None:
    slices = work.slices(Inventory(), IMAGE)
    assert work.parts == [len(slice_.vms) for slice_ in slices] == parts
    vlans = [link.vlan_id for slice_ in slices for link in slice_.links]
    assert len(set(vlans)) == len(vlans) == work.link_count
    assert len({vm.vm_id for slice_ in slices for vm in slice_.vms}) == work.vms


def test_work_is_read_as_it_is_written() -> None:
    assert Work.parse("line:20:4") == Work("line", 20, 4)
    assert str(Work.parse("ring:8")) == "ring:8:2"


@pytest.mark.parametrize(
    "text", ["star:8", "ring", "ring:1", "ring:81", "ring:8:0", "ring:8:9", "ring:8:2:2", "ring:-8"]
)
def test_other_work_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"^work "):
        Work.parse(text)


# --- the documented design --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vms", SIZES)
def test_the_documented_design_makes_what_is_expected_on_the_hosts(vms: int) -> None:
    lines = documented(vms).deploy()
    ports = [line for line in lines if " add-port " in line.text]
    made = {
        "QEMU processes": count(lines, " qemu-system-x86_64 "),
        "VNC ports": count(lines, " -vnc "),
        "TAPs": count(lines, " tuntap add "),
        "tagged ports of VMs": count(ports, " tap_"),
        "other tagged ports": len(ports) - count(ports, " tap_"),
        "overlays": count(documented(vms).design(), "qemu-img create"),
        "dnsmasq processes": count(lines, " dnsmasq "),
        "DHCP namespaces": count(lines, " netns add "),
    }
    assert made == hosts.expected(Work("ring", vms))
    assert all(" tag=" in line.text for line in ports)


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


def test_the_documented_design_needs_this_many_commands_for_eight_vms() -> None:
    design = documented(8)
    lives = [design.design(), design.deploy(), design.delete()]
    assert [len(lines) for lines in lives] == [8, 9 * 9 + 4 + 8 * (3 * 3 + 1), 8 * (1 + 3 * 2) + 9 * 4 + 3 + 8]


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
    (slice_,) = Work("ring", 4).slices(inventory, IMAGE)
    steps = DeploymentAPI(inventory).deploy_plan(slice_).steps
    ours = "\n".join(" ".join(each.argv) for step in steps for each in step.do if isinstance(each, Command))
    for line in DocumentedDesign(slice_, inventory).deploy():
        words = line.text.split()
        if "add-port" in words:
            port, tag = words[words.index("br-int") + 1 :][:2]
            assert f"add-port br-int {port} {tag} " in ours


def test_each_command_is_an_ssh_process_without_settings_of_the_machine() -> None:
    argv = ssh_argv(SSHSettings(key_file="/k", known_hosts="/h"), NODE, "sudo true")
    assert argv[:3] == ["ssh", "-F", "none"]
    assert argv[-2:] == [f"ubuntu@{NODE}", "sudo true"]
    assert not [word for word in argv if "Control" in word]


# --- a plan as lines and scripts --------------------------------------------------------------------------------------


def run(*actions: Command | Upload, lock: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the floor's script of a step that root does."""
    (turn,) = jobs.turns(Plan((Stage("all", (Step("here", "it", actions, lock=lock),)),)))
    program = jobs.program(turn.scripts["here"])
    return subprocess.run(
        ["sh", "-s"], input=program, capture_output=True, text=True, check=False, start_new_session=True
    )


def test_a_script_does_what_the_commands_say(tmp_path: Path) -> None:
    there, new = tmp_path / "there", tmp_path / "new"
    there.touch()
    done = run(
        Command(("sh", "-c", 'cat >"$1"', "sh", str(new)), stdin="it's $HOME\n`two`"),
        Command(("rm", str(there)), unless=("test", "-e", str(there))),
        Command(("sh", "-c", "exit 3"), ok=(0, 3)),
        Command(("cat",)),
        Upload("/somewhere", str(there), "", unless=("true",), as_user=False),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert new.read_text() == "it's $HOME\n`two`\n"
    assert there.exists()


@pytest.mark.parametrize(
    "broken",
    [
        Command(("false",)),
        Command(("false",), unless=("false",)),
        Command(("sh", "-c", "exit 4"), ok=(0, 3)),
        Upload("/somewhere", "/there", "", unless=("false",), as_user=False),
    ],
)
def test_a_script_ends_with_the_first_failure(broken: Command | Upload) -> None:
    done = run(Command(("echo", "before")), broken, Command(("echo", "after")))
    assert done.returncode
    assert done.stdout == "before\n"


def test_a_single_line_does_the_same_as_in_a_script(tmp_path: Path) -> None:
    new = tmp_path / "new"
    write = Command(("sh", "-c", 'cat >"$1"', "sh", str(new)), stdin="text", unless=("test", "-e", str(new)))
    (turn,) = jobs.turns(Plan((Stage("all", (Step("here", "it", (write,)),)),)))
    (job,) = turn.jobs["here"]
    for _ in range(2):
        subprocess.run(["sh", "-c", job.text], check=True)
    assert new.read_text() == "text\n"
    assert not job.as_user


def test_a_script_changes_to_the_user_for_the_users_commands() -> None:
    (turn,) = jobs.turns(Plan((Stage("all", (Step("here", "it", (Command(("id",), as_user=True),)),)),)))
    assert turn.jobs["here"][0].as_user
    assert "setpriv" not in turn.jobs["here"][0].text
    assert 'setpriv --reuid="$SUDO_UID" --regid="$SUDO_GID" --init-groups -- id' in turn.scripts["here"]


def test_every_contender_has_the_commands_of_our_plan_in_order() -> None:
    inventory = Inventory()
    (slice_,) = Work("ring", 3).slices(inventory, IMAGE)
    plan = DeploymentAPI(inventory).deploy_plan(slice_)
    turns = jobs.life_of(slice_, inventory)["deploy"]
    assert [turn.title for turn in turns] == [stage.title for stage in plan.stages]
    for stage, turn in zip(plan.stages, turns, strict=True):
        assert {host: sum(len(step.do) for step in steps) for host, steps in stage.by_host.items()} == {
            host: len(found) for host, found in turn.jobs.items()
        }


def test_slices_are_deployed_in_turn_and_collected_together() -> None:
    life = jobs.life(Work("ring", 4, per_slice=2), Inventory(), IMAGE)
    assert [turn.title for turn in life["deploy"]] == ["preflight", "prepare", "launch", "verify"] * 2
    (status,) = life["status"]
    assert sorted(status.jobs) == ["10.0.10.1", "10.0.10.2", NODE]


def test_stages_survive_their_way_through_a_file() -> None:
    turns = jobs.life(Work("line", 2), Inventory(), IMAGE)["deploy"]
    text = json.dumps([turn.to_dict() for turn in turns])
    assert [jobs.Turn.from_dict(record) for record in json.loads(text)] == turns


# --- the first floor --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("work", frozen.works(), ids=str)
def test_the_first_floor_is_there_for_every_work(work: Work) -> None:
    life = frozen.life(work, Inventory(workers_list=frozen.ADDRESSES))
    scripts = "".join(script for turn in life["deploy"] for script in turn.scripts.values())
    assert scripts.count("qemu-system-x86_64 -name ") == work.vms
    assert scripts.count("-accel kvm -accel tcg -smp") == work.vms
    assert scripts.count("tuntap add mode tap name ") == hosts.expected(work)["TAPs"]
    assert "@ACCEL@" not in scripts
    assert {host for turn in life["deploy"] for host in turn.scripts} == {
        *frozen.ADDRESSES[: min(work.workers, work.vms)],
        NODE,
    }


def test_a_work_that_was_not_kept_is_refused() -> None:
    with pytest.raises(BenchError, match="first floor has no ring:9:2"):
        frozen.life(Work("ring", 9), Inventory())


# --- the other contenders ---------------------------------------------------------------------------------------------


def test_ansible_gets_a_list_of_tasks_for_each_stage_and_host(tmp_path: Path) -> None:
    inventory = Inventory()
    life = jobs.life(Work("ring", 2), inventory, IMAGE)
    WithAnsible(inventory, life, Path("/programs"), tmp_path / "desk")
    plays = json.loads((tmp_path / "desk/deploy.json").read_text())
    assert [play["name"] for play in plays] == [turn.title for turn in life["deploy"]]
    assert {(play["strategy"], play["gather_facts"]) for play in plays} == {("free", False)}
    for number, turn in enumerate(life["deploy"]):
        for host, found in turn.jobs.items():
            tasks = json.loads((tmp_path / f"desk/deploy-{number}-{host}.json").read_text())
            commands = [task["ansible.builtin.shell"]["cmd"] for task in tasks]
            assert commands == ["{% raw %}" + job.text + "{% endraw %}" for job in found]
            assert [task["become"] for task in tasks] == [not job.as_user for job in found]


def test_libvirt_gets_the_machine_that_we_start() -> None:
    (slice_,) = Work("ring", 2).slices(Inventory(), IMAGE)
    vm = slice_.vms[0]
    root = domain(vm, "slice1000-vm1001", "/home/ubuntu/overlay", "tcg")
    assert root.get("type") == "qemu"
    nics = root.findall("devices/interface")
    assert [nic.find("vlan/tag").get("id") for nic in nics] == [str(i.vlan_id) for i in vm.interfaces]  # type: ignore[union-attr]
    assert [nic.find("mac").get("address") for nic in nics] == [i.mac for i in vm.interfaces]  # type: ignore[union-attr]
    assert {nic.find("virtualport").get("type") for nic in nics} == {"openvswitch"}  # type: ignore[union-attr]
    assert root.find("devices/graphics").get("port") == str(vm.vnc_port)  # type: ignore[union-attr]


# --- counting and timing ----------------------------------------------------------------------------------------------


def test_counts_are_read_from_the_output_of_hosts() -> None:
    assert hosts.parsed("TAPs\t24\nQEMU processes\t8\n") == {"TAPs": 24, "QEMU processes": 8}


def test_the_stage_clock_keeps_the_last_step_of_each_host_and_adds_changes_up() -> None:
    clock = StageClock()
    steps = (Step("a", "one", ()), Step("a", "two", ()), Step("b", "one", ()))
    stage = Stage("launch", steps)
    for _ in range(2):
        clock(StageStarted(stage))
        for step in steps:
            clock(StepDone(stage, step, 0.0, changed=True))
        clock.end()
    assert list(clock.stages) == list(clock.wall_times) == ["launch"]
    assert sorted(clock.stages["launch"]) == ["a", "b"]
    assert 0 < clock.stages["launch"]["a"] <= clock.stages["launch"]["b"] <= clock.wall_times["launch"]


def test_the_network_nodes_work_during_the_workers_is_the_phase_network() -> None:
    stages = {"preflight": {"a": 0.5, NODE: 0.6}, "prepare": {"a": 1.0, "b": 2.0, NODE: 5.0}}
    launch = {"launch": {"a": 3.0, "b": 2.5}}
    assert phases(stages | launch, NODE) == {"preflight": 0.6, "images": 2.0, "network": 5.0, "launch": 3.0}
    launch["launch"][NODE] = 1.5
    assert phases(stages | launch, NODE)["network"] == 6.5


# --- the manager alone ------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_big_file_is_valid_and_names_unreachable_hosts(tmp_path: Path) -> None:
    path = tmp_path / "database.yaml"
    write_file(path, startup.LARGE)
    state = Database(path).load()
    assert len(state.slices) == 100
    assert sum(len(slice_.vms) for slice_ in state.slices.values()) == 1000
    assert sum(len(slice_.links) for slice_ in state.slices.values()) == 1000
    assert {slice_.status for slice_ in state.slices.values()} == {SliceStatus.DESIGN, SliceStatus.RUNNING}
    assert state.inventory.hosts == ("127.0.0.1",)


def test_memory_is_read_from_proc() -> None:
    status = "Name:\tpython\nVmHWM:\t  100000 kB\nVmRSS:\t 1 kB\n"
    assert startup.megabytes(status, "VmHWM") == pytest.approx(102.4)
    assert startup.megabytes(status, "VmRSS") == pytest.approx(0.001024)
    with pytest.raises(ValueError, match="no VmHWM"):
        startup.megabytes("Name:\tkthreadd\n", "VmHWM")


def test_the_slowest_imports_are_read_from_the_output_of_python() -> None:
    text = "import time: self [us] | cumulative | imported package\n"
    text += "import time:       120 |        120 |   _io\nimport time:     30000 |      90000 | rich.console\n"
    assert startup.slowest_imports(text, 1) == [("rich.console", 0.09)]


def test_every_operation_of_the_design_is_timed() -> None:
    samples = list(designing.measure(1, lambda _line: None, sizes=(10,)))
    assert {sample.series for sample in samples} == {designing.series(10)}
    assert [sample.phase for sample in samples] == [
        *("load", "one save", "create slice", "add VM", "add VM", "create link", "delete slice")
    ]
    assert all(sample.seconds > 0 for sample in samples)


def test_a_file_of_each_size_has_its_vms_and_room_for_one_more_slice() -> None:
    assert {vms: sum(sizes) for vms, sizes in designing.SIZES.items()} == {10: 10, 100: 100, 1000: 1000}
    assert all(len(sizes) < 100 and max(sizes) <= 20 for sizes in designing.SIZES.values())
