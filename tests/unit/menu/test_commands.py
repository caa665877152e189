"""Commands about slices, as the real program carries them out on a real file; no host is needed for a plan."""

from __future__ import annotations

import subprocess
import sys

import pytest

from accounts import audit
from models import ADMIN
from tests.support.desk import Desk, open_desk
from tests.support.paths import ROOT


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Return a cloud with a ring of `student`, and empty slices of `student`, `admin` and `ann`."""
    desk = open_desk(tmp_path_factory.mktemp("cloud"))
    desk.ring(4)
    desk.api.accounts.set_role("admin", ADMIN)
    desk.api.accounts.add("ann", "long enough")
    for owner, name in (("student", "lab"), ("admin", "lab"), ("admin", "lab2"), ("ann", "radio"), ("ann", "")):
        desk.ok(desk.api.create_slice(owner, name))
    return desk


def run(desk: Desk, *words: str) -> tuple[int, str, str]:
    """Return exit status, output and errors of `cli.py` with these words."""
    command = (sys.executable, "cli.py", "--database", str(desk.path), *words)
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def first_line(desk: Desk, *words: str) -> str:
    status, output, errors = run(desk, *words)
    assert (status, errors) == (0, "")
    return output.partition("\n")[0]


def test_a_plan_has_titles_and_writes_nothing(desk: Desk) -> None:
    before, entries = desk.path.read_bytes(), [*audit.read(desk.path)]
    status, output, errors = run(desk, "plan", "ring")
    lines = output.splitlines()
    assert (status, errors) == (0, "")
    assert lines[0] == "23 changes and 44 checks on 3 hosts to deploy slice 1000 (ring) of student"
    assert len(lines) < 50
    assert max(map(len, lines)) <= 80
    assert (desk.path.read_bytes(), [*audit.read(desk.path)]) == (before, entries)


@pytest.mark.parametrize(("option", "shows_scripts"), [("--commands", False), ("--scripts", True)])
def test_a_plan_shows_commands_and_scripts_on_request(desk: Desk, option: str, *, shows_scripts: bool) -> None:
    status, output, _ = run(desk, "plan", "ring", option)
    assert status == 0
    assert "    # ip" in output or "    # sh make-taps.sh" in output
    assert ("<<'END'" in output) == shows_scripts


@pytest.mark.parametrize("words", [("plan", "ring", "--as", "student"), ("--as", "student", "plan", "ring")])
def test_a_plan_is_made_for_a_user(desk: Desk, words: tuple[str, ...]) -> None:
    assert first_line(desk, *words).endswith("to deploy slice 1000 (ring)")


def test_an_empty_slice_has_nothing_to_do(desk: Desk) -> None:
    assert run(desk, "plan", "radio") == (0, "nothing to do\n", "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("plan", "lab3"), "You have no slice lab3; your slices: "),
        (("plan", "ring", "--as", "ann"), "You have no slice ring; your slices: "),
        (("plan", "ring", "--as", "bob"), "There is no user bob; python3 cli.py user list shows all"),
        (("plan", "r"), "r may be any of these slices: 1000 (ring), "),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(desk: Desk, words: tuple[str, ...], sentence: str) -> None:
    status, output, errors = run(desk, *words)
    assert (status, output) == (1, "")
    assert errors.startswith(f"Error: {sentence}")
    assert len(errors.splitlines()) == 1
