"""The serial console: bytes both ways, a way out, and a restored terminal."""

from __future__ import annotations

import io
import os
import pty
import signal
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from menu import console, terminal
from menu.console import VisitEnd, visit
from menu.exits import Exits
from menu.interrupts import interruptible
from menu.keyboard import Lines
from menu.terminal import raw_mode
from tests.support.fake_api import furnished
from tests.support.fake_guest import FakeGuest
from tests.support.playing import LOGIN, play, screen_of


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "QUIET", 0.05)
    monkeypatch.setattr(terminal, "ANSWER_SECONDS", 0.1)


def piped(guest: FakeGuest, typed: bytes) -> tuple[VisitEnd, bytes, bytes]:
    """Return the ending of a visit, the output, and the bytes that are left for the menu."""
    reading, writing = os.pipe()
    os.write(writing, typed)
    os.close(writing)
    lines = Lines(reading)
    output = io.BytesIO()
    screen = screen_of(output)
    ending = visit(guest, lines, screen)
    rest = lines.take()
    os.close(reading)
    return ending, output.getvalue(), rest


def test_piped_input_is_passed_on_to_its_end_and_all_output_is_read() -> None:
    ending, received, rest = piped(FakeGuest(), b"uname -a\n\xff\x00")
    assert (ending, rest) == (VisitEnd.LEFT, b"")
    assert received == b"login: UNAME -A\n\xff\x00"


def test_piped_input_after_ctrl_bracket_belongs_to_the_menu() -> None:
    ending, received, rest = piped(FakeGuest(), b"hello\x1d0\n\x1d")
    assert (ending, received, rest) == (VisitEnd.LEFT, b"login: HELLO", b"0\n\x1d")


def test_piped_a_guest_that_closes_ends_it() -> None:
    ending, received, _ = piped(FakeGuest(), b"bye")
    assert (ending, received) == (VisitEnd.CLOSED, b"login: BYE")


def test_piped_a_lost_connection_ends_it() -> None:
    ending, _, rest = piped(FakeGuest(), b"crash\x1d0\n")
    assert (ending, rest) == (VisitEnd.CLOSED, b"0\n")


def test_piped_a_guest_that_never_stops_talking_is_left_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "TIMEOUT", 0.3)

    class TalkingGuest(FakeGuest):
        def recv(self, _size: int, /) -> bytes:
            time.sleep(0.01)
            return b"."

    began = time.monotonic()
    ending, received, _ = piped(TalkingGuest(), b"")
    assert ending is VisitEnd.LEFT
    assert received.startswith(b"...")
    assert time.monotonic() - began < 3


def test_input_read_with_the_menus_lines_reaches_the_guest() -> None:
    cloud = furnished()
    _, output = play(cloud, LOGIN + "9\n1001\nroot\npassword\n\x1d0\n")
    lines = output.splitlines()

    at = lines.index("Connected to vm1. Leave with Ctrl-].")
    assert lines[at + 1 : at + 5] == ["login: ROOT", "PASSWORD", "", "Left the console"]
    assert lines[-1] == "Goodbye"
    assert cloud.guests[0].closed


def test_the_menu_says_that_a_console_was_closed() -> None:
    _, output = play(furnished(), LOGIN + "9\n1001\nbye\n")
    assert output.splitlines()[-1] == "Goodbye"
    assert "The console was closed" in output.splitlines()


def test_a_console_that_another_user_has_is_taken_over_only_after_a_yes() -> None:
    cloud = furnished()
    cloud.visitor = "alice"
    _, output = play(cloud, LOGIN + "9\n1001\nwhat\nn\n9\n1001\ny\nls\n\x1d0\n")
    lines = output.splitlines()
    assert lines.count("alice is using the console of vm1, since 02:13") == 2
    assert lines.count("Take it over? (y/n): ") == 3
    assert "Error: Answer y or n" in lines
    assert "Nothing was changed" in lines
    assert "login: LS" in lines
    assert len(cloud.guests) == 1


def test_the_menu_says_why_a_console_was_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeGuest, "why_closed", lambda _: "bob took it over")
    _, output = play(furnished(), LOGIN + "9\n1001\nbye\n")
    assert "The console was closed: bob took it over" in output.splitlines()


def test_a_worker_that_has_a_word_of_its_own_does_not_end_a_visit() -> None:
    class Whispering(FakeGuest):
        words = 0

        def recv(self, size: int, /) -> bytes:
            self.words += 1
            if self.words % 2:
                raise BlockingIOError
            return super().recv(size)

    ending, received, _ = piped(Whispering(), b"hello\x1d")
    assert (ending, received) == (VisitEnd.LEFT, b"login: HELLO")


def test_typed_a_tilde_and_a_dot_after_enter_lead_out(window: tuple[int, int]) -> None:
    guest = FakeGuest()
    ending, _ = typed(window, guest, b"a~.\r~~.\r~x\r~.more")
    assert (ending, guest.typed) == (VisitEnd.LEFT, b"a~.\r~.\r~x\r")


def test_typed_the_way_out_is_as_the_settings_say(window: tuple[int, int]) -> None:
    user, program = window
    guest = FakeGuest()
    threading.Timer(0.2, os.write, (user, b"~.\x1d\r%.")).start()
    ending = visit(guest, Lines(program), screen_of(io.BytesIO(), terminal=True), Exits(["%."]))
    assert (ending, guest.typed) == (VisitEnd.LEFT, b"~.\x1d\r")


def press_and_clean_up() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        time.sleep(0.3)  # the repeated signal must not strike here


def test_ctrl_c_at_a_prompt_acts_once_and_the_terminal_is_as_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible():
        press_and_clean_up()
    assert signal.getsignal(signal.SIGINT) == before
    assert signal.set_wakeup_fd(-1) == -1


@pytest.fixture
def window() -> Iterator[tuple[int, int]]:
    """Both sides of a terminal: ours, on which the user types, and the program's."""
    user, program = pty.openpty()
    yield user, program
    for descriptor in (user, program):
        with suppress(OSError):
            os.close(descriptor)


def typed(window: tuple[int, int], guest: FakeGuest, keys: bytes) -> tuple[VisitEnd, bytes]:
    user, program = window
    output = io.BytesIO()
    screen = screen_of(output, terminal=True)
    # A key pressed before the terminal is raw would count as Ctrl-C to the test itself.
    threading.Timer(0.2, os.write, (user, keys)).start()
    ending = visit(guest, Lines(program), screen)
    return ending, output.getvalue()


def test_typed_every_key_reaches_the_guest_and_the_terminal_is_as_before(window: tuple[int, int]) -> None:
    before = termios.tcgetattr(window[1])
    ending, received = typed(window, FakeGuest(), b"a\x03\x04\x1a\r\x1dmore")

    assert ending is VisitEnd.LEFT
    assert received.startswith(b"login: ")
    assert received.endswith(b"\x1b[0m\x1b[?25h\r\n")  # whatever colour the guest left
    assert termios.tcgetattr(window[1]) == before


def test_typed_a_closed_console_gives_the_terminal_back(window: tuple[int, int]) -> None:
    before = termios.tcgetattr(window[1])
    ending, received = typed(window, FakeGuest(), b"bye")

    assert ending is VisitEnd.CLOSED
    assert b"BYE" in received
    assert termios.tcgetattr(window[1]) == before


def test_typed_a_closed_window_ends_it() -> None:
    user, program = pty.openpty()
    threading.Timer(0.2, os.close, (user,)).start()
    screen = screen_of(io.BytesIO(), terminal=True)

    assert visit(FakeGuest(), Lines(program), screen) is VisitEnd.LEFT
    os.close(program)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_program_gives_the_terminal_back(window: tuple[int, int], number: int) -> None:
    before = termios.tcgetattr(window[1])
    handler = signal.getsignal(number)
    with pytest.raises(SystemExit) as ending, raw_mode(window[1]):
        signal.raise_signal(number)

    assert ending.value.code == 128 + number
    assert termios.tcgetattr(window[1]) == before
    assert signal.getsignal(number) == handler
