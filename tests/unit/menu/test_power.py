"""Entry 15 and the commands that switch VMs: output, questions and exit statuses, on fake hosts."""

from __future__ import annotations

import io
import json
import re
import tempfile

import pytest

from core.errors import Refused
from core.values import Snapshot
from menu import commands, session
from menu.arguments import parser
from menu.entries import ENTRIES
from menu.keyboard import Keyboard, Lines
from tests.support.desk import Desk, deployed
from tests.support.playing import screen_of

pytestmark = pytest.mark.on_a_file


def run(desk: Desk, *words: str) -> tuple[int, str]:
    """Return exit status and output of a command; raise the error that it ends with."""
    output = io.BytesIO()
    screen = screen_of(output, width=200)
    status = commands.carry_out(desk.api, parser(desk.path).parse_args([*words, "--as", "student"]), screen)
    return status, output.getvalue().decode()


def play(desk: Desk, *lines: str) -> str:
    """Return the output of the menu, played on these lines behind the login of `student`."""
    with desk.path.open("a") as file:
        file.write("login: {shipped_passwords: keep}\n")
    output = io.BytesIO()
    screen = screen_of(output)
    with tempfile.TemporaryFile() as file:
        file.write("\n".join(["student", "admin", *lines, "0", ""]).encode())
        file.seek(0)
        session.run(desk.api, screen, Keyboard(Lines(file.fileno()), screen), ENTRIES)
    return output.getvalue().decode()


def test_each_command_says_what_became_of_the_vms(desk: Desk) -> None:
    deployed(desk)
    assert run(desk, "stop", "ring", "vm0", "1002") == (0, "Stopped: vm0, vm1\n")
    assert run(desk, "start", "1000") == (0, "Started: vm0, vm1\nRan already: vm2\n")
    assert run(desk, "restart", "ring", "vm2") == (0, "Restarted: vm2\n")
    assert run(desk, "stop", "ring", "--now", "--yes") == (0, "Stopped: vm0, vm1, vm2\n")
    assert run(desk, "reset", "ring", "vm1", "--yes") == (0, "Reset: vm1\n")


@pytest.mark.parametrize("words", [["stop", "ring", "--now"], ["reset", "ring"]])
def test_what_loses_data_asks_first(desk: Desk, words: list[str]) -> None:
    deployed(desk)
    with pytest.raises(Refused, match=r"asks before it does that; without a terminal to ask on, it needs --yes"):
        run(desk, *words)
    assert run(desk, *words, "--dry-run")[0] == 0
    assert not any(vm.stopped for vm in desk.slice().vms)


def test_a_dry_run_shows_the_plan_and_changes_nothing(desk: Desk) -> None:
    deployed(desk)
    before = desk.path.read_bytes()
    status, output = run(desk, "reset", "ring", "vm0", "--dry-run")
    assert status == 0
    assert output.startswith("10 changes and 5 checks on 2 hosts to reset VMs of slice 1000 (ring)")
    assert "slice-1000/vm0_img.qcow2" in output
    assert desk.path.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["start", "ring"], "Slice 1000 is in design; deploy it first"),
        (["stop", "ring", "vm"], r"vm may be any of these VMs: 1001 \(vm0\), 1002 \(vm1\), 1003 \(vm2\); use an id"),
        (["reset", "ring", "other"], r"Slice 1000 has no VM other; its VMs: 1001 \(vm0\)"),
    ],
)
def test_bad_words_are_answered_with_a_sentence(desk: Desk, words: list[str], sentence: str) -> None:
    desk.ring(3)
    with pytest.raises(Refused, match=sentence):
        run(desk, *words)


def test_the_menu_stops_and_resets(desk: Desk) -> None:
    deployed(desk)
    output = play(desk, "15", "2", "1000", "vm0, 1002", "15", "5", "1000", "all", "n", "15", "5", "1000", "vm0", "y")
    assert "Stopped: vm0, vm1\n" in output
    assert "Reset vm0, vm1, vm2 of slice 1000 (ring)? Their disks are replaced by new ones" in output
    assert "Nothing was changed\n" in output
    assert "Reset: vm0\n" in output


def test_the_menu_asks_again_for_vms_that_are_none(desk: Desk) -> None:
    deployed(desk)
    output = play(desk, "15", "1", "1000", "nothing", "all")
    assert "Error: Slice 1000 has no VM nothing" in output
    assert "Ran already: vm0, vm1, vm2" in output


def test_snapshots_are_taken_listed_restored_and_deleted(desk: Desk) -> None:
    deployed(desk)
    assert run(desk, "snapshot", "ring", "base", "vm0", "vm1") == (0, "Snapshot base: vm0, vm1\n")
    status, listed = run(desk, "snapshots", "ring")
    assert status == 0
    assert re.fullmatch(r"(vm[01]  base  \d{4}-\d\d-\d\d \d\d:\d\d  7 MiB\n){2}", listed)
    assert json.loads(run(desk, "snapshots", "ring", "--json")[1])["snapshots"][0]["name"] == "base"
    with pytest.raises(Refused, match=r"restore asks before it does that; .* --yes"):
        run(desk, "restore", "ring", "base")
    assert run(desk, "restore", "ring", "base", "vm0", "--yes") == (0, "Restored base: vm0\n")
    assert run(desk, "snapshot", "ring", "base", "--delete") == (0, "Deleted base: vm0, vm1\n")
    assert run(desk, "snapshots", "ring") == (0, "")


def test_the_menu_takes_snapshots_and_names_those_that_a_reset_loses(desk: Desk) -> None:
    deployed(desk)
    script = ["15", "6", "1000", "Base", "base", "vm0", "15", "8", "1000", "15", "7", "1000", "base", "all", "y"]
    output = play(desk, *script, "15", "5", "1000", "all", "n", "7", "1000", "n", "15", "9", "1000", "base", "all")
    assert "Error: The name of a snapshot is a small letter" in output
    assert "Snapshot base: vm0\n" in output
    assert "  vm0  base  " in output
    assert "Restored base: vm0\n" in output
    assert "all data on them is lost. So are the snapshots base of vm0. (y/n)" in output
    assert "with its VMs vm0, vm1, vm2 and all snapshots of them? (y/n)" in output
    assert "Deleted base: vm0\n" in output


@pytest.mark.parametrize(
    ("answer", "said", "left"),
    [
        ("f", "Snapshot base: vm0, vm2", {"vm0", "vm2"}),
        ("d", "Deleted base: vm0, vm2", set()),
        ("l", "", {"vm0", "vm2"}),
    ],
)
def test_a_snapshot_that_was_not_finished_is_offered_at_login(
    desk: Desk, answer: str, said: str, left: set[str]
) -> None:
    deployed(desk)
    with desk.database.transaction() as state:
        for number in (0, 2):
            state.slices[1000].vms[number].snapshots = [Snapshot("base", 1.0, begun=True)]
    output = play(desk, answer)
    question = "The snapshot base of vm0, vm2 in slice 1000 (ring) was not finished.\n(f)inish, (d)elete or (l)ater? "
    assert question in output
    assert said in output
    assert {vm.name for vm in desk.slice().vms if vm.snapshots} == left
    assert any(each.begun for vm in desk.slice().vms for each in vm.snapshots) == (answer == "l")
    assert bool(desk.ok(desk.api.snapshots.unfinished("student"))) == (answer == "l")
