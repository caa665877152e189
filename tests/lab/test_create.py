"""A slice of a template from the command line, on real hosts: created, deployed by the menu, deleted."""

from __future__ import annotations

import json
import sys

import pytest

from lab import Lab
from tests.support.lab.visitor import Menu, traces
from tests.support.paths import ROOT

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("idle_guests")]


def create(lab: Lab, template: str, name: str) -> int:
    """Create a slice of a template by the command; return its id."""
    command = [sys.executable, str(ROOT / "cli.py"), "--database", str(lab.database)]
    said = lab.run([*command, "create", "--template", template, "--name", name, "--internet", "first", "--json"])
    return int(json.loads(said.stdout)["slice_id"])


def test_a_ring_of_a_template_leaves_no_trace(lab: Lab, menu: Menu) -> None:
    menu.delete(create(lab, "line:2", "warm"))  # the base image is on both workers now
    before = traces(lab)
    slice_id = create(lab, "ring:4", "ring")
    assert {vm.running for vm in menu.topology(slice_id).values()} == {False}
    menu.deploy(slice_id)
    vms = menu.topology(slice_id)
    assert [(vm.running, sorted(vm.vlans)) for vm in vms.values()] == [
        (True, ["eth0", "eth1", "eth2"]),
        *[(True, ["eth1", "eth2"])] * 3,
    ]
    assert [vm.worker for vm in vms.values()] == ["worker1"] * 2 + ["worker2"] * 2
    menu.delete(slice_id)
    assert traces(lab) == before
