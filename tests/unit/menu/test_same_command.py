"""The line with the command that repeats an entry: on a terminal only, and each is a command of the parser."""

from __future__ import annotations

import io
import shlex
import tempfile
from pathlib import Path

import pytest

from menu import session
from menu.arguments import parser, restricted_parser
from menu.entries import ENTRIES
from menu.keyboard import Keyboard, Lines
from tests.support.fake_api import FakeAPI, furnished
from tests.support.playing import LOGIN, screen_of

SAME = "The same by command: "
NARROW = 60
"""Columns on which views are plain lines."""


def shown(cloud: FakeAPI, script: str, *, terminal: bool = True, user: str = "") -> list[str]:
    """Return the lines that a session shows."""
    output = io.BytesIO()
    screen = screen_of(output, terminal=terminal, width=NARROW)
    with tempfile.TemporaryFile() as file:
        file.write(script.encode())
        file.seek(0)
        keyboard = Keyboard(Lines(file.fileno()), screen)
        session.run(cloud, screen, keyboard, ENTRIES, user)  # type: ignore[arg-type]
    return output.getvalue().decode().splitlines()


def commands(lines: list[str]) -> list[str]:
    return [line.partition(SAME)[2].removesuffix("\x1b[0m") for line in lines if SAME in line]


ACTS = {
    "1": "quota",
    "3\n1000\nweb\n1\n2\ny": "add-vm net1 web cirros --nics 2 --internet",
    "4\n1000\n1001\neth2\n1003\neth1": "link net1 vm1:eth2 vm3:eth1",
    "5": "list",
    "6\n1000": "deploy net1",
    "7\n1000\ny": "delete net1",
    "14\n1\nring:3\n1\nnone\nlab\nn": "create --template ring:3 --name lab --flavor cirros --internet none",
    "17\n1000": "graph net1",
}


@pytest.mark.parametrize("answers", ACTS)
def test_an_entry_names_the_command_that_does_the_same(answers: str) -> None:
    script = f"{LOGIN}{answers}\n"
    found = commands(shown(furnished(), script))
    assert found == [f"python3 cli.py --as admin {ACTS[answers]}"]
    parser(Path()).parse_args(shlex.split(found[0])[2:])
    assert not commands(shown(furnished(), script, terminal=False))


def test_a_student_of_a_restricted_session_gets_the_words_for_ssh() -> None:
    found = commands(shown(furnished(), "admin\n6\n1000\n", user="admin"))
    assert found == ["ssh cloud@manager deploy net1"]
    restricted_parser().parse_args(shlex.split(found[0])[2:])


def test_a_refused_act_has_no_command() -> None:
    assert commands(shown(furnished(), f"{LOGIN}6\n4711\n7\n1000\nn\n")) == []


def test_on_a_terminal_the_menu_is_shown_when_it_is_asked_for() -> None:
    lines = shown(furnished(), f"{LOGIN}1\n5\n\n1\n?\n99\n0\n")
    assert len([line for line in lines if "Create Slice" in line]) == 3
    assert any("Enter shows the menu" in line for line in lines)


def test_on_a_pipe_the_menu_is_shown_after_each_act() -> None:
    lines = shown(furnished(), f"{LOGIN}1\n5\n0\n", terminal=False)
    assert len([line for line in lines if "Create Slice" in line]) == 3
