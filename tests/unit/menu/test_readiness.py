"""The live view of booting VMs: it ends when all are ready, with Enter, or with Ctrl-C."""

from __future__ import annotations

import io
import os
import pty
from collections.abc import Iterator
from contextlib import suppress

import pytest

from lifecycle.readiness import Look
from lifecycle.signs import Sign, VMSigns
from menu.keyboard import Keyboard, Lines
from menu.prompts import Prompts
from menu.readiness import LEAVE_HINT, ReadinessView, line_of, summary, watch_boot
from menu.screen import OutputLost, Screen
from menu.session import Session
from tests.support.fake_api import FakeAPI, furnished
from tests.support.playing import play, screen_of, screen_that_is_lost


def signs(name: str, *seen: Sign, needed: Sign = Sign.LEASE, problem: str = "") -> VMSigns:
    possible = (Sign.PROCESS, Sign.FRAME, Sign.LEASE, Sign.CONSOLE)
    return VMSigns(1001, name, frozenset(seen), possible, needed, 300, problem)


READY, BOOTING = signs("a", Sign.PROCESS, Sign.FRAME, Sign.LEASE), signs("b", Sign.PROCESS)


def test_a_line_says_what_is_known_and_what_is_missing() -> None:
    assert line_of(READY) == "VM 1001 (a): process, first frame, address by DHCP; ready"
    assert line_of(BOOTING) == "VM 1001 (b): process; waiting for: address by DHCP"
    assert line_of(signs("c")) == "VM 1001 (c): nothing seen yet; waiting for: address by DHCP"
    wrong = signs("d", Sign.PROCESS, needed=Sign.CONSOLE, problem="its patterns cannot be compared with its console")
    assert line_of(wrong) == "VM 1001 (d): process; its patterns cannot be compared with its console"


def test_the_summary_names_the_late_ones() -> None:
    assert summary(Look((READY,), (), {}), 2.0) == "1 VM ready after 2.00 s"
    assert summary(Look((READY, BOOTING), (), {}), 2.0) == "Not ready after 2.00 s: b (waiting for: address by DHCP)"


@pytest.mark.parametrize("width", [40, 80, 120])
def test_both_forms_have_every_vm(width: int) -> None:
    view = ReadinessView(Look((READY, BOOTING), (), {}))
    assert view.lines() == [line_of(READY), line_of(BOOTING)]
    output = io.BytesIO()
    screen = screen_of(output, terminal=True, width=width)
    screen.show(view)
    assert "ready" in output.getvalue().decode()


class Seat:
    """A terminal at which the live view is shown."""

    def __init__(self, api: FakeAPI, screen: Screen | None = None) -> None:
        self.user, self.program = pty.openpty()
        self.output = io.BytesIO()
        screen = screen or screen_of(self.output, terminal=True, width=100)
        keyboard = Keyboard(Lines(self.program), screen)
        self.session = Session(api, screen, keyboard, Prompts(keyboard, screen), "admin")  # type: ignore[arg-type]

    def close(self) -> None:
        for descriptor in (self.user, self.program):
            os.close(descriptor)

    def watch(self) -> str:
        watch_boot(self.session, 1000)
        return self.output.getvalue().decode()


@pytest.fixture
def seat() -> Iterator[Seat]:
    seat = Seat(furnished())
    yield seat
    seat.close()


def test_it_ends_when_all_are_ready(seat: Seat) -> None:
    shown = seat.watch()
    assert LEAVE_HINT in shown
    assert "VMs ready after 0." in shown


def test_enter_ends_it_and_is_taken(seat: Seat) -> None:
    seat.session.api.readiness.booting = {"vm1"}  # type: ignore[attr-defined]
    os.write(seat.user, b"\nnext\n")
    assert "Not ready after 0." in seat.watch()
    assert seat.session.keyboard.lines.line() == "next"


@pytest.mark.parametrize("lasts", range(8))
def test_a_terminal_that_goes_away_ends_it_as_lost_output(lasts: int) -> None:
    seat = Seat(furnished(), screen_that_is_lost(lasts, terminal=True))
    with suppress(OutputLost):
        seat.watch()
    seat.close()


def test_ctrl_c_ends_it_with_what_is_known(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_lines: Lines, _seconds: float) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr("menu.readiness._pressed_enter", interrupted)
    with suppress(KeyboardInterrupt):
        shown = seat.watch()
    assert "Not ready after 0." in shown


def test_a_pipe_sees_nothing_of_it() -> None:
    _, output = play(furnished(), "admin\nadmin\n6\n1000\n0\n")
    assert "ready after" not in output
    assert "waiting for" not in output
