"""Hosts that die or hang before, during and after a deployment: one sentence in time, and the others are clean."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from lab import Lab
from tests.lab.seat import Menu, traces
from tests.scale import scaled

pytestmark = [pytest.mark.lab, pytest.mark.torture]

LOST = "worker2"
ADDRESS = "10.0.10.2"
OTHERS = ("worker1", "network")
_LASTS_NOT = re.compile(r"^/run/.*\n?|@if\d+", re.MULTILINE)
Fault = Callable[[Lab], AbstractContextManager[None]]


@contextmanager
def cut(lab: Lab) -> Iterator[None]:
    """Nothing answers."""
    lab.cut(LOST)
    try:
        yield
    finally:
        lab.mend(LOST)


@contextmanager
def unplugged(lab: Lab) -> Iterator[None]:
    """Its pid 1 is killed, and everything with it; later it boots."""
    lab.stop_host(LOST)
    try:
        yield
    finally:
        lab.start_host(LOST)


@contextmanager
def no_sshd(lab: Lab) -> Iterator[None]:
    """sshd and all its sessions end; the rest lives."""
    lab.exec(
        LOST, ["sh", "-c", "for p in /proc/[0-9]*; do case $(cat $p/comm) in sshd*) kill -9 ${p#/proc/};; esac; done"]
    )
    try:
        yield
    finally:
        lab.exec(LOST, ["/usr/sbin/sshd"])


@contextmanager
def frozen(lab: Lab) -> Iterator[None]:
    """Every process but pid 1 stands still; the kernel goes on answering in their name."""
    lab.exec(LOST, ["sh", "-c", "kill -STOP -1"])
    try:
        yield
    finally:
        lab.exec(LOST, ["sh", "-c", "kill -CONT -1"])


FAULTS: dict[str, Fault] = {"cut": cut, "unplugged": unplugged, "no sshd": no_sshd, "frozen": frozen}
# The longest a fault may keep the menu: silence in the middle of a batch is endured for 60 s, then all is taken back.
SECONDS = {"before": 25, "during": 100, "after": 25}
CASES = [(fault, moment) for fault in FAULTS for moment in SECONDS]
BOUNDED = [("cut", "after"), ("unplugged", "during"), ("no sshd", "during"), ("frozen", "before")]


def design(menu: Menu, name: str) -> int:
    slice_id = menu.create_slice(name)
    one, two = (menu.add_vm(slice_id, vm, 1, internet=True) for vm in ("one", "two"))
    menu.link(slice_id, one, "eth1", two, "eth1")
    return slice_id


@pytest.fixture(scope="module", autouse=True)
def _images(lab: Lab) -> None:
    """The base image is in the workers' caches, where it is meant to stay."""
    menu = Menu(lab)
    menu.delete(design(menu, "first"))
    menu.close()


@pytest.mark.parametrize(("fault", "moment"), scaled(BOUNDED, CASES))
def test_a_host_that_is_lost(lab: Lab, menu: Menu, fault: str, moment: str) -> None:
    before_all = traces(lab)
    slice_id = design(menu, re.sub(r"\W", "-", f"{fault}-{moment}"))
    designed = traces(lab)
    if moment == "after":
        menu.deploy(slice_id)
    if moment == "during":
        menu.type("6", str(slice_id))
        menu.read("[launch]")
    with FAULTS[fault](lab):
        began = time.monotonic()
        if moment == "during":
            shown = menu.read(seconds=SECONDS[moment])
        else:
            entry = ("7", slice_id, "y") if moment == "after" else ("6", slice_id)
            menu.type(*map(str, entry))
            shown = menu.read(seconds=SECONDS[moment])
        assert time.monotonic() - began < SECONDS[moment]
        assert f"{ADDRESS} does not answer" in shown, shown
        error = next(line for line in shown.splitlines() if line.startswith("Error: "))
        assert re.search(r"in design|to clean up|delete it again later", error), error
        assert f"Slice {slice_id}:" in menu.choose(5)
        if moment != "after":
            assert traces(lab, OTHERS) == {host: designed[host] for host in OTHERS}
    menu.delete(slice_id)
    assert _lasting(traces(lab)) == _lasting(before_all)


def _lasting(state: dict[str, str]) -> dict[str, str]:
    """Without what a boot alone brings or takes: files in /run, and the numbers of interfaces."""
    return {host: _LASTS_NOT.sub("", text) for host, text in state.items()}
