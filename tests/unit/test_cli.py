"""The real program: on pipes, on a terminal of its own, with wrong arguments, and when everything goes wrong."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.support.many import PASSWORD, write_file
from tests.support.paths import ROOT
from tests.support.playing import LOGIN, on_terminal, run_program

pytestmark = pytest.mark.long
needs_full = pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="/dev/full is not everybody's here")

SESSION = (LOGIN + "5\n0\n").encode()


def test_piped_the_output_is_plain() -> None:
    done = run_program(stdin=SESSION)

    assert done.returncode == 0
    assert done.stderr == b""
    assert b"Slice 1000: net1, design, VLANs 100-119\n" in done.stdout
    assert b"\x1b" not in done.stdout
    assert b"\r" not in done.stdout


def test_the_menu_opens_on_pipes_without_heavy_modules(tmp_path: Path) -> None:
    # What a stopwatch would tell on a quiet machine only: importing these takes as long as all the rest.
    database = tmp_path / "database.yaml"
    write_file(database, [2])
    code = "import sys, cli; assert not cli.main(sys.argv[1:]); print(*sys.modules)"
    session = f"student0\n{PASSWORD}\n0\n"
    done = subprocess.run(
        [sys.executable, "-c", code, "--database", database],
        input=session,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert "Choose an option: " in done.stdout
    loaded = set(done.stdout.splitlines()[-1].split())
    assert {"yaml", "orchestrator", "lifecycle.discovery"} <= loaded
    assert not {name.partition(".")[0] for name in loaded} & {"rich", "paramiko", "cryptography"}
    assert {name for name in loaded if name.startswith("inspection.")} == {"inspection.codes"}


def test_piped_even_where_colours_are_demanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert b"\x1b" not in run_program(stdin=SESSION).stdout


def test_a_screen_that_knows_ascii_only_gets_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = run_program(stdin="admin\nadmin\n2\nñ\n0\n".encode())
    assert done.returncode == 0
    assert done.stderr == b""


@pytest.mark.parametrize(
    "redirection",
    [
        '"$@" | head -n 1',
        pytest.param('"$@" >/dev/full', marks=needs_full),
        '"$@" >&-',
        '"$@" <&-',
        '"$@" 2>&-',
        '"$@" <&- >&- 2>&-',
        '"$@" --help | true',
    ],
)
def test_a_stream_that_is_lost_or_was_never_there_gives_no_traceback(redirection: str) -> None:
    done = run_program(stdin=SESSION, line=redirection)
    assert done.stderr == b""
    assert b"Traceback" not in done.stdout


@pytest.mark.parametrize(("stream", "status"), [pytest.param("/dev/full", 141, marks=needs_full), ("/dev/null", 0)])
def test_unread_output_ends_it_quietly(stream: str, status: int) -> None:
    done = run_program(stdin=SESSION, line=f'"$@" >{stream}')
    assert (done.returncode, done.stderr) == (status, b"")


def test_it_ends_at_once_although_a_worker_is_still_waited_for() -> None:
    began = time.monotonic()
    done = run_program("--database", "silent.yaml")
    assert (done.returncode, done.stdout) == (0, b"Username: \nGoodbye\n")
    assert time.monotonic() - began < 10


def test_a_file_that_is_refused_is_one_sentence() -> None:
    done = run_program("--database", "refused.yaml", stdin=SESSION)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"Error: refused.yaml: line 3: users is missing\n"


def test_the_unforeseen_is_one_sentence_and_a_report_for_its_owner_only(tmp_path: Path) -> None:
    report = tmp_path / "broken.yaml.crash.log"
    for times in (1, 2):
        done = run_program("--database", str(tmp_path / "broken.yaml"), stdin=SESSION)
        assert (done.returncode, done.stdout) == (70, b"")
        sentence = f"Error: Something unexpected happened (ValueError); please pass on the report in {report}\n"
        assert done.stderr.decode() == sentence
        assert report.read_text().count("Traceback") == times
    assert stat.S_IMODE(report.stat().st_mode) == 0o600


def test_a_report_that_cannot_be_written_does_not_make_it_worse(tmp_path: Path) -> None:
    done = run_program("--database", str(tmp_path / "missing" / "broken.yaml"), stdin=SESSION)
    assert done.returncode == 70
    assert done.stderr.startswith(b"Error: Something unexpected happened (ValueError), and no report could be written")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["frobnicate"], "frobnicate"),
        (["--data=x"], "--data"),
        (["--database", "", "plan", "x"], "--database: a folder is no state file; name the file"),
        (["--database", ".", "plan", "x"], "--database: a folder is no state file; name the file"),
        (["--database", "..", "list"], "--database: a folder is no state file; name the file"),
        (["--database", "/"], "--database: a folder is no state file; name the file"),
        (["user"], "ACTION"),
        (["user", "add"], "NAME"),
        (["user", "quota", "admin"], "N"),
        (["user", "role", "admin"], "ROLE"),
        (["user", "role", "admin", "root"], "student"),
        (["user", "quota", "admin", "-1"], "from 0 to 10000"),
        (["user", "quota", "admin", "010"], "write 010 without the zeros before it"),
        (["user", "slices", "admin", "04"], "write 04 without the zeros before it"),
        (["log", "--last", "00"], "write 00 without the zeros before it"),
        (["user", "quota", "admin", "9" * 5000], "from 0 to 10000"),
        (["user", "add", "ann", "--quota", "٣"], "from 0 to 10000"),
        (["user", "list", "a\x1b[2Jb"], "a?[2Jb"),
        (["--user", "student", "list"], "--user takes its command from ssh; leave out --user or list"),
        (["--user", "student", "user", "passwd", "admin"], "leave out --user or user"),
        (["plan"], "SLICE"),
        (["plan", "net1", "--titles"], "--titles"),
        (["plan", "net1", "--commands", "--scripts"], "--commands"),
        (["plan", "net1", "--com"], "--com"),
        (["user", "add", "ann", "--quo", "3"], "--quo"),
        (["host", "forget", "10.0.10.2", "--dry"], "--dry"),
        (["plan", ""], "its id, its name, or the beginning of its name"),
        (["plan", "net 1"], "its id, its name, or the beginning of its name"),
        (["plan", "net1", "--as", "../etc"], "user name"),
        (["validate", "lab.txt"], "a slice file ends in .yaml or .yml"),
        (["validate", ""], "a slice file ends in .yaml or .yml"),
        (["export"], "SLICE"),
        (["convert", "lab.txt"], "a topology ends in .yaml, .yml, .gns3 or .conf"),
        (["convert", "lab.yaml", "--from", "mininet"], "--from"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments: list[str], named: str) -> None:
    done = run_program(*arguments)
    sentence = done.stderr.decode()

    assert done.returncode == 2
    assert sentence.startswith("Error: ")
    assert named in sentence
    assert "--help" in sentence
    assert len(sentence.splitlines()) == 1


USERS_SHOWN = (("admin: student", "3 of 10"), ("student: student", "0 of 6"))


@pytest.mark.parametrize("arguments", [(), ("user",), ("user", "add")])
def test_help_is_there(arguments: tuple[str, ...]) -> None:
    done = run_program(*arguments, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(b"usage: cli.py")


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (
            ["list"],
            b"",
            "".join(f"{name}, {used} VMs used, 0 of 4 slices: none\n" for name, used in USERS_SHOWN),
        ),
        (["add", "ann", "--quota", "3"], b"secret\n", "User ann added, student, quota 3 VMs\n"),
        (["add", "ann"], b"secret", "User ann added, student, quota 10 VMs\n"),
        (["add", "ann", "--admin"], b"secret", "User ann added, admin, quota 10 VMs\n"),
        (["role", "student", "admin"], b"", "Role of student is admin now\n"),
        (["role", "admin", "student"], b"", "Role of admin is student now\n"),
        (["passwd", "admin"], b"new one\n", "Password of admin changed\n"),
        (["quota", "admin", "0"], b"", "Quota of admin is 0 VMs now\n"),
        (["slices", "student", "7"], b"", "student may have 7 slices now\n"),
        (["slices", "student", "default"], b"", "student may have 4 slices now\n"),
        (["remove", "student"], b"", "User student removed\n"),
    ],
)
def test_accounts_are_managed_without_the_menu(arguments: list[str], stdin: bytes, said: str) -> None:
    done = run_program("--database", "x.yaml", "user", *arguments, stdin=stdin)
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, said, b"")


@pytest.mark.parametrize(
    ("arguments", "stdin", "sentence"),
    [
        (["add", "admin"], b"x\n", "There is a user admin already"),
        (["role", "mallory", "admin"], b"", "There is no user mallory; user list shows all"),
        (["remove", "mallory"], b"", "There is no user mallory; user list shows all"),
        (["add", "ann"], b"", "No password was given; nothing was changed"),
        (["passwd", "admin"], b"\n", "A password has 1 to 256 characters; nothing was changed"),
        (["passwd", "admin"], b"x" * 300, "A password has 1 to 256 characters; nothing was changed"),
    ],
)
def test_a_refused_change_of_an_account_is_one_sentence(arguments: list[str], stdin: bytes, sentence: str) -> None:
    done = run_program("user", *arguments, stdin=stdin)
    assert (done.returncode, done.stdout, done.stderr.decode()) == (1, b"", f"Error: {sentence}\n")


def test_on_a_terminal_there_are_tables_and_the_password_is_never_echoed() -> None:
    with on_terminal() as terminal:
        terminal.wait_for("Username: ")
        terminal.type("admin\r")
        terminal.wait_for("Password: ")
        terminal.type("admin\r")
        echoed = terminal.wait_for("Choose an option: ")
        assert "admin" not in echoed.partition("Cloud Repositorio: ")[0]
        assert "╭─" in echoed
        terminal.type("5\r")
        shown = terminal.wait_for("Choose an option: ")
        assert "├── " in shown
        assert "52:54:00:03:e9:01" in shown
        terminal.type("1\r")
        assert "of 10 VMs used" in terminal.wait_for("Choose an option: ")
        terminal.type("x\r")
        assert "Error: " in terminal.wait_for("Choose an option: ")
        terminal.type("\x04")
        terminal.wait_for("Goodbye")
        assert terminal.exit_status() == 0


def test_on_a_terminal_nothing_more_is_offered_of_an_empty_plan() -> None:
    with on_terminal() as terminal:
        for prompt, answer in [
            ("Username: ", "admin"),
            ("Password: ", "admin"),
            ("option: ", "2"),
            ("name: ", "lab"),
            ("option: ", "10"),
        ]:
            terminal.wait_for(prompt)
            terminal.type(f"{answer}\r")
        terminal.wait_for("Slice ID")
        terminal.type("1004\r")
        terminal.wait_for("nothing to do")
        assert "Enter" not in terminal.wait_for("Choose an option: ")


def test_on_a_terminal_the_plan_is_followed_by_the_offer_to_show_more() -> None:
    offer = "Show commands (c), scripts (s), or Enter: "
    with on_terminal() as terminal:
        for prompt, answer in [("Username: ", "admin"), ("Password: ", "admin"), ("option: ", "10"), ("ID: ", "1000")]:
            terminal.wait_for(prompt)
            terminal.type(f"{answer}\r")
        assert "false" not in terminal.wait_for(offer)
        terminal.type("c\r")
        assert "false" in terminal.wait_for(offer)
        terminal.type("x\r")
        terminal.wait_for("Error: Answer c (commands) or s (scripts) or Enter (the menu)")
        terminal.wait_for(offer)
        terminal.type("S\r")
        assert "false" in terminal.wait_for(offer)
        terminal.type("\r")
        terminal.wait_for("Choose an option: ")
        terminal.type("0\r")
        assert terminal.exit_status() == 0


@pytest.mark.parametrize("before", [[], ["admin\r"], ["admin\r", "admin\r"]], ids=["Username", "Password", "menu"])
def test_on_a_terminal_ctrl_c_leaves_from_every_kind_of_prompt(before: list[str]) -> None:
    prompts = ["Username: ", "Password: ", "Choose an option: "]
    with on_terminal() as terminal:
        for prompt, answer in zip(prompts, before, strict=False):
            terminal.wait_for(prompt)
            terminal.type(answer)
        terminal.wait_for(prompts[len(before)])
        terminal.type("\x03")
        terminal.wait_for("\nGoodbye")
        assert terminal.exit_status() == 130
        assert "Traceback" not in terminal.seen


def test_on_a_terminal_ctrl_c_while_deploying_takes_back_and_says_so() -> None:
    with on_terminal(FAKE_PACE="0.1") as terminal:
        for prompt, answer in [
            ("Username: ", "admin"),
            ("Password: ", "admin"),
            ("option: ", "6"),
            ("deploy: ", "1000"),
        ]:
            terminal.wait_for(prompt)
            terminal.type(f"{answer}\r")
        terminal.wait_for("launch")
        terminal.type("\x03")
        terminal.wait_for("Interrupted: the steps that have begun")
        terminal.wait_for("Error: Interrupted; everything was taken back")
        terminal.wait_for("Choose an option: ")
        terminal.type("0\r")
        assert terminal.exit_status() == 0


def test_on_a_terminal_the_console_gives_the_terminal_back() -> None:
    with on_terminal() as terminal:
        for prompt, answer in [
            ("Username: ", "admin"),
            ("Password: ", "admin"),
            ("option: ", "9"),
            ("VM ID: ", "1001"),
        ]:
            terminal.wait_for(prompt)
            cooked = termios.tcgetattr(terminal.master)
            terminal.type(f"{answer}\r")
        terminal.wait_for("Leave with Ctrl-].")
        terminal.wait_for("login: ")
        assert not termios.tcgetattr(terminal.master)[3] & termios.ICANON
        terminal.type("ok\x03")
        terminal.wait_for("OK\x03")
        terminal.type("\x1d")
        terminal.wait_for("Left the console")
        terminal.wait_for("Choose an option: ")
        assert termios.tcgetattr(terminal.master) == cooked
        terminal.type("9\r")
        terminal.wait_for("VM ID")
        terminal.type("1001\r")
        terminal.wait_for("login: ")
        os.kill(terminal.pid, signal.SIGTERM)
        assert terminal.exit_status() == 128 + signal.SIGTERM
        assert termios.tcgetattr(terminal.master)[3] & termios.ICANON


def test_on_a_terminal_a_new_password_is_asked_for_twice() -> None:
    for repeated, status, said in [("one", 0, "Password of admin changed"), ("two", 1, "The two passwords differ")]:
        with on_terminal("user", "passwd", "admin") as terminal:
            terminal.wait_for("New password: ")
            terminal.type("one\r")
            terminal.wait_for("The same again: ")
            terminal.type(f"{repeated}\r")
            assert "one" not in terminal.wait_for(said)
            assert terminal.exit_status() == status


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines() -> None:
    with on_terminal(TERM="dumb") as terminal:
        terminal.wait_for("Username: ")
        terminal.type("admin\r")
        terminal.wait_for("Password: ")
        terminal.type("admin\r")
        assert "\x1b" not in terminal.wait_for("Choose an option: ")
        terminal.type("0\r")
        assert terminal.exit_status() == 0
