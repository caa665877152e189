"""The terminal after a guest has used it: default modes, and no answers to the guest left to read."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import termios
import threading
import time
from collections.abc import Iterator

import pytest

from menu import console, terminal
from menu.console import VisitEnd, visit
from menu.keyboard import Lines
from menu.screen import Screen
from tests.support.fake_guest import FakeGuest
from tests.support.fake_terminal import FakeTerminal, TerminalState, fake_terminal

LEFT_ON = {
    "alternate screen": b"\x1b[?1049h",
    "an older alternate screen": b"\x1b[?47h",
    "line drawing": b"\x1b(0",
    "another charset, shifted out": b"\x1b)0\x0e",
    "mouse": b"\x1b[?1000h\x1b[?1002h\x1b[?1003h\x1b[?1006h\x1b[?1015h",
    "focus": b"\x1b[?1004h",
    "bracketed paste": b"\x1b[?2004h",
    "cursor and number keys": b"\x1b[?1h\x1b=",
    "hidden cursor": b"\x1b[?25l",
    "cursor's shape": b"\x1b[5 q",
    "scroll region": b"\x1b[5;10r",
    "origin": b"\x1b[?6h",
    "side margins": b"\x1b[?69h",
    "colours": b"\x1b[1;31;44m",
    "palette": b"\x1b]4;1;#00ff00\x07\x1b]11;#ff0000\x1b\\",
    "a link": b"\x1b]8;;http://example.org\x07",
    "inverse": b"\x1b[?5h",
    "no wrapping": b"\x1b[?7l",
    "insert, locked keyboard, new lines, no echo": b"\x1b[4h\x1b[2h\x1b[20h\x1b[12l",
    "no tabs": b"\x1b[3g",
    "a printer": b"\x1b[5i",
    "VT52": b"\x1b[?2l",
    "keys of kitty": b"\x1b[>5u",
    "keys of xterm": b"\x1b[>4;2m",
    "a held screen": b"\x1b[?2026h",
    "half a sequence": b"\x1b[12",
    "an open title": b"\x1b]0;what follows is the title",
    "an open charset": b"\x1b(",
    "everything": b"\x1b[?1049h"
    b"\x1b[?1;5;6;9;1000;1003;1004;1006;2004h\x1b[?7;25l\x1b(0\x0e\x1b=\x1b[2;5r\x1b[7m\x1b[4h",
}


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "QUIET", 0.05)


@pytest.fixture
def window() -> Iterator[FakeTerminal]:
    with fake_terminal() as window:
        yield window


class Printing(FakeGuest):
    """A guest that has written to the screen."""

    def __init__(self, said: bytes) -> None:
        super().__init__()
        self._said += said
        self._flush()


def screen_on(window: FakeTerminal, *, terminal: bool = True) -> Screen:
    stream = os.fdopen(os.dup(window.program), "wb")
    return Screen(io.TextIOWrapper(stream, encoding="utf-8", write_through=True), terminal=terminal, width=80)


def use(window: FakeTerminal, said: bytes, keys: bytes = b"\x1d") -> VisitEnd:
    window.type_when_raw(keys)
    return visit(Printing(said), Lines(window.program), screen_on(window))


def test_keys_that_follow_the_greeting_go_to_the_guest(window: FakeTerminal) -> None:
    modes = []

    def greet() -> None:
        modes.append(termios.tcgetattr(window.program)[3] & (termios.ISIG | termios.ICANON | termios.ECHO))

    window.type_when_raw(b"\x1d")
    visit(Printing(b""), Lines(window.program), screen_on(window), greet=greet)
    assert modes == [0]


def settled(window: FakeTerminal) -> TerminalState:
    """Return the terminal's state after all output."""
    deadline = time.monotonic() + 5
    while window.state != TerminalState() and time.monotonic() < deadline:
        time.sleep(0.01)
    return window.state


@pytest.mark.parametrize("said", LEFT_ON.values(), ids=LEFT_ON)
def test_modes_left_by_a_guest_are_reset(window: FakeTerminal, said: bytes) -> None:
    window._obey(said)
    assert window.state != TerminalState(), "the fake terminal does not know what the guest does"
    window.state, window._input = TerminalState(), b""

    assert use(window, said) is VisitEnd.LEFT
    assert settled(window) == TerminalState()
    assert window.waits() == b""


def test_a_closed_console_leaves_nothing_switched_on_either(window: FakeTerminal) -> None:
    assert use(window, LEFT_ON["everything"], b"bye") is VisitEnd.CLOSED
    assert settled(window) == TerminalState()


def test_the_reset_clears_nothing() -> None:
    written: list[bytes] = []
    terminal.reset(written.append)
    assert not re.findall(rb"\x1bc|\x1b\[[0-9;?]*[JKXPLM]|\x1b\[\?3[hl]", b"".join(written))


@pytest.mark.parametrize("said", [b"\x1b[7;3H", b"\x1b[2;20r\x1b[?6h\x1b[7;3H"], ids=["plain", "origin"])
def test_the_reset_leaves_the_cursor_where_it_is(window: FakeTerminal, said: bytes) -> None:
    use(window, said)
    deadline = time.monotonic() + 5
    while (window.place, window.state) != ((7, 3), TerminalState()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (window.place, window.state) == ((7, 3), TerminalState())


@pytest.mark.parametrize("delay", [0.0, 0.1])
def test_late_answers_to_the_guest_are_not_typed_into_the_menu(delay: float) -> None:
    with fake_terminal(delay) as window:
        assert use(window, b"\x1b[c\x1b[6n\x1b[21t\x1b[6n\x1b[21t") is VisitEnd.LEFT
        assert window.waits() == b""


def test_a_guest_that_asks_for_our_answer_in_advance_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "_question", lambda _: (b"\x1b[3;4H\x1b[6n", b"3;4R"))
    with fake_terminal() as window:
        assert use(window, b"\x1b[3;4H\x1b[6n" + b"\x1b[21t" * 2000) is VisitEnd.LEFT
        assert window.waits() == b""


def test_the_question_is_another_one_each_time(window: FakeTerminal) -> None:
    assert len({terminal._question(window.program) for _ in range(20)}) > 1


@pytest.mark.parametrize(("extent", "places"), [(1, {1}), (2, {2}), (3, {2}), (5, {2, 3, 4})])
def test_the_question_is_about_no_edge_where_there_is_room(extent: int, places: set[int]) -> None:
    assert {terminal._inside(extent) for _ in range(100)} == places


def test_a_terminal_that_answers_nothing_is_waited_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "ANSWER_SECONDS", 0.3)
    with fake_terminal(answers=False) as window:
        began = time.monotonic()
        assert use(window, b"\x1b[c") is VisitEnd.LEFT
        assert time.monotonic() - began < 5


def test_a_terminal_that_never_stops_answering_is_left_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "DRAIN_SECONDS", 0.5)
    user, program = pty.openpty()
    stop = threading.Event()

    def chatter() -> None:
        while not stop.wait(0.01):
            os.write(user, b"\x1b[0n")
            if select.select([user], [], [], 0)[0]:
                os.read(user, 65_536)

    thread = threading.Thread(target=chatter)
    thread.start()
    began = time.monotonic()
    with terminal.raw_mode(program):
        terminal.discard_answers(program, lambda _: None)
    assert time.monotonic() - began < 5
    stop.set()
    thread.join()
    os.close(user)
    os.close(program)


def test_a_word_that_is_typed_before_the_console_is_open_is_not_shown_and_reaches_the_guest() -> None:
    """The guest shows it. At a question meanwhile the terminal shows what is typed, as before and after."""
    user, program = pty.openpty()
    before = termios.tcgetattr(program)
    with terminal.without_echo(program):
        os.write(user, b"ls")
        assert not select.select([user], [], [], 0.2)[0]
        with terminal.raw_mode(program):
            assert os.read(program, 100) == b"ls"
        terminal.set_echo(program, on=True)
        os.write(user, b"y")
        assert os.read(user, 100) == b"y"
    assert termios.tcgetattr(program) == before
    os.close(user)
    os.close(program)


def test_piped_input_to_a_guest_on_a_terminal_resets_it_too(window: FakeTerminal) -> None:
    reading, writing = os.pipe()
    os.close(writing)
    visit(Printing(LEFT_ON["everything"]), Lines(reading), screen_on(window, terminal=False))
    os.close(reading)
    assert settled(window) == TerminalState()
