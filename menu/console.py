"""Connect this terminal with a guest's serial console until a key leads out or one side ends."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from enum import Enum

from core.errors import CloudError
from menu.exits import Exits, Keys
from menu.keyboard import Lines
from menu.screen import Screen
from menu.terminal import give_back, raw_mode, reset
from remote.console import ConsoleSession

QUIET = 1.0
"""Seconds of silence that end a console after piped input has ended."""

TIMEOUT = 10.0
"""Seconds after which the console of a guest that still writes is left."""

_CHUNK = 16_384


class VisitEnd(Enum):
    """The end of a visit to a console, as the menu reports it."""

    LEFT = "Left the console"
    CLOSED = "The console was closed"


def visit(
    console: ConsoleSession,
    lines: Lines,
    screen: Screen,
    exits: Exits | None = None,
    greet: Callable[[], None] = lambda: None,
) -> VisitEnd:
    """Connect keyboard and screen to `console` until the visit ends, then restore the terminal.

    `greet` is called as soon as every key goes to the guest.
    """
    exits = exits or Exits()
    try:
        if screen.terminal:
            _visit_typed(console, lines.descriptor, screen, exits.typed(), greet)
        else:
            greet()
            _visit_piped(console, lines, screen, exits.piped())
    except _Closed:
        return VisitEnd.CLOSED
    return VisitEnd.LEFT


class _Closed(Exception):
    """The guest's side ended."""


def _visit_typed(
    console: ConsoleSession, descriptor: int, screen: Screen, keys: Keys, greet: Callable[[], None]
) -> None:
    with raw_mode(descriptor):
        try:
            greet()
            # New lines: bytes that were typed together with Ctrl-] belong neither to the guest nor to the menu.
            _copy(console, Lines(descriptor), screen, keys)
        finally:
            give_back(descriptor, screen.raw, utf8=screen.is_utf8)


def _visit_piped(console: ConsoleSession, lines: Lines, screen: Screen, keys: Keys) -> None:
    """Send piped input, then show the guest's answer. A script cannot see its end, so silence or a timeout ends it."""
    try:
        _copy(console, lines, screen, keys)
        deadline = time.monotonic() + TIMEOUT
        while (left := deadline - time.monotonic()) > 0 and _ready([console], min(QUIET, left)):
            _show(console, screen)
    finally:
        if screen.draws:  # input comes from a pipe, but output goes to a terminal
            reset(screen.raw, utf8=screen.is_utf8)


def _copy(console: ConsoleSession, lines: Lines, screen: Screen, keys: Keys) -> None:
    """Copy both ways until a key leads out, or the input ends."""
    copying = True
    while copying:
        # Bytes read together with the menu's last line are input already, so there is nothing to wait for.
        ready = _ready([console, lines.descriptor], 0 if lines.pending else None)
        if console in ready:
            _show(console, screen)
        if lines.pending or lines.descriptor in ready:
            copying = _say(console, lines, keys)


def _say(console: ConsoleSession, lines: Lines, keys: Keys) -> bool:
    """Send input to the guest and return whether the user stays. Bytes after the key that leads out go to the menu."""
    taken = lines.take()
    typed, rest = keys.split(taken)
    lines.give_back(rest or b"")
    leaving = rest is not None or not taken
    try:
        while typed:
            typed = typed[console.send(typed) :]
    except (OSError, EOFError, CloudError) as error:
        raise _Closed from error
    return not leaving


def _show(console: ConsoleSession, screen: Screen) -> None:
    try:
        output = console.recv(_CHUNK)
    except BlockingIOError:  # the worker sent no bytes of the guest
        return
    except (OSError, EOFError, CloudError) as error:
        raise _Closed from error
    if not output:
        raise _Closed
    screen.raw(output)


def _ready(sources: list[ConsoleSession | int], timeout: float | None) -> list[ConsoleSession | int]:
    """Return the sources that can be read, after `timeout` seconds at the latest."""
    return select.select(sources, [], [], timeout)[0]
