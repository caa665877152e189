"""A manager that is killed while it changes hosts, and the next login."""

from __future__ import annotations

import pytest

from lab import Lab
from tests.support.lab.visitor import HOSTS, Menu, traces

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("idle_guests")]


@pytest.mark.parametrize(("stage", "answer"), [("prepare", "t"), ("launch", "t"), ("launch", "f"), ("remove", "f")])
def test_the_next_login_finishes_or_takes_back(lab: Lab, stage: str, answer: str) -> None:
    menu = Menu(lab)
    slice_id = menu.create_slice("orphan")
    one, two = (menu.add_vm(slice_id, name, 1, internet=True) for name in ("one", "two"))
    menu.link(slice_id, one, "eth1", two, "eth1")
    designed = traces(lab)
    if stage == "remove":
        menu.deploy(slice_id)
        menu.type("7", str(slice_id), "y")
    else:
        menu.type("6", str(slice_id))
    menu.read(f"[{stage}]")
    menu.kill()
    menu = Menu(lab, "admin", None, answer)
    assert "when its manager stopped" in menu.greeting
    if stage == "remove":
        assert f"Slice {slice_id} is deleted" in menu.greeting
    elif answer == "f":
        assert all(vm.running for vm in menu.topology(slice_id).values())
        menu.delete(slice_id)
    else:
        assert f"Slice {slice_id}: orphan, design" in menu.choose(5)
        assert traces(lab) == designed
        menu.delete(slice_id)
    menu.close()
    assert not [host for host in HOSTS.values() if f"slice-{slice_id}" in traces(lab)[host]]
