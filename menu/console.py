"""A guest's serial console in this terminal: bytes both ways, until Ctrl-] or until one side ends."""

from __future__ import annotations

import select
import signal
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from types import FrameType

from errors import CloudError
from menu.keyboard import Lines
from menu.screen import Screen
from remote.console import ConsoleSession

ESCAPE = b"\x1d"
"""Ctrl-], as telnet and virsh have it."""

QUIET = 1.0
"""Seconds of silence after which a guest is taken to have said everything, once piped input has ended."""

PATIENCE = 10.0
"""Seconds after which a guest that goes on talking is left all the same."""

_CHUNK = 65_536
_RESET = b"\x1b[0m\x1b[?25h\r\n"
"""Back to plain colours and a visible cursor, whatever the guest left behind."""


class Ending(Enum):
    """How a visit to a console ended."""

    LEFT = "Left the console"
    CLOSED = "The console was closed"


def visit(console: ConsoleSession, lines: Lines, screen: Screen) -> Ending:
    """Connect keyboard and screen to `console` until the visit ends; the terminal is as before then."""
    try:
        if screen.terminal:
            _visit_typed(console, lines.descriptor, screen)
        else:
            _visit_piped(console, lines, screen)
    except _Closed:
        return Ending.CLOSED
    return Ending.LEFT


@contextmanager
def raw_mode(descriptor: int) -> Iterator[None]:
    """Every key goes to the guest, Ctrl-C too; the terminal is restored also when this process is told to end."""
    saved = termios.tcgetattr(descriptor)
    handlers = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        tty.setraw(descriptor, termios.TCSANOW)  # keeps what was typed ahead
        yield
    finally:
        with suppress(termios.error):  # the terminal's window was closed
            termios.tcsetattr(descriptor, termios.TCSANOW, saved)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


class _Closed(Exception):
    """The guest's side ended."""


def _visit_typed(console: ConsoleSession, descriptor: int, screen: Screen) -> None:
    with raw_mode(descriptor):
        try:
            # Lines of its own: what is typed behind Ctrl-] in the same moment is for nobody.
            _talk(console, Lines(descriptor), screen)
        finally:
            screen.raw(_RESET)


def _visit_piped(console: ConsoleSession, lines: Lines, screen: Screen) -> None:
    """A script cannot see when the guest has answered: after its last byte the guest is listened to for a while."""
    _talk(console, lines, screen)
    deadline = time.monotonic() + PATIENCE
    while (patience := deadline - time.monotonic()) > 0 and _ready([console], min(QUIET, patience)):
        _hear(console, screen)


def _talk(console: ConsoleSession, lines: Lines, screen: Screen) -> None:
    """Copy both ways until Ctrl-] or the end of input."""
    talking = True
    while talking:
        # What was read together with the menu's last line is typed already: then nothing is waited for.
        ready = _ready([console, lines.descriptor], 0 if lines.pending else None)
        if console in ready:
            _hear(console, screen)
        if lines.pending or lines.descriptor in ready:
            talking = _say(console, lines)


def _say(console: ConsoleSession, lines: Lines) -> bool:
    """Hand on what was typed; False once the user leaves. What follows Ctrl-] belongs to the menu."""
    typed, escaped, rest = lines.take().partition(ESCAPE)
    lines.give_back(rest)
    leaving = bool(escaped) or not typed
    try:
        while typed:
            typed = typed[console.send(typed) :]
    except (OSError, EOFError, CloudError) as error:
        raise _Closed from error
    return not leaving


def _hear(console: ConsoleSession, screen: Screen) -> None:
    try:
        heard = console.recv(_CHUNK)
    except (OSError, EOFError, CloudError) as error:
        raise _Closed from error
    if not heard:
        raise _Closed
    screen.raw(heard)


def _ready(sources: list[ConsoleSession | int], timeout: float | None) -> list[ConsoleSession | int]:
    """Those of `sources` that can be read, at the latest after `timeout` seconds."""
    return select.select(sources, [], [], timeout)[0]
