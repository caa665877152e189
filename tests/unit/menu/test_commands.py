"""Commands about slices, as the real program carries them out on a real file; no host is needed for a plan."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
def test_a_plan_that_cannot_be_shown_is_one_sentence(desk: Desk, words: tuple[str, ...], sentence: str) -> None:
    status, output, errors = run(desk, *words)
    assert (status, output) == (1, "")
    assert errors.startswith(f"Error: {sentence}")
    assert len(errors.splitlines()) == 1


# --- slice files ------------------------------------------------------------------------------------------------------

RING = """slice: mine
vms: {a: cirros, b: {flavor: cirros, internet: true}}
links: [a - b]
"""


def piped(desk: Desk, text: bytes, *words: str) -> tuple[int, str, str]:
    """Return exit status, output and errors of `cli.py` with these words and this standard input."""
    command = (sys.executable, "cli.py", "--database", str(desk.path), *words)
    done = subprocess.run(command, cwd=ROOT, input=text, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_a_slice_file_is_checked_and_nothing_is_written(desk: Desk, tmp_path: Path) -> None:
    before, entries = desk.path.read_bytes(), [*audit.read(desk.path)]
    file = tmp_path / "mine.slice.yaml"
    file.write_text(RING)
    assert run(desk, "validate", str(file)) == (0, f"{file}: slice mine: 2 VMs, 1 link\n", "")
    assert piped(desk, RING.encode(), "validate", "-") == (0, "-: slice mine: 2 VMs, 1 link\n", "")
    assert (desk.path.read_bytes(), [*audit.read(desk.path)]) == (before, entries)


def test_all_faults_of_a_slice_file_are_shown(desk: Desk) -> None:
    text = RING.replace("a: cirros", "a: tiny").replace("a - b", "a - c")
    status, output, errors = piped(desk, text.encode(), "validate", "-")
    assert (status, output) == (1, "")
    assert errors.splitlines() == [
        "Error: -, line 2: there is no flavor `tiny`; there are cirros, ubuntu",
        "Error: -, line 3: there is no VM `c`; add it to `vms`",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read (No such file or directory); name a file that you may read"),
        (b"\xff\xfe", "is not UTF-8 text; save it as UTF-8"),
        (b" " * (1 << 20) + b"x", "line 1: the file is larger than 1024 KiB"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(
    desk: Desk, tmp_path: Path, content: bytes | None, words: str
) -> None:
    file = tmp_path / "mine.yaml"
    if content is not None:
        file.write_bytes(content)
    status, output, errors = run(desk, "validate", str(file))
    assert (status, output) == (1, "")
    assert errors.startswith("Error: ")
    assert errors.count("\n") == 1
    assert words in errors


def test_a_slice_is_exported_and_the_file_is_valid(desk: Desk) -> None:
    status, text, errors = run(desk, "export", "ring", "--as", "student")
    assert (status, errors) == (0, "")
    assert text.startswith("# yaml-language-server: $schema=slice.schema.json\nslice: ring\nvms:\n")
    assert piped(desk, text.encode(), "validate", "-") == (0, "-: slice ring: 4 VMs, 4 links\n", "")
    assert run(desk, "export", "ring", "--as", "student")[1] == text


def test_an_export_says_which_names_it_replaced(desk: Desk) -> None:
    desk.ok(desk.api.create_slice("ann", "7up"))
    status, text, errors = run(desk, "export", "7up", "--as", "ann")
    assert status == 3
    assert "slice: n7up\n" in text
    assert errors == "Warning: slice 7up is called n7up in the file: names begin with a letter there\n"


def test_a_picture_has_every_vm_and_link(desk: Desk) -> None:
    status, output, errors = run(desk, "graph", "ring", "--as", "student")
    assert (status, errors) == (0, "")
    assert output.splitlines()[:7] == [
        "Slice 1000: ring (design)",
        "",
        "   1   2   3   4",
        "   ●───●   │   │   vm0-vm1",
        "   │   ●───●   │   vm1-vm2",
        "   │   │   ●───●   vm2-vm3",
        "   ●───┼───┼───●   vm3-vm0",
    ]
    assert run(desk, "graph", "ring", "--format", "mermaid")[1].startswith("---\ntitle: ")
    assert run(desk, "graph", "ring", "--format", "dot")[1].startswith("graph slice {")


def test_an_svg_without_graphviz_says_what_to_install(desk: Desk) -> None:
    command = (sys.executable, "cli.py", "--database", str(desk.path), "graph", "ring", "--format", "svg")
    bare = {**os.environ, "PATH": "/nonexistent"}
    done = subprocess.run(command, cwd=ROOT, env=bare, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: neato is not installed on this machine; run apt-get install graphviz\n"


def test_a_topology_of_another_tool_becomes_a_slice_file_that_is_valid(desk: Desk) -> None:
    status, text, errors = run(desk, "convert", "tests/data/imports/ring.clab.yml")
    assert status == 3
    assert "Warning: left out: `binds` of nodes\n" in errors
    assert piped(desk, text.encode(), "validate", "-")[0] == 0
    assert run(desk, "convert", "tests/data/imports/ring.clab.yml", "--from", "containerlab")[1] == text


def test_another_file_is_no_topology(desk: Desk) -> None:
    status, output, errors = piped(desk, b"a: 1", "convert", "-")
    assert (status, output) == (1, "")
    assert errors.startswith("Error: this is no topology of containerlab, netlab, cml, gns3, kathara; say where")
