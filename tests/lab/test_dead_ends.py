"""A worker that is dead for good, on the lab: it is written off, the slices continue, and it may come back."""

from __future__ import annotations

import pytest

from lab import Lab
from tests.support.lab.program import run_program
from tests.support.lab.visitor import IMAGES, Menu, traces

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("idle_guests")]


def cli(lab: Lab, *words: str) -> tuple[int, str]:
    done = run_program(lab, *words)
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr


def running(menu: Menu, name: str) -> int:
    slice_id = menu.create_slice(name)
    one, two = (menu.add_vm(slice_id, vm, 1, internet=True) for vm in ("one", "two"))
    menu.link(slice_id, one, "eth1", two, "eth1")
    menu.deploy(slice_id)
    return slice_id


def test_a_worker_that_is_written_off_and_comes_back(lab: Lab, menu: Menu) -> None:
    """Cut a worker off: its running VMs are removed when it is back, before it gets new ones."""
    before = traces(lab, ["network"])
    kept, gone = running(menu, "kept"), running(menu, "gone")
    assert {vm.worker for vm in menu.topology(kept).values()} == {"worker1", "worker2"}
    status, shown = cli(lab, "host", "forget", "10.0.10.2", "--yes")
    assert (status, "answers, and its VMs may run" in shown) == (1, True)
    lab.cut("worker2")
    try:
        shown = menu.choose(7, gone, "y")
        assert "an operator runs: cli.py host forget 10.0.10.2" in shown
        assert cli(lab, "host", "forget", "10.0.10.2")[0] == 1  # it could ask no user
        status, shown = cli(lab, "host", "forget", "10.0.10.2", "--yes")
        assert status == 0, shown
        assert f"slice {gone} of admin is deleted" in shown
        text = menu.choose(5)
        assert f"Slice {gone}:" not in text
        assert "VM two was lost with 10.0.10.2; its new disk will be empty" in text
        shown = menu.choose(11, kept)
        assert "brought back: overlay of two on 10.0.10.1" in shown
        assert "Note: two was lost with 10.0.10.2: it has a new disk on 10.0.10.1" in shown
    finally:
        lab.reconnect("worker2")
    assert {vm.worker for vm in menu.topology(kept).values()} == {"worker1"}
    assert "it was written off and answers again" in menu.choose(1)
    status, shown = cli(lab, "doctor", "--fix", "--yes")
    assert status == 0, shown
    assert "removed: 10.0.10.2: host-forgotten" in shown
    assert not lab.exec("worker2", ["sh", "-c", f"ls -d {IMAGES}/slice-* 2>/dev/null || true"]).stdout
    assert "Nothing was missing" in menu.choose(11, kept)
    menu.delete(kept)
    assert traces(lab, ["network"]) == before
    session = Menu(lab)
    assert "10.0.10.2" not in session.greeting
    session.close()
