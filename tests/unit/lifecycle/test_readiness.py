"""When VMs are ready: what hosts are asked, what they may answer, and how long is waited."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadAnswer
from core.flavors import Devices, Flavor
from core.inventory import Inventory
from core.status import VMStatus
from lifecycle import readiness
from lifecycle.readiness import Look
from lifecycle.signs import Sign, SignsOfLife
from models import VM, Slice
from remote.plan import Command
from tests.support.designs import design
from tests.support.desk import NETWORK, Desk

WORKERS = ("10.0.10.1", "10.0.10.2")


def running(name: str = "line", **devices: object) -> Slice:
    """Return a slice that runs, all VMs with these devices."""
    slice_ = design(name)
    for vm in slice_.vms:
        vm.status = VMStatus.RUNNING
        if devices:
            vm.flavor = Flavor(devices=Devices.from_dict(devices))
    return slice_


def asked(slice_: Slice, seen: dict[int, frozenset[str]] | None = None) -> dict[str, tuple[str, ...]]:
    """Return the words of the one script that each host runs."""
    plan = SignsOfLife(Inventory(), slice_).plan(seen or {})
    words = {}
    for step in plan.steps:
        (command,) = step.do
        assert isinstance(command, Command)
        assert command.as_user == (step.host != NETWORK)
        words[step.host] = command.argv[4:]
    assert len(words) == len([*plan.steps])
    return words


def all_signs(vm: VM, slice_: Slice) -> frozenset[str]:
    return frozenset(SignsOfLife(Inventory(), slice_).possible(vm))


# --- what is asked ----------------------------------------------------------------------------------------------------


def test_each_host_is_asked_once_however_many_vms_it_has() -> None:
    assert asked(running("ring")).keys() == {*WORKERS, NETWORK}


def test_a_worker_is_asked_about_its_own_vms() -> None:
    slice_ = running(ready=["login: *$"])
    words = asked(slice_)
    for vm in slice_.vms:
        for worker in WORKERS:
            assert (str(vm.vm_id) in words[worker]) == (worker == vm.worker_ip)
    assert "login: *$" in words["10.0.10.1"]


def test_no_host_is_asked_for_what_was_seen() -> None:
    slice_ = running()
    assert asked(slice_, {vm.vm_id: all_signs(vm, slice_) for vm in slice_.vms}) == {}
    first, *others = slice_.vms
    words = asked(slice_, {vm.vm_id: all_signs(vm, slice_) for vm in others})
    assert words.keys() == {first.worker_ip, NETWORK}


def test_a_vm_is_asked_for_ssh_once_it_has_sent_something() -> None:
    slice_ = running("internet")
    (vm,) = slice_.vms
    address = vm.interfaces[0].ip_config.ip if vm.interfaces[0].ip_config else ""
    assert address not in asked(slice_)[NETWORK]
    assert address in asked(slice_, {vm.vm_id: frozenset({"frame"})})[NETWORK]
    assert address not in asked(slice_, {vm.vm_id: frozenset({"frame", "ssh"})})[NETWORK]


def test_vms_that_do_not_run_are_left_out() -> None:
    slice_ = running()
    for vm in slice_.vms:
        vm.status = VMStatus.STOPPED
    assert asked(slice_) == {}
    assert SignsOfLife(Inventory(), slice_).result({}) == []


@pytest.mark.parametrize(
    ("name", "devices", "needed"),
    [
        ("line", {"ready": ["login:"]}, Sign.CONSOLE),
        ("line", {}, Sign.LEASE),
        ("internet", {}, Sign.LEASE),
        ("single", {}, Sign.PROCESS),
        ("single", {"ready": ["login:"]}, Sign.CONSOLE),
    ],
)
def test_a_vm_is_ready_when_its_flavor_says_so(name: str, devices: dict[str, object], needed: Sign) -> None:
    slice_ = running(name, **devices)
    signs = SignsOfLife(Inventory(), slice_)
    assert {signs.needed(vm) for vm in slice_.vms} == {needed}
    for vm in signs.result({vm.vm_id: frozenset({needed.value}) for vm in slice_.vms}):
        assert vm.ready
    assert not any(vm.ready for vm in signs.result({}))


def test_without_dhcp_the_first_frame_counts() -> None:
    slice_ = running("lans")
    signs = SignsOfLife(Inventory(), slice_)
    for vm in slice_.vms:
        for nic in vm.interfaces:
            nic.mac = None
    assert {SignsOfLife(Inventory(), slice_).needed(vm) for vm in slice_.vms} == {Sign.FRAME}
    assert {signs.needed(vm) for vm in slice_.vms} == {Sign.LEASE}


# --- what hosts answer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("10.0.10.1", "9999 process"),
        ("10.0.10.2", "1001 process"),
        ("10.0.10.1", "1001 lease"),
        ("10.0.10.3", "1001 process"),
        ("10.0.10.1", "1001"),
        ("10.0.10.1", "1001 process frame"),
        ("10.0.10.1", "process"),
        ("10.0.10.1", "\x1b[2J"),
    ],
)
def test_an_answer_that_cannot_be_true_is_refused(host: str, answer: str) -> None:
    with pytest.raises(BadAnswer):
        SignsOfLife(Inventory(), running()).parse(host, f"1001 process\n{answer}\n" if host != WORKERS[1] else answer)


@given(st.text(max_size=200))
def test_any_answer_gives_signs_or_is_refused(answer: str) -> None:
    try:
        found = SignsOfLife(Inventory(), running()).parse("10.0.10.1", answer)
    except BadAnswer:
        return
    assert {word for words in found.values() for word in words} <= {"process", "frame", "console", "patterns"}


# --- waiting ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ring(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Return a desk with a ring of two VMs that runs; no look waits for the next one."""
    monkeypatch.setattr(readiness, "PAUSE_SECONDS", 0.0)
    desk.ring(2)
    desk.ok(desk.api.deploy_slice("student", 1000))
    return desk


def show(desk: Desk, host: str, vm_id: int, *words: str) -> None:
    desk.cloud.hosts[host].signs[str(vm_id)] = [*words]


def test_a_look_says_what_is_known(ring: Desk) -> None:
    show(ring, WORKERS[0], 1001, "frame")
    show(ring, NETWORK, 1001, "lease")
    look = ring.ok(ring.api.readiness.look("student", 1000))
    assert [(vm.name, sorted(vm.seen)) for vm in look.vms] == [
        ("vm0", ["frame", "lease", "process"]),
        ("vm1", ["process"]),
    ]
    assert [vm.name for vm in look.late] == ["vm1"]
    assert not look.ready


def test_a_problem_that_a_worker_names_stays_beside_what_the_network_node_sees(ring: Desk) -> None:
    show(ring, WORKERS[0], 1001, "patterns")
    show(ring, NETWORK, 1001, "lease")
    look = ring.ok(ring.api.readiness.look("student", 1000))
    assert look.vms[0].problem == "its patterns cannot be compared with its console"


def test_another_users_slice_is_not_looked_at(ring: Desk) -> None:
    assert ring.no(ring.api.readiness.look("ghost", 1000)).startswith("You have no slice 1000")
    assert ring.no(ring.api.readiness.wait("ghost", 1000, 1)).startswith("You have no slice 1000")


def test_it_is_waited_until_all_are_ready(ring: Desk) -> None:
    looks: list[Look] = []

    def watch(look: Look, _pause: float) -> bool:
        looks.append(look)
        vm_id = 1000 + len(looks)
        show(ring, NETWORK, vm_id, "lease", "ssh")
        show(ring, WORKERS[len(looks) - 1], vm_id, "frame")
        return True

    last = ring.ok(ring.api.readiness.wait("student", 1000, 60, watch))
    assert [len(look.late) for look in (*looks, last)] == [2, 1, 0]
    assert last.ready
    assert last.errors == ()


@pytest.mark.parametrize("seconds", [0, 0.2])
def test_it_is_waited_so_long_and_no_longer(ring: Desk, seconds: float) -> None:
    last = ring.ok(ring.api.readiness.wait("student", 1000, seconds, lambda _look, _pause: True))
    assert [vm.name for vm in last.late] == ["vm0", "vm1"]


def test_a_watcher_ends_the_wait(ring: Desk) -> None:
    assert len(ring.ok(ring.api.readiness.wait("student", 1000, 60, lambda _look, _pause: False)).late) == 2


def test_a_host_that_does_not_answer_keeps_what_was_seen(ring: Desk) -> None:
    show(ring, WORKERS[0], 1001, "frame")
    looks: list[Look] = []

    def watch(look: Look, _pause: float) -> bool:
        looks.append(look)
        ring.cloud.hosts[WORKERS[0]].dead = True
        return len(looks) < 2

    last = ring.ok(ring.api.readiness.wait("student", 1000, 60, watch))
    assert sorted(last.vms[0].seen) == ["frame", "process"]
    assert [error for error in last.errors if WORKERS[0] in error]


def test_a_host_that_lies_is_reported(ring: Desk) -> None:
    show(ring, NETWORK, 1001, "process")
    look = ring.ok(ring.api.readiness.look("student", 1000))
    (error,) = look.errors
    assert "is no sign of a VM" in error
