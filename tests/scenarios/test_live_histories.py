"""Histories of a slice that is changed while it runs: odd orders, dead managers, lost hosts, guests that go off.

Afterwards each change can be finished or taken back, a repair makes all as designed, and a deletion leaves nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.results import Result
from models import Slice
from tests.support.desk import NETWORK, WORKERS, Desk, open_desk
from tests.support.dying import ManagerDiesError
from tests.unit.lifecycle.test_edits import EDITS, FILE, edited
from tests.unit.lifecycle.test_live_change import Mortal, breaches, power_off, runs
from topology.reader import read

HOSTS = (*WORKERS, NETWORK)
FAULTY = ("TAPs", "ports of", "QEMU", "VMs", "DHCP", "gateways", "overlay", "queues", "namespaces", "start of")
"""The beginnings of titles of steps that fail once."""

Act = tuple[str, str, int]
"""The name of an act, the kind of an edit, and a number that means something to the act."""


def apply(lab: Desk, kind: str) -> Result[Slice]:
    return lab.api.edits.apply("student", 1000, edited(kind))


def die(lab: Desk, kind: str, number: int) -> None:
    with suppress(ManagerDiesError):
        lab.api.edits.apply("student", 1000, edited(kind), Mortal(number))


def lose(lab: Desk, kind: str, number: int) -> None:
    host = lab.cloud.hosts[HOSTS[number % len(HOSTS)]]
    host.dies_after = number
    apply(lab, kind)
    host.dies_after, host.dead = None, False


def cut(lab: Desk, kind: str, number: int) -> None:
    host = lab.cloud.hosts[HOSTS[number % len(HOSTS)]]
    host.cut_after = number
    apply(lab, kind)
    host.cut_after = None


def fail(lab: Desk, kind: str, number: int) -> None:
    host = lab.cloud.hosts[HOSTS[number % len(HOSTS)]]
    host.faults[FAULTY[number % len(FAULTY)]] = (1, "", "no such thing")
    apply(lab, kind)
    host.faults.clear()


def go_off(lab: Desk, _kind: str, number: int) -> None:
    on = [vm.name for vm in lab.slice().vms if runs(lab, vm.name)]
    if on:
        power_off(lab, on[number % len(on)])


def stop(lab: Desk, _kind: str, number: int) -> None:
    vms = lab.slice().vms
    lab.api.power.stop("student", 1000, [vms[number % len(vms)].vm_id] if vms else [])


ACTS: dict[str, Callable[[Desk, str, int], object]] = {
    "apply": lambda lab, kind, _: apply(lab, kind),
    "apply the file": lambda lab, _kind, _: lab.api.edits.apply("student", 1000, read(FILE)),
    "die": die,
    "lose": lose,
    "cut": cut,
    "fail": fail,
    "go off": go_off,
    "stop": stop,
    "start": lambda lab, _kind, _: lab.api.power.start("student", 1000),
    "finish": lambda lab, _kind, _: lab.api.finish_slice("student", 1000),
    "take back": lambda lab, _kind, _: lab.api.take_back_slice("student", 1000),
    "repair": lambda lab, _kind, _: lab.api.repair_slice("student", 1000),
    "fix": lambda lab, _kind, _: lab.api.doctor.fix(),
}

HISTORIES = st.lists(
    st.tuples(st.sampled_from([*ACTS]), st.sampled_from([*EDITS]), st.integers(0, 79)), min_size=2, max_size=8
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HISTORIES, st.sampled_from([3, 4, 6]))
def test_every_history_of_live_changes_ends_well(history: list[Act], quota: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lab = open_desk(Path(folder))
        lab.api.accounts.set_quota("student", quota)
        lab.ok(lab.api.designs.create("student", read(FILE)))
        lab.ok(lab.api.deploy_slice("student", 1000))
        for act, kind, number in history:
            ACTS[act](lab, kind, number)
            assert lab.slice().before or lab.used() <= quota
        if lab.ok(lab.api.unfinished("student")):
            lab.ok(lab.api.finish_slice("student", 1000))
        lab.ok(lab.api.repair_slice("student", 1000))
        assert lab.ok(lab.api.problems("student")) == {}
        assert lab.api.doctor.examine().findings == ()
        assert breaches(lab) == []
        lab.ok(lab.api.delete_slice("student", 1000))
        assert lab.used() == 0
        for host in lab.cloud.hosts.values():
            left = host.state()
            assert not [part for part in ("ports", "queues", "flows", "processes", "tables") if left[part]]
            assert not [path for path in left["files"] if "1000" in path]
