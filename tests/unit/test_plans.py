"""The plans, word for word: each design's golden plan is in `plans/`, and fake hosts run it.

After an intended change, write them again with `python -m tests.unit.test_plans` and read the difference.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from core.inventory import HypervisorSettings, InternetSettings, Inventory, SSHSettings
from deployment import DeploymentAPI
from models import Slice
from remote.plan import Command, Plan, Stage, Step
from remote.runner import Runner
from tests.support.designs import DESIGNS, design, ring_of
from tests.support.fake_hosts import FakeHosts
from tests.support.paths import PLANS, RING_TITLES
from tests.support.plan_text import full_text, short_text, titles_text


def expected(name: str) -> str:
    return (PLANS / f"{name}.txt").read_text(encoding="utf-8")


def plan_of(name: str) -> Plan:
    return DeploymentAPI(Inventory()).deploy_plan(design(name))


def text_of(name: str) -> str:
    """Return the plan of a design in full, but that of the ring, which has no command of another kind, in short."""
    return short_text(plan_of(name)) if name == "ring" else full_text(plan_of(name))


@pytest.mark.parametrize("name", DESIGNS)
def test_the_plan_is_the_golden_one(name: str) -> None:
    assert text_of(name) == expected(name)


def test_the_titles_of_the_ring_are_the_golden_ones() -> None:
    assert titles_text(plan_of("ring")) == RING_TITLES.read_text(encoding="utf-8")


def test_the_plan_of_a_ring_can_be_read_at_once() -> None:
    lines = expected("ring").splitlines()
    assert len(lines) <= 300
    assert max(map(len, lines)) <= 120


def test_the_short_text_of_a_plan_shows_every_change() -> None:
    """Change each word and each input of a plan in turn."""
    step = Step("host", "a step", (Command(("sh", "-c", "text", "do.sh", *"w" * 99), stdin="in", unless=("test",)),))
    (command,) = step.do
    assert isinstance(command, Command)
    changed = [
        replace(command, argv=(*command.argv[:place], "other", *command.argv[place + 1 :]))
        for place in range(3, len(command.argv))
    ]
    changed += [replace(command, stdin="other"), replace(command, unless=()), replace(command, as_user=True)]
    texts = {short_text(Plan((Stage("stage", (replace(step, do=(one,)),)),))) for one in (command, *changed)}
    assert len(texts) == 1 + len(changed)


def test_every_golden_plan_belongs_to_a_design() -> None:
    assert {path.stem for path in PLANS.iterdir()} == set(DESIGNS)


@pytest.mark.parametrize("name", DESIGNS)
def test_plan_runs_and_undone_leaves_nothing(name: str) -> None:
    cloud, plan = FakeHosts(), plan_of(name)
    runner = Runner(cloud.connect)
    runner.run(plan.undone("remove"), keep_going=True)
    before = copy.deepcopy(cloud.state())
    assert runner.run(plan).error is None
    assert cloud.state() != before
    assert not runner.run(plan.undone("remove"), keep_going=True).failures
    assert cloud.state() == before


@pytest.mark.parametrize("name", DESIGNS)
def test_a_step_that_can_be_undone_names_its_objects(name: str) -> None:
    for step in plan_of(name).steps:
        said = [word for command in step.do if isinstance(command, Command) for word in (*command.argv, command.stdin)]
        assert bool(step.objects) >= bool(step.undo), step.title
        assert all(any(each.rpartition(" ")[2] in word for word in said) for each in step.objects), step.title


def test_checks_make_nothing() -> None:
    stages = {stage.title: stage for stage in DeploymentAPI(Inventory()).deploy_plan(design("ring"), new=True).stages}
    assert not [step.title for title in ("preflight", "verify") for step in stages[title].steps if step.objects]


def test_an_undo_that_leaves_its_object_names_none() -> None:
    steps = [step for step in plan_of("ring").undone("remove").steps if step.title == "unfinished copy of cirros.img"]
    assert steps
    assert not [step for step in steps if step.objects]


def test_a_vm_without_a_secret_starts_with_an_empty_line() -> None:
    """The script reads one line; without one it would end the VM and fail."""
    slice_ = design("ring")
    for vm in slice_.vms:
        vm.vnc_secret = None
    steps = DeploymentAPI(Inventory()).deploy_plan(slice_).steps
    starts = [command for step in steps for command in step.do if isinstance(command, Command) and command.secret]
    assert len(starts) == len(slice_.vms)
    assert {command.stdin for command in starts} == {"\n"}


@pytest.mark.parametrize("name", DESIGNS)
def test_second_run_changes_nothing(name: str) -> None:
    cloud, plan = FakeHosts(), plan_of(name)
    runner = Runner(cloud.connect)
    runner.run(plan)
    before = copy.deepcopy(cloud.state())
    report = runner.run(plan)
    assert report.error is None
    assert cloud.state() == before
    assert not [result.step.title for result in report.results if result.changed and result.step.undo]


@pytest.mark.parametrize("name", DESIGNS)
def test_a_slice_of_an_older_version_is_undone_on_hosts_without_nft(name: str) -> None:
    cloud, plan = FakeHosts(), plan_of(name)
    runner = Runner(cloud.connect)
    runner.run(plan)
    for host in cloud.hosts.values():
        host.tables.clear()
        host.lacking.add("nft")
    assert not runner.run(plan.undone("remove"), keep_going=True).failures


@pytest.mark.parametrize("name", DESIGNS)
def test_undoing_missing_objects_is_no_error(name: str) -> None:
    report = Runner(FakeHosts().connect).run(plan_of(name).undone("remove"), keep_going=True)
    assert not [(r.step.title, str(r.error)) for r in report.failures]


@pytest.mark.long
@pytest.mark.parametrize("name", DESIGNS)
def test_every_failing_step_is_taken_back(name: str) -> None:
    """Let each step fail in turn: earlier objects are there again."""
    plan = plan_of(name)
    for step in plan.steps:
        cloud = FakeHosts()
        Runner(cloud.connect).run(plan.undone("remove"), keep_going=True)
        before = copy.deepcopy(cloud.state())
        cloud.hosts[step.host].faults = {step.title: (1, "", "out of luck")}
        report = Runner(cloud.connect).run(plan)
        if step.title == "stopped VMs":  # its guard skips it: no VM runs yet
            assert report.error is None
            continue
        assert str(report.error) == f"{step.host}: {step.title}: out of luck"
        cloud.hosts[step.host].faults = {}
        assert not Runner(cloud.connect).run(report.rollback(), keep_going=True).failures
        assert cloud.state() == before, step.title


def test_internet_stays_while_another_slice_uses_it() -> None:
    cloud = FakeHosts()
    runner, deployment = Runner(cloud.connect), DeploymentAPI(Inventory())
    mine, theirs = (deployment.deploy_plan(design(name)) for name in ("internet", "ring"))
    runner.run(theirs)
    with_theirs = copy.deepcopy(cloud.state())
    assert runner.run(mine).error is None
    runner.run(mine.undone("remove"), keep_going=True)
    network = cloud.hosts["10.0.10.3"]
    assert network.ports["gw_vlan400"] == 400
    assert network.rules
    assert set(network.processes) >= {"/run/ns-dhcp-vlan400/pid"}
    assert [path for path in network.files if "vlan400/hosts" in path] == ["/run/ns-dhcp-vlan400/hosts/slice-2015"]
    assert _without_pids(cloud.state()) == _without_pids(with_theirs)
    runner.run(theirs.undone("remove"), keep_going=True)
    assert not network.rules
    assert not network.ports


def _without_pids(state: Mapping[str, Mapping[str, Any]]) -> dict[str, object]:
    """Return the state without pids: the shared dnsmasq is restarted when a slice leaves, to drop its leases."""
    return {
        address: host | {"processes": set(host["processes"]), "files": set(host["files"])}
        for address, host in ((address, dict(host)) for address, host in state.items())
    }


def test_running_plan_keeps_the_overlays() -> None:
    slice_ = design("line")
    running = DeploymentAPI(Inventory()).running_plan(slice_)
    titles = [step.title for step in running.steps]
    assert not [title for title in titles if title.startswith("overlay")]
    assert "QEMU" in titles


def test_no_two_slices_share_an_object_on_a_host() -> None:
    """Check that a slice's plan names no object of another slice, except shared ones."""
    one, other = design("line"), design("ring")
    deployment = DeploymentAPI(Inventory())
    shared = ("programs", "bridge br-int", "base image cirros.img", "internet on VLAN 400", "dnsmasq of VLAN 400")

    def names(slice_: Slice) -> set[str]:
        steps = [step for step in deployment.deploy_plan(slice_).steps if step.title not in shared]
        words = {word for step in steps for command in step.undo for word in command.argv}
        return {word for word in words if any(mark in word for mark in ("tap_", "vlan", "slice", "ns-"))}

    assert names(one)
    assert not names(one) & names(other)


@pytest.mark.parametrize("vms", [8, 20])
def test_the_work_of_a_worker_for_a_ring_is_bounded(vms: int) -> None:
    """Count the commands: a disk and a start per VM, and all others once for the ring."""
    inventory, worker, own = Inventory(), "10.0.10.1", vms // 2
    ring = ring_of(vms, inventory)
    deploy = DeploymentAPI(inventory).deploy_plan(ring, new=True)
    asked = {stage.title: sum(len(step.do) for step in stage.by_host[worker]) for stage in deploy.stages}
    base_image, folder, wires = 4, 1, 5
    let_run = 1  # all VMs of the worker are let run together
    send, hear = 1, 1  # the frames that prove the data network are sent twice
    assert asked == {
        "preflight": 9,
        "prepare": base_image + folder + own + wires + send,
        "launch": send + hear + own + let_run,
        "verify": 5,
    }
    (remove,) = deploy.undone("remove").stages
    assert (
        sum(len(step.do) for step in remove.by_host[worker]) == 1 + folder + 2 * own + (wires - 1) + 1
    )  # TAPs that go up are removed as TAPs


def test_twenty_vms_at_once_are_one_batch_for_each_worker() -> None:
    """Add a template's VMs: one check of the place, one of the base image, and the disks."""
    inventory, cloud = Inventory(), FakeHosts()
    ring = ring_of(20, inventory)
    plan = DeploymentAPI(inventory).disk_plan(ring, ring.vms)
    assert Runner(cloud.connect).run(plan).error is None
    assert {address: host.runs for address, host in cloud.hosts.items()} == dict.fromkeys(inventory.workers_list, 1)
    place, base_image, folder, own = 1, 4, 1, 10
    (prepare,) = plan.stages
    assert {len([c for step in steps for c in step.do]) for steps in prepare.by_host.values()} == {
        place + base_image + folder + own
    }


def test_settings_reach_the_commands() -> None:
    inventory = Inventory(
        workers_list=("10.9.0.1",),
        network_node="10.9.0.3",
        ssh=SSHSettings(user="cloud"),
        hypervisor=HypervisorSettings(accel="auto", images_dir="/srv/images"),
        internet=InternetSettings(500, "172.20.0.0/24", "172.20.0.1", "eno1", "9.9.9.9"),
    )
    plan = DeploymentAPI(inventory).deploy_plan(design("line", inventory))
    text = " ".join(full_text(plan).replace("\\\n", "").split())
    for words in (
        "cloud-repositorio cloud up tap_1001_eth0",
        "/srv/images/slice-1000/vm1_img.qcow2",
        "-accel kvm -accel tcg,tb-size=128",
        "gw_vlan500 tag=500",
        "-s 172.20.0.0/24 -o eno1 -m comment --comment cloud-repositorio -j MASQUERADE",
        "--dhcp-option=6,9.9.9.9",
        "-d 10.9.0.1/32 -i gw_vlan500",
    ):
        assert words in text
    assert "10.60.7" not in text


if __name__ == "__main__":
    for case in DESIGNS:
        (PLANS / f"{case}.txt").write_text(text_of(case), encoding="utf-8")
    RING_TITLES.write_text(titles_text(plan_of("ring")), encoding="utf-8")
