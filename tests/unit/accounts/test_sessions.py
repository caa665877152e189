"""Sessions: a maximum per account, an end without input, and no host before the password is right."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import yaml

from accounts.sessions import Sessions
from core.errors import FileFault
from core.formats import seconds_of
from menu import idle, session
from menu.console import visit
from menu.entries import ENTRIES
from menu.idle import Idle, TypedConsole
from menu.keyboard import Keyboard, Lines
from menu.session import run
from tests.support.acts import read_log
from tests.support.desk import PASSWORD_HASH, Desk
from tests.support.fake_api import FakeAPI, furnished
from tests.support.fake_guest import FakeGuest
from tests.support.lab.visitor import wait_until
from tests.support.paths import ROOT
from tests.support.playing import on_terminal, screen_of
from tests.support.scale import scaled

SENTENCE = (
    "student has 8 sessions open, which is the limit: leave one of them, or wait: a session without input ends "
    "after 30m"
)


# --- so many per account ----------------------------------------------------------------------------------------------


def test_an_account_has_eight_sessions_and_others_are_not_kept_out(desk: Desk) -> None:
    held = [desk.ok(desk.api.open_session("student")) for _ in range(8)]
    assert desk.no(desk.api.open_session("student")) == SENTENCE
    desk.ok(desk.api.open_session("admin")).close()
    held.pop().close()
    held.append(desk.ok(desk.api.open_session("student")))
    assert desk.no(desk.api.open_session("student")) == SENTENCE


def test_the_file_says_how_many(desk: Desk) -> None:
    desk.path.write_text(desk.path.read_text() + "login: {sessions: 2, idle: 5m}\n")
    held = [desk.ok(desk.api.open_session("student")) for _ in range(2)]
    assert "student has 2 sessions open" in desk.no(desk.api.open_session("student"))
    for place in held:
        place.close()
    assert not list(desk.path.parent.glob("*.session-*"))


def test_a_refused_session_is_in_the_audit_log(desk: Desk) -> None:
    held = [desk.ok(desk.api.open_session("student")) for _ in range(8)]
    desk.no(desk.api.open_session("student"))
    assert [entry["result"] for entry in read_log(desk.path) if entry["action"] == "open session"] == [SENTENCE]
    assert len(held) == 8


HOLDER = """
import sys
from accounts.audit import Audit
from accounts.sessions import Sessions
from database import Database
database = Database(sys.argv[1])
held = Sessions(database, Audit(database)).open("student")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_session_that_was_killed_frees_its_place_at_once(desk: Desk) -> None:
    argv = [sys.executable, "-c", HOLDER, str(desk.path)]
    holders = [
        subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(8)
    ]
    try:
        for holder in holders:
            assert holder.stdout
            assert holder.stdout.readline() == "held\n"
        assert desk.no(desk.api.open_session("student")) == SENTENCE
        for holder in holders:
            holder.kill()
            holder.wait(30)
            desk.ok(desk.api.open_session("student")).close()
    finally:
        for holder in holders:
            holder.kill()
            holder.wait(30)
            assert holder.stdin
            assert holder.stdout
            holder.stdin.close()
            holder.stdout.close()


def test_the_menu_holds_a_place_from_the_password_on_and_a_restricted_one_before() -> None:
    cloud = furnished()
    cloud.sessions = 0
    assert played(cloud, b"admin\nadmin\n" * 3)[1].count("Error: admin has 0 sessions open") == 3
    status, shown = played(cloud, b"admin\n", seat="admin")
    assert (status, shown) == (1, "Error: admin has 0 sessions open\n")
    cloud.sessions = 1
    assert played(cloud, b"admin\n8\n" + b"0\n", seat="admin")[0] == 0
    assert played(cloud, b"admin\nadmin\n8\nadmin\nadmin\n0\n")[0] == 0
    assert cloud.open_sessions == []
    played(cloud, b"admin\nwrong\n")
    assert cloud.open_sessions == []


def played(cloud: FakeAPI, script: bytes, seat: str = "") -> tuple[int, str]:
    reading, writing = os.pipe()
    os.write(writing, script)
    os.close(writing)
    output = io.BytesIO()
    screen = screen_of(output)
    status = run(cloud, screen, Keyboard(Lines(reading), screen), ENTRIES, seat)  # type: ignore[arg-type]
    os.close(reading)
    return status, output.getvalue().decode()


# --- many at the password prompt --------------------------------------------------------------------------------------


@contextmanager
def worker() -> Iterator[tuple[int, list[socket.socket]]]:
    """Yield the port of a host that accepts connections and sends nothing, and its connections."""
    got: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    got.append(listener.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1], got
        listener.shutdown(socket.SHUT_RDWR)
    for each in got:
        each.close()


def prompt(path: Path) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-Es", str(ROOT / "cli.py"), "--database", str(path), "--user", "student"]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def said(process: subprocess.Popen[bytes], until: bytes) -> bytes:
    assert process.stdout
    received = b""
    while not received.endswith(until) and (byte := process.stdout.read(1)):
        received += byte
    return received


@pytest.mark.torture
def test_many_logins_at_the_prompt_reach_no_host_and_load_no_ssh(tmp_path: Path) -> None:
    path = tmp_path / "database.yaml"
    sessions, more = scaled((3, 2), (8, 32))
    user = {"username": "student", "password_hash": PASSWORD_HASH, "slices": []}
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    with worker() as (port, got):
        record = {
            "users": {"student": user},
            "workers_list": ["127.0.0.1"],
            "network_node": "127.0.0.1",
            "ssh": {"port": port, "key_file": str(tmp_path / "key"), "known_hosts": str(tmp_path / "hosts")},
            "login": {"sessions": sessions, "shipped_passwords": "keep"},
        }
        path.write_text(yaml.safe_dump(record))
        processes = [prompt(path) for _ in range(sessions)]
        try:
            for process in processes:
                assert said(process, b"Password: ") == b"User: student\nPassword: "
            for process in processes:
                maps = Path(f"/proc/{process.pid}/maps").read_text()
                assert not [word for word in ("cryptography", "_bcrypt", "nacl") if word in maps]
            for _ in range(more):
                refused = prompt(path)
                processes.append(refused)
                assert b"student has" in said(refused, b"\n")
                assert refused.wait(30) == 1
            processes[0].kill()  # its place is free at once
            processes.append(prompt(path))
            assert said(processes[-1], b"Password: ").endswith(b"Password: ")
            assert not got
            assert processes[-1].stdin
            processes[-1].stdin.write(b"admin\n")
            processes[-1].stdin.flush()
            wait_until(lambda: bool(got), "the look at the workers", 30)
        finally:
            for process in processes:
                process.kill()
                process.communicate(timeout=30)


# --- nothing typed ----------------------------------------------------------------------------------------------------

AT = {
    "Username: ": [],
    "Password: ": ["admin"],
    "Choose an option: ": ["admin", "admin"],
    "Slice name: ": ["admin", "admin", "2"],
    "Current password: ": ["admin", "admin", "12"],
}


@pytest.mark.long
@pytest.mark.parametrize("at", AT)
def test_a_session_where_nothing_is_typed_ends_and_says_so_before(at: str) -> None:
    with on_terminal(FAKE_IDLE="2") as terminal:
        for answer in AT[at]:
            terminal.wait_for(": ")
            terminal.type(f"{answer}\r")
        terminal.wait_for(at)
        terminal.wait_for("Warning: nothing was typed for a while; the session ends in 1 s, Enter keeps it")
        terminal.wait_for("Nothing was typed for 2 s: the session ends")
        terminal.wait_for("Goodbye")
        assert terminal.exit_status() == 0
        assert "Traceback" not in terminal.seen


@pytest.mark.long
def test_an_answer_begins_the_time_again() -> None:
    with on_terminal(FAKE_IDLE="2") as terminal:
        terminal.wait_for("Username: ")
        terminal.type("admin\r")
        terminal.wait_for("Password: ")
        terminal.type("admin\r")
        for _ in range(3):  # more than the limit in total
            terminal.wait_for("Choose an option: ")
            terminal.wait_for("Warning: nothing was typed", 10)
            terminal.type("..\r")
        terminal.type("0\r")
        terminal.wait_for("Goodbye")
        assert terminal.exit_status() == 0


@contextmanager
def typing(every: float, byte: bytes) -> Iterator[int]:
    """Yield the reading end of a pipe that receives a byte again and again."""
    reading, writing = os.pipe()
    done = threading.Event()

    def write() -> None:
        while not done.wait(every):
            with suppress(OSError):
                os.write(writing, byte)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield reading
    finally:
        done.set()
        writer.join()
        os.close(writing)
        os.close(reading)


def took(call: Callable[[], None]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def test_a_line_that_comes_byte_by_byte_does_not_stop_the_clock() -> None:
    with typing(0.05, b"x") as reading:
        screen = screen_of(io.BytesIO())
        keyboard = Keyboard(Lines(reading), screen, idle=Idle(0.5, screen.line))

        def ask() -> None:
            with pytest.raises(EOFError):
                keyboard.line("Name: ")

        assert 0.4 < took(ask) < 5


@pytest.mark.parametrize("byte", [b"", b"x", b"wrong\n"])
def test_a_restricted_session_has_a_deadline_at_the_password(monkeypatch: pytest.MonkeyPatch, byte: bytes) -> None:
    monkeypatch.setattr(session, "LOGIN_SECONDS", 0.6)
    monkeypatch.setattr(session, "ATTEMPTS", 10_000)
    output = io.BytesIO()
    cloud = furnished()
    with typing(0.1, byte) as reading:
        screen = screen_of(output)
        keyboard = Keyboard(Lines(reading), screen, idle=Idle(60, screen.line))
        status = partial(run, cloud, screen, keyboard, ENTRIES, "admin")  # type: ignore[arg-type]
        assert took(lambda: assert_left(status())) < 10
    assert output.getvalue().decode().endswith("No right password came in time: the session ends\nGoodbye\n")
    assert cloud.open_sessions == []
    assert cloud.measurements == 0


def assert_left(status: int) -> None:
    assert status == 0


@pytest.mark.long
def test_the_deadline_of_the_password_is_over_when_it_was_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "LOGIN_SECONDS", 0.3)
    with on_terminal(FAKE_IDLE="2") as terminal:  # an ordinary session: only the time without input counts
        terminal.wait_for("Username: ")
        terminal.wait_for("Nothing was typed for 2 s")
    reading, writing = os.pipe()
    output = io.BytesIO()
    screen = screen_of(output)
    keyboard = Keyboard(Lines(reading), screen, idle=Idle(1.5, screen.line))
    os.write(writing, b"admin\n")
    run(furnished(), screen, keyboard, ENTRIES, "admin")  # type: ignore[arg-type]
    assert "Nothing was typed for 2 s: the session ends" in output.getvalue().decode()
    os.close(reading)
    os.close(writing)


class Chatter(FakeGuest):
    """A guest with endless output."""

    def recv(self, size: int, /) -> bytes:
        self._far.send(b"tick")
        return self._socket.recv(size)


def in_console(guest: FakeGuest, reading: int, limit: float) -> str:
    output = io.BytesIO()
    screen = screen_of(output)
    with pytest.raises(EOFError), Idle(limit, screen.line).watched(screen.between) as typed:
        visit(TypedConsole(guest, typed), Lines(reading), screen)
    return output.getvalue().decode()


@pytest.mark.long
def test_a_console_ends_where_nothing_is_typed_whatever_the_guest_says() -> None:
    reading, writing = os.pipe()
    shown = in_console(Chatter(), reading, 2.0)
    assert "Enter keeps it" in shown
    assert shown.endswith("the session ends\n")
    os.close(reading)
    os.close(writing)


@pytest.mark.long
def test_typed_keys_keep_a_console_open() -> None:
    with typing(0.1, b"k") as reading:
        guest = FakeGuest()
        stop = threading.Timer(4.0, guest._far.close)
        stop.start()
        output = io.BytesIO()
        screen = screen_of(output)
        with Idle(3.0, screen.line).watched(screen.between) as typed:  # a busy machine types late
            visit(TypedConsole(guest, typed), Lines(reading), screen)  # the guest ends it, after the limit
        stop.join()
    assert "the session ends\n" not in output.getvalue().decode()


def test_an_output_that_is_not_read_does_not_keep_a_console_open() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, True)

    def flood() -> None:
        with Idle(0.4, lambda _: None).watched():
            while True:
                os.write(writing, b"x" * 65_536)

    began = time.monotonic()
    with pytest.raises(EOFError):
        flood()
    assert time.monotonic() - began < 10
    os.close(reading)
    os.close(writing)


def test_elsewhere_than_in_the_main_thread_and_without_a_limit_nothing_ends() -> None:
    ended: list[bool] = []

    def wait() -> None:
        with Idle(0.05, lambda _: None).watched():
            time.sleep(0.3)
        ended.append(False)

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join()
    with Idle(None, lambda _: None).watched() as restart:
        restart()
    assert ended == [False]


def test_a_signal_that_comes_too_late_ends_nothing() -> None:
    with Idle(60, lambda _: None).watched():
        pass
    os.kill(os.getpid(), signal.SIGALRM)
    assert idle._STATE["armed"] is False


# --- the settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("1m", 60), ("30m", 1800), ("24h", 86_400)])
def test_a_duration(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{idle: 59s}", 'login.idle: must be a time from 1m to 24h, such as 30m, not "59s"'),
        ("{idle: 25h}", 'login.idle: must be a time from 1m to 24h, such as 30m, not "25h"'),
        ("{idle: 30}", "login.idle: must be a time from 1m to 24h, such as 30m, not 30"),
        ("{idle: '٣m'}", "login.idle: must be a time from 1m to 24h"),
        ("{idle: never}", "login.idle: must be a time from 1m to 24h"),
        ("{sessions: 0}", "login.sessions: must be a whole number from 1 to 100, not 0"),
        ("{sessions: 101}", "login.sessions: must be a whole number from 1 to 100, not 101"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_line(desk: Desk, text: str, sentence: str) -> None:
    before = desk.path.read_text()
    desk.path.write_text(f"{before}login: {text}\n")
    with pytest.raises(FileFault) as refused:
        Sessions(desk.database, desk.api._audit).open("student")
    assert f"line {before.count(chr(10)) + 1}: {sentence}" in str(refused.value)
