"""Ownership of slices: others' slices are answered as missing ones, and an admin works on all of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from core.captures import CaptureRequest
from core.status import SliceStatus, VMStatus
from models import ADMIN, STUDENT, Slice
from orchestrator import OrchestratorAPI, Result
from tests.support import use_cases
from tests.support.desk import Desk
from topology.templates import make

RING = make("ring:3", "lab", "cirros")

Call = Callable[[OrchestratorAPI, str, int, int], Result[Any]]
"""A use-case, called by a user for a slice and a VM."""

TOUCHES: dict[str, Call] = {
    "get_slice": lambda api, actor, slice_id, _: api.get_slice(actor, slice_id),
    "find_slice": lambda api, actor, slice_id, _: api.find_slice(actor, str(slice_id)),
    "add_vm_to_slice": lambda api, actor, slice_id, _: api.add_vm_to_slice(actor, slice_id, "new", "cirros"),
    "create_link": lambda api, actor, slice_id, vm: api.create_link(actor, slice_id, vm, "eth1", vm + 1, "eth1"),
    "edits.compare": lambda api, actor, slice_id, _: api.edits.compare(actor, slice_id, RING),
    "edits.apply": lambda api, actor, slice_id, _: api.edits.apply(actor, slice_id, RING),
    "plan_slice": lambda api, actor, slice_id, _: api.plan_slice(actor, slice_id),
    "plan_deletion": lambda api, actor, slice_id, _: api.plan_deletion(actor, slice_id),
    "deploy_slice": lambda api, actor, slice_id, _: api.deploy_slice(actor, slice_id),
    "repair_slice": lambda api, actor, slice_id, _: api.repair_slice(actor, slice_id),
    "delete_slice": lambda api, actor, slice_id, _: api.delete_slice(actor, slice_id),
    "open_console": lambda api, actor, _, vm: api.open_console(actor, vm),
    "reach.watch": lambda api, actor, slice_id, vm: api.reach.watch(actor, slice_id, vm),
    "reach.ways": lambda api, actor, slice_id, _: api.reach.ways(actor, slice_id),
    "reach.capture": lambda api, actor, slice_id, vm: api.reach.capture(actor, slice_id, vm, CaptureRequest("eth1")),
    "reach.connect": lambda api, actor, slice_id, vm: api.reach.connect(actor, slice_id, vm, 22),
    "finish_slice": lambda api, actor, slice_id, _: api.finish_slice(actor, slice_id),
    "take_back_slice": lambda api, actor, slice_id, _: api.take_back_slice(actor, slice_id),
    "readiness.look": lambda api, actor, slice_id, _: api.readiness.look(actor, slice_id),
    "readiness.wait": lambda api, actor, slice_id, _: api.readiness.wait(actor, slice_id, 0),
    "snapshots.take": lambda api, actor, slice_id, vm: api.snapshots.take(actor, slice_id, "a", [vm]),
    "snapshots.delete": lambda api, actor, slice_id, vm: api.snapshots.delete(actor, slice_id, "a", [vm]),
    "snapshots.restore": lambda api, actor, slice_id, vm: api.snapshots.restore(actor, slice_id, "a", [vm]),
    "snapshots.list": lambda api, actor, slice_id, _: api.snapshots.list(actor, slice_id),
    "snapshots.plan": lambda api, actor, slice_id, vm: api.snapshots.plan(actor, slice_id, "snapshot", "a", [vm]),
    "power.start": lambda api, actor, slice_id, vm: api.power.start(actor, slice_id, [vm]),
    "power.stop": lambda api, actor, slice_id, vm: api.power.stop(actor, slice_id, [vm]),
    "power.restart": lambda api, actor, slice_id, vm: api.power.restart(actor, slice_id, [vm]),
    "power.reset": lambda api, actor, slice_id, vm: api.power.reset(actor, slice_id, [vm]),
    "power.plan": lambda api, actor, slice_id, vm: api.power.plan(actor, slice_id, "reset", [vm]),
}
"""Every use-case on one slice or VM: a new one needs a line here."""

LISTS = {"list_slices", "unfinished", "snapshots.unfinished", "problems"}
OWN = {
    "authenticate",
    "get_user",
    "most_slices",
    "command_address",
    "open_command",
    "open_session",
    "operate_for",
    "create_slice",
    "designs.create",
    "designs.demand",
    "designs.plan",
    "change_password",
    "needs_new_password",
    "designs.files",
    "designs.read",
    "designs.read_file",
    "warning",
    "warning_at_start",
    *("keys.add", "keys.check", "keys.check_removal", "keys.list", "keys.remove"),
}
"""Use-cases on the calling user alone."""

EVERYBODYS = {
    *("flavors", "discover_workers", "known_workers", "prove_isolation"),
    *("designs.read", "designs.convert"),  # they read what is given, and the flavors
    *("designs.files", "designs.read_file"),  # the operator's folder is for all users
}

ADMINS: dict[str, Call] = {
    "images.add": lambda api, actor, *_: api.images.add(actor, "/srv/a.img"),
    "images.check": lambda api, actor, *_: api.images.check(actor, "/srv/a.img"),
    "images.list": lambda api, actor, *_: api.images.list(actor),
    "images.stage": lambda api, actor, *_: api.images.stage(actor, "cirros.img"),
    "images.plan_stage": lambda api, actor, *_: api.images.plan_stage(actor, "cirros.img"),
    "images.remove": lambda api, actor, *_: api.images.remove(actor, "cirros.img"),
    "images.plan_removal": lambda api, actor, *_: api.images.plan_removal(actor, "cirros.img"),
}
"""Use-cases for admins alone."""

ABSENT, ABSENT_VM = 4711, 4712


def _design(_: Desk) -> None:
    pass


def _running(desk: Desk) -> None:
    desk.ok(desk.api.deploy_slice("student", 1000))


def _unfinished(status: SliceStatus) -> Callable[[Desk], None]:
    def leave(desk: Desk) -> None:
        with desk.database.transaction() as state:
            state.slices[1000].status = status
            state.slices[1000].vms[0].status = VMStatus.PENDING

    return leave


STATES = {
    "design": _design,
    "running": _running,
    "creating": _unfinished(SliceStatus.CREATING),
    "deploying": _unfinished(SliceStatus.DEPLOYING),
    "deleting": _unfinished(SliceStatus.DELETING),
    "adding": _unfinished(SliceStatus.DESIGN),
}


@pytest.fixture
def shared(desk: Desk) -> Desk:
    """Return a desk: `student` has slice 1000 (ring) with VMs 1001 and 1002; `mallory` has the empty slice 1003."""
    desk.ring(2)
    desk.api.accounts.add("mallory", "long enough")
    desk.ok(desk.api.create_slice("mallory", "mine"))
    return desk


def test_every_use_case_is_in_one_of_the_tables() -> None:
    assert use_cases.names() == set(TOUCHES) | LISTS | OWN | EVERYBODYS | set(ADMINS)


def test_every_group_of_use_cases_is_known(desk: Desk) -> None:
    assert set(use_cases.GROUPS) == use_cases.offered(desk.api)


@pytest.mark.on_a_file
@pytest.mark.parametrize("name", ADMINS)
def test_a_student_is_refused_what_admins_do(shared: Desk, name: str) -> None:
    before, hosts = shared.path.read_bytes(), {address: host.runs for address, host in shared.cloud.hosts.items()}
    assert re.fullmatch(
        "Only admins .* base images; ask one of them", shared.no(ADMINS[name](shared.api, "mallory", 0, 0))
    )
    assert shared.path.read_bytes() == before
    assert {address: host.runs for address, host in shared.cloud.hosts.items()} == hosts


@pytest.mark.on_a_file
@pytest.mark.parametrize("state", STATES)
def test_another_users_objects_are_answered_as_missing_ones(shared: Desk, state: str) -> None:
    STATES[state](shared)
    before, hosts = shared.path.read_bytes(), {address: host.runs for address, host in shared.cloud.hosts.items()}
    for name, request in TOUCHES.items():
        absent = shared.no(request(shared.api, "mallory", ABSENT, ABSENT_VM))
        free = shared.no(request(shared.api, "mallory", 1000, 1001))
        with shared.database.claim(1000):
            claimed = shared.no(request(shared.api, "mallory", 1000, 1001))
        assert free == claimed == absent.replace(str(ABSENT_VM), "1001").replace(str(ABSENT), "1000"), name
        assert "another session" not in free
        assert shared.path.read_bytes() == before, name
        assert {address: host.runs for address, host in shared.cloud.hosts.items()} == hosts, name


@pytest.mark.parametrize("ends", [(1001, 1002), (1002, 1004), (1004, 1001)])
def test_a_link_to_another_users_vm_is_refused_like_one_to_a_missing_vm(shared: Desk, ends: tuple[int, int]) -> None:
    own = shared.ok(shared.api.add_vm_to_slice("mallory", 1003, "vm", "cirros"))
    assert own.vm_id == 1004
    first, second = ends
    theirs = shared.no(shared.api.create_link("mallory", 1003, first, "eth1", second, "eth1"))
    absent = {1001: 4711, 1002: 4712, 1004: 1004}
    none = shared.no(shared.api.create_link("mallory", 1003, absent[first], "eth1", absent[second], "eth1"))
    assert theirs == none.replace("4711", "1001").replace("4712", "1002")


@pytest.mark.parametrize("state", STATES)
def test_lists_show_ones_own_slices(shared: Desk, state: str) -> None:
    STATES[state](shared)
    assert [slice_.slice_id for slice_ in shared.ok(shared.api.list_slices("mallory"))] == [1003]
    assert shared.ok(shared.api.unfinished("mallory")) == []
    assert shared.ok(shared.api.list_slices("ghost")) == shared.ok(shared.api.unfinished("ghost")) == []


def _refusals(desk: Desk) -> list[str]:
    """Return the answers to all requests that `mallory` may not make."""
    api = desk.api
    requests = [
        call(api, "mallory", slice_id, vm) for call in TOUCHES.values() for slice_id, vm in [(1000, 1001), (9, 9)]
    ]
    own = desk.ok(api.add_vm_to_slice("mallory", 1003, "m1", "cirros", 1, True))
    requests += [
        api.add_vm_to_slice("mallory", 1003, "m1", "cirros"),
        api.add_vm_to_slice("mallory", 1003, "m2", "huge"),
        api.create_link("mallory", 1003, own.vm_id, "eth0", 1001, "eth1"),
        api.open_console("mallory", own.vm_id),
        api.take_back_slice("mallory", 1003),
        api.authenticate("student", "wrong"),
    ]
    desk.api.accounts.set_quota("mallory", 1)
    requests.append(api.add_vm_to_slice("mallory", 1003, "m3", "cirros"))
    with desk.database.claim(1003):
        requests += [api.deploy_slice("mallory", 1003), api.delete_slice("mallory", 1003)]
    return [desk.no(request) for request in requests]


def test_no_refusal_names_objects_of_another_user(shared: Desk) -> None:
    _running(shared)
    for sentence in _refusals(shared):
        without_their_own_words = re.sub(r"slice (1000|9)\b|VM (1001|9)\b", "", sentence)
        for secret in ("student", "admin", "ring", "vm0", "vm1", "1000", "1001", "1002", "5901", "5902"):
            assert secret not in without_their_own_words, sentence


# --- admins -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def administered(shared: Desk) -> Desk:
    shared.api.accounts.set_role("admin", ADMIN)
    return shared


def test_an_admin_sees_all_slices(administered: Desk) -> None:
    slices: list[Slice] = administered.ok(administered.api.list_slices("admin"))
    assert [(slice_.slice_id, slice_.owner) for slice_ in slices] == [(1000, "student"), (1003, "mallory")]
    assert administered.no(administered.api.get_slice("admin", 9)) == "You have no slice 9; your slices: 1000, 1003"


def test_an_admin_deploys_uses_and_deletes_another_users_slice(administered: Desk) -> None:
    api = administered.api
    assert administered.ok(api.deploy_slice("admin", 1000)).status == SliceStatus.RUNNING
    assert administered.ok(api.open_console("admin", 1002)).recv(100) == b"login: "
    administered.ok(api.delete_slice("admin", 1000))
    assert (administered.used("student"), administered.ok(api.get_user("student")).slices) == (0, [])


@pytest.mark.parametrize("status", [SliceStatus.DEPLOYING, SliceStatus.DELETING])
def test_an_admin_is_offered_unfinished_changes_of_all_users(administered: Desk, status: SliceStatus) -> None:
    _unfinished(status)(administered)
    (left,) = administered.ok(administered.api.unfinished("admin"))
    assert left.slice_id == 1000
    administered.ok(administered.api.finish_slice("admin", 1000))
    assert administered.ok(administered.api.unfinished("admin")) == []


def test_the_quota_is_the_owners_also_when_an_admin_adds_the_vm(administered: Desk) -> None:
    administered.api.accounts.set_quota("student", 3)
    vm = administered.ok(administered.api.add_vm_to_slice("admin", 1000, "more", "cirros"))
    assert (vm.owner, administered.used("student"), administered.used("admin")) == ("student", 3, 0)
    sentence = administered.no(administered.api.add_vm_to_slice("admin", 1000, "most", "cirros"))
    assert sentence == "Quota exceeded: student has 3 of 3 VMs; delete a slice first"


def test_an_admins_new_slice_belongs_to_the_admin(administered: Desk) -> None:
    assert administered.ok(administered.api.create_slice("admin", "x")).owner == "admin"


def test_a_role_that_was_taken_away_ends_at_once(administered: Desk) -> None:
    administered.ok(administered.api.get_slice("admin", 1000))
    administered.api.accounts.set_role("admin", STUDENT)
    assert "You have no slice 1000" in administered.no(administered.api.get_slice("admin", 1000))
