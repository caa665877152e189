"""A slice of a template from the command line, on real hosts: created, deployed by the menu, deleted."""

from __future__ import annotations

import json
import re
import sys

import pytest

from lab import Lab
from tests.support.lab.visitor import MENU_PROMPT, Menu, traces
from tests.support.paths import ROOT
from tests.support.playing import terminal_of

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


RING = {
    MENU_PROMPT: "14",
    "Choose a way (1-1): ": "1",
    "Kind and size (e.g., ring:6): ": "ring:6",
    "): ": "cirros",  # the number of flavors is the lab's own
    "Internet access (all, none or first): ": "none",
    "Slice name: ": "six",
    "Deploy it now? (y/n): ": "y",
}
"""Questions after the password, and their answers."""


def test_a_ring_of_six_runs_after_seven_answers_on_a_terminal(lab: Lab, menu: Menu) -> None:
    argv = lab.manager_argv([sys.executable, str(ROOT / "cli.py"), "--database", str(lab.database)])
    with terminal_of(tuple(argv)) as terminal:

        def answer(answers: dict[str, str]) -> str:
            said = ""
            for prompt, typed in answers.items():
                said += terminal.wait_for(prompt, 60)
                terminal.type(f"{typed}\r")
            return said

        said = answer({"Username: ": "admin", "Password: ": "admin"} | RING)
        terminal.wait_for("Slice deployed successfully", 120)
        created = re.search(r"Slice created! ID: (\d+)", said)
        assert created
        vms = menu.topology(int(created[1]))
        assert [(vm.running, sorted(vm.vlans)) for vm in vms.values()] == [(True, ["eth1", "eth2"])] * 6
        # Enter leaves the view of the boot, as these guests have nothing to boot.
        terminal.wait_for("Enter leaves this view", 60)
        terminal.type("\r")
        answer({MENU_PROMPT: "7", "Slice ID: ": "six", "? (y/n): ": "y"})
        terminal.wait_for("Slice deleted", 120)
        answer({MENU_PROMPT: "0"})
        assert terminal.exit_status() == 0
