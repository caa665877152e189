"""The commands and the menu's functions about public keys."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from core.ssh_keys import read_public_key
from menu import commands, keys
from menu.arguments import parser, restricted_parser
from menu.keyboard import Keyboard, Lines
from menu.prompts import Prompts
from menu.session import Session
from tests.support.desk import Desk
from tests.support.playing import screen_of
from tests.unit.core.test_ssh_keys import ED25519, GOOD, RSA

pytestmark = pytest.mark.on_a_file

FINGERPRINT = read_public_key(ED25519).fingerprint


def run(desk: Desk, *words: str) -> tuple[int, str]:
    """Carry out a command for the student; return its exit status and standard output."""
    args = parser(desk.path).parse_args(["--as", "student", "keys", *words])
    output = io.BytesIO()
    screen = screen_of(output, width=200)
    status = commands.carry_out(desk.api, args, screen)
    return status, output.getvalue().decode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "id_ed25519.pub"
    path.write_text(f"{ED25519}\n")
    return path


def test_a_key_of_a_file_is_added_listed_and_removed(desk: Desk, file: Path) -> None:
    line = f"ssh-ed25519 {FINGERPRINT} ana@laptop\n"
    assert run(desk, "add", str(file)) == (0, f"Key added! {line}")
    assert run(desk, "list") == (0, f"  1. {line}")
    record = {"number": 1, "type": "ssh-ed25519", "fingerprint": FINGERPRINT, "comment": "ana@laptop"}
    assert json.loads(run(desk, "list", "--json")[1]) == {"keys": [record]}
    assert run(desk, "remove", "1") == (0, f"Key removed: {line}")


def test_without_keys_the_way_to_one_is_shown(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(desk, "list") == (0, "")
    assert "ssh-keygen -t ed25519" in capsys.readouterr().err


def test_a_dry_run_changes_nothing(desk: Desk, file: Path) -> None:
    before = desk.path.read_bytes()
    assert run(desk, "add", str(file), "--dry-run") == (0, f"ssh-ed25519 {FINGERPRINT} ana@laptop\n")
    assert desk.path.read_bytes() == before
    run(desk, "add", str(file))
    before = desk.path.read_bytes()
    assert run(desk, "remove", "1", "--dry-run")[0] == 0
    assert desk.path.read_bytes() == before


@pytest.mark.parametrize("words", [["remove", "0"], ["remove", "x"], ["remove", "01"], ["remove", "11"], ["add"], []])
def test_wrong_words_are_refused_by_the_parser(desk: Desk, words: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run(desk, *words)
    assert end.value.code == 2


def test_a_restricted_session_reads_a_key_from_its_input_only() -> None:
    assert restricted_parser().parse_args(["keys", "add", "-"]).file == "-"
    for words in (["keys", "add", "/etc/passwd"], ["keys", "list", "--as", "admin"]):
        with pytest.raises(SystemExit):
            restricted_parser().parse_args(words)


def play(desk: Desk, act: Callable[[Session], None], *answers: str) -> str:
    """Return what a function of the menu shows when these lines are typed."""
    output = io.BytesIO()
    screen = screen_of(output, width=200)
    with tempfile.TemporaryFile() as typed:
        typed.write("".join(f"{answer}\n" for answer in answers).encode())
        typed.seek(0)
        keyboard = Keyboard(Lines(typed.fileno()), screen)
        act(Session(desk.api, screen, keyboard, Prompts(keyboard, screen), "student"))
    return output.getvalue().decode()


def test_the_menu_asks_again_until_it_is_a_key(desk: Desk) -> None:
    shown = play(desk, keys.add_key_in_menu, "ssh-ed25519 AAAA", RSA)
    assert "This is no key for your VMs: the key is not whole" in shown
    assert "Key added! ssh-rsa SHA256:" in shown
    assert play(desk, keys.view_keys).startswith("  1. ssh-rsa SHA256:")


def test_the_menu_removes_a_key_by_its_number(desk: Desk) -> None:
    for line in GOOD[:2]:
        desk.ok(desk.api.keys.add("student", line))
    assert "Key removed: ssh-rsa" in play(desk, keys.remove_key_in_menu, "2")
    assert [str(key) for key in desk.ok(desk.api.keys.list("student"))] == [ED25519]


def test_the_menu_removes_nothing_without_keys(desk: Desk) -> None:
    assert play(desk, keys.remove_key_in_menu) == "You have no keys yet\n"
