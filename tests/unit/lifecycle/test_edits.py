"""Edits of a design: what they change in the file and on hosts, and that a failed one changes nothing."""

from __future__ import annotations

import copy
from contextlib import suppress
from dataclasses import replace

import pytest

from core.status import VMStatus
from remote.events import Event, StepDone
from tests.support.desk import WORKERS, Desk
from tests.support.dying import ManagerDiesError
from topology.design import Design, DesignedLink, End
from topology.edits import with_link, without_link, without_vms
from topology.of_slice import design_of
from topology.reader import read
from topology.writer import write

FILE = """\
slice: lab
vms: {a: cirros, b: cirros, c: cirros}
links:
- a - b
- {ends: [b, c], name: core}
"""

GOALS = """\
goals:
- {name: up, booted: [a, c]}
- {name: path, ping: a, from: a-b}
- {name: web, http: "b:80", from: core, points: 2}
- {name: address, lease: a:eth1, within: 90s}
"""

EDITS = {
    "VM": (", c: cirros}", ", c: cirros, d: {flavor: cirros, internet: true}}"),
    "no VM": (", c: cirros}\nlinks:\n- a - b\n- {ends: [b, c], name: core}", "}\nlinks: [a - b]"),
    "LAN": ("- a - b", "- [a, b, c]"),
    "no link": ("- a - b\n", ""),
    "services": ("name: core", "name: core, services: none"),
    "addresses": ("name: core", "name: core, cidr: 10.1.0.0/16, addresses: {c: 10.1.0.50}"),
    "order": ("[b, c]", "[c, b]"),
    "internet": ("a: cirros", "a: {flavor: cirros, internet: true}"),
    "interfaces": ("a: cirros", "a: {flavor: cirros, nics: 7}"),
    "start": ("a: cirros", "a: {flavor: cirros, start: manual}"),
    "goals": (FILE, FILE + GOALS),
    "transparent": ("name: core", "name: core, transparent: true"),
    "silent": ("name: core", "name: core, state: silent"),
    "down": ("name: core", "name: core, state: down"),
    "rate": ("name: core", "name: core, rate: {b: 10mbit}, delay: 20ms, loss: 1%"),
    "profile": ("name: core", "name: core, profile: dsl"),
    "description": ("slice: lab", "slice: lab\ndescription: mine"),
    "all": (FILE, "slice: lab\nvms: {x: cirros, y: cirros}\nlinks: [x - y]\n"),
}


@pytest.fixture
def lab(desk: Desk) -> Desk:
    """Return a desk with the slice of the file, 1000."""
    desk.ok(desk.api.designs.create("student", read(FILE)))
    return desk


def edited(kind: str) -> Design:
    old, new = EDITS[kind]
    assert old in FILE
    return read(FILE.replace(old, new))


@pytest.mark.parametrize("kind", EDITS)
def test_a_slice_becomes_what_the_file_says_and_the_second_time_nothing_is_done(lab: Desk, kind: str) -> None:
    wanted = edited(kind)
    before = {link.vlan_id: link.link_id for link in lab.slice().links}
    slice_ = lab.ok(lab.api.edits.apply("student", 1000, wanted))
    again = lab.ok(lab.api.edits.compare("student", 1000, wanted))
    assert (again.found, [*again.plan.steps]) == ((), [])
    assert {vm.name for vm in slice_.vms} == {vm.name for vm in wanted.vms}
    assert {vm.status for vm in slice_.vms} == {VMStatus.DESIGN}
    assert lab.used() == len(wanted.vms)
    assert all(before.get(link.vlan_id, link.link_id) == link.link_id or link.link_id > 2 for link in slice_.links)
    files = [path for host in WORKERS for path in lab.cloud.hosts[host].files]
    assert len([path for path in files if path.endswith("_img.qcow2")]) == len(wanted.vms)
    lab.ok(lab.api.deploy_slice("student", 1000))
    assert lab.ok(lab.api.problems("student", 1000)) == {}


@pytest.mark.parametrize("kind", ["VM", "no VM", "all"])
def test_a_worker_that_fails_leaves_the_slice_as_it_was(lab: Desk, kind: str) -> None:
    before, hosts = lab.slice().to_dict(), copy.deepcopy(lab.cloud.state())
    for host in WORKERS:
        lab.cloud.hosts[host].dead = True
    lab.no(lab.api.edits.apply("student", 1000, edited(kind)))
    assert (lab.slice().to_dict(), lab.cloud.state()) == (before, hosts)


def test_the_plan_is_what_is_executed(lab: Desk) -> None:
    plan = lab.ok(lab.api.edits.compare("student", 1000, edited("all"))).plan
    done: list[StepDone] = []
    lab.ok(
        lab.api.edits.apply(
            "student", 1000, edited("all"), lambda event: done.append(event) if isinstance(event, StepDone) else None
        )
    )
    assert {(event.step.host, event.step.title) for event in done} == {(step.host, step.title) for step in plan.steps}


SWAP = read("slice: lab\nvms: {a: cirros, x: cirros, y: cirros}\nlinks: [a - x]\n")
"""The slice of the file with other VMs in the place of two of its VMs."""


def fill_quota(lab: Desk) -> None:
    lab.api.accounts.set_quota("student", 3)


def test_a_swap_of_vms_needs_no_room_in_the_quota(lab: Desk) -> None:
    fill_quota(lab)
    lab.ok(lab.api.edits.compare("student", 1000, SWAP))
    lab.ok(lab.api.edits.apply("student", 1000, SWAP))
    lab.ok(lab.api.deploy_slice("student", 1000))
    assert lab.ok(lab.api.problems("student", 1000)) == {}
    lab.ok(lab.api.edits.apply("student", 1000, read(FILE)))
    assert lab.used() == 3
    sentence = lab.no(
        lab.api.edits.apply("student", 1000, read("slice: lab\nvms: {a: cirros, r: cirros, s: cirros, t: cirros}"))
    )
    assert sentence == "Quota exceeded: you have 3 of 3 VMs; delete a slice first"


@pytest.mark.parametrize("moments", range(2, 11))
def test_a_swap_that_a_dead_manager_left_gives_no_vms_beyond_the_quota(lab: Desk, moments: int) -> None:
    """The new VMs are there beside the old ones only until one of the two is taken back."""
    fill_quota(lab)
    left = iter(range(moments))

    def die(event: Event) -> None:
        if isinstance(event, StepDone) and next(left, None) is None:
            raise ManagerDiesError

    with suppress(ManagerDiesError):
        lab.ok(lab.api.edits.apply("student", 1000, SWAP, die))
    if lab.ok(lab.api.unfinished("student")):
        sentence = (
            "Quota exceeded: x, y were being added in the place of VMs that are still there; log in again to take it"
        )
        assert lab.no(lab.api.finish_slice("student", 1000)).startswith(sentence)
        assert lab.no(lab.api.deploy_slice("student", 1000)).startswith(sentence)
        lab.ok(lab.api.take_back_slice("student", 1000))
        assert {vm.name for vm in lab.slice().vms} == {"a", "b", "c"}
    assert lab.used() == 3
    lab.ok(lab.api.deploy_slice("student", 1000))
    assert lab.ok(lab.api.problems("student", 1000)) == {}


def test_new_vms_are_taken_back_where_the_disks_of_others_stay(lab: Desk) -> None:
    before, worker = lab.slice().to_dict(), lab.cloud.hosts[WORKERS[1]]
    worker.faults["overlay of c"] = (1, "", "no such thing")
    assert lab.no(lab.api.edits.apply("student", 1000, SWAP)).startswith("Not all disks are removed")
    assert lab.slice().to_dict() == before
    assert not [path for host in WORKERS for path in lab.cloud.hosts[host].files if "/x_img" in path]


REFUSALS = {
    "flavor": ("a: cirros", "a: ubuntu", "Another flavor needs a new disk: remove a first, then add it again"),
    "quota": ("c: cirros}", "c: cirros, d: cirros, e: cirros, f: cirros, g: cirros}",
              "Quota exceeded: you have 6 of 6 VMs"),
    "network": ("name: core", "name: core, cidr: 192.168.100.0/24",
                "The network 192.168.100.0/24 overlaps 192.168.100.0/24 of another link"),
}  # fmt: skip


@pytest.mark.on_a_file
@pytest.mark.parametrize("kind", REFUSALS)
def test_an_edit_that_may_not_be_changes_nothing(lab: Desk, kind: str) -> None:
    old, new, sentence = REFUSALS[kind]
    wanted, before = read(FILE.replace(old, new)), lab.path.read_bytes()
    assert lab.no(lab.api.edits.compare("student", 1000, wanted)).startswith(sentence)
    assert lab.no(lab.api.edits.apply("student", 1000, wanted)).startswith(sentence)
    assert lab.path.read_bytes() == before


@pytest.mark.on_a_file
def test_a_running_slice_that_is_as_the_file_says_is_left_alone(lab: Desk) -> None:
    lab.ok(lab.api.deploy_slice("student", 1000))
    before = lab.path.read_bytes()
    assert lab.ok(lab.api.edits.compare("student", 1000, read(FILE))).found == ()
    lab.ok(lab.api.edits.apply("student", 1000, read(FILE)))
    assert lab.path.read_bytes() == before


def test_a_vm_that_a_dead_manager_was_adding_is_named(lab: Desk) -> None:
    def die(event: Event) -> None:
        if isinstance(event, StepDone):
            raise ManagerDiesError

    with suppress(ManagerDiesError):
        lab.api.edits.apply("student", 1000, edited("VM"), die)
    sentence = "Slice 1000 is getting a new VM (d); if no other session is adding it, log in again to"
    assert lab.no(lab.api.edits.compare("student", 1000, edited("VM"))).startswith(sentence)
    assert lab.no(lab.api.edits.apply("student", 1000, read(FILE))).startswith(sentence)
    lab.ok(lab.api.finish_slice("student", 1000))
    lab.ok(lab.api.edits.apply("student", 1000, edited("VM")))


def test_parts_are_added_and_removed_one_by_one(lab: Desk) -> None:
    now = design_of(lab.slice())[0]
    free = (End("a", 0, named=False), End("c", 0, named=False))
    slice_ = lab.ok(lab.api.edits.apply("student", 1000, with_link(now, DesignedLink(free, "third"))))
    assert [link.ends for link in slice_.links][2] == ((1001, "eth2"), (1003, "eth2"))
    now = design_of(slice_)[0]
    slice_ = lab.ok(lab.api.edits.apply("student", 1000, without_vms(without_link(now, "third"), ["b"])))
    assert ([vm.name for vm in slice_.vms], slice_.links) == (["a", "c"], [])


def test_goals_are_kept_and_go_with_the_parts_that_they_name(lab: Desk) -> None:
    wanted = read(FILE + GOALS)
    lab.ok(lab.api.edits.apply("student", 1000, wanted))
    now = design_of(lab.slice())[0]
    assert now.goals == wanted.goals
    assert read(write(now)) == now
    edit = lab.ok(lab.api.edits.compare("student", 1000, without_link(now, "core")))
    assert edit.removes == ["link core", "goal web"]
    edit = lab.ok(lab.api.edits.compare("student", 1000, without_vms(now, ["c"])))
    assert [str(each) for each in edit.found] == [
        "VM c: removed",
        "link core: removed",
        "goal web: removed",
        "goal up: changed live (targets a, c -> a)",
    ]
    assert [goal.name for goal in without_vms(now, ["a"]).goals] == ["up", "web"]


def test_goals_follow_a_link_that_is_called_otherwise() -> None:
    file = "slice: lab\nvms: {a: cirros, b: cirros}\nlinks: [a - b, a - b]\ngoals: [{name: x, ping: a, from: a-b.2}]\n"
    now = read(file)
    assert [goal.source for goal in without_link(now, "a-b").goals] == ["a-b"]
    named = DesignedLink((End("a", 0, named=False), End("b", 0, named=False)), "a-b.2")
    assert [goal.source for goal in with_link(now, named).goals] == ["a-b.3"]


def test_a_goal_for_an_interface_that_the_slice_does_not_get_is_refused(lab: Desk) -> None:
    """A link of the file without named interfaces stays where it is, so another interface may be missing."""
    file = FILE.replace("- a - b\n", "- a - b\n- a - c\n") + "goals: [{name: x, lease: a:eth3}]\n"
    now = design_of(lab.slice())[0]
    wanted = replace(read(file), links=now.links)
    vms = tuple(replace(vm, nics=2) for vm in wanted.vms)
    sentence = "goal x: a has no eth3; it has eth1, eth2: change the goals as well"
    assert lab.no(lab.api.edits.compare("student", 1000, replace(wanted, vms=vms))).startswith(sentence)


def test_an_end_without_a_free_interface_is_refused(lab: Desk) -> None:
    now = design_of(lab.slice())[0]
    link = DesignedLink((End("a", 0, named=False), End("c", 0, named=False)))
    sentence = "a has 2 data interfaces, and none without a link; remove a link first"
    assert lab.no(lab.api.edits.compare("student", 1000, with_link(with_link(now, link), link))) == sentence
