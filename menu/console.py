"""A guest's serial console in this terminal: bytes both ways, until a key leads out or one side ends."""

from __future__ import annotations

import select
import time
from enum import Enum

from core.errors import CloudError
from menu.exits import Exits, Keys
from menu.keyboard import Lines
from menu.screen import Screen
from menu.terminal import give_back, raw_mode, reset
from remote.console import ConsoleSession

QUIET = 1.0
"""Seconds of silence after which a guest is taken to have said everything, once piped input has ended."""

PATIENCE = 10.0
"""Seconds after which a guest that goes on talking is left all the same."""

_CHUNK = 16_384


class Ending(Enum):
    """How a visit to a console ended."""

    LEFT = "Left the console"
    CLOSED = "The console was closed"


def visit(console: ConsoleSession, lines: Lines, screen: Screen, exits: Exits | None = None) -> Ending:
    """Connect keyboard and screen to `console` until the visit ends; the terminal is as before then."""
    exits = exits or Exits()
    try:
        if screen.terminal:
            _visit_typed(console, lines.descriptor, screen, exits.typed())
        else:
            _visit_piped(console, lines, screen, exits.piped())
    except _Closed:
        return Ending.CLOSED
    return Ending.LEFT


class _Closed(Exception):
    """The guest's side ended."""


def _visit_typed(console: ConsoleSession, descriptor: int, screen: Screen, keys: Keys) -> None:
    with raw_mode(descriptor):
        try:
            # Lines of its own: what is typed behind Ctrl-] in the same moment is for nobody.
            _talk(console, Lines(descriptor), screen, keys)
        finally:
            give_back(descriptor, screen.raw, utf8=screen.is_utf8)


def _visit_piped(console: ConsoleSession, lines: Lines, screen: Screen, keys: Keys) -> None:
    """A script cannot see when the guest has answered: after its last byte the guest is listened to for a while."""
    try:
        _talk(console, lines, screen, keys)
        deadline = time.monotonic() + PATIENCE
        while (patience := deadline - time.monotonic()) > 0 and _ready([console], min(QUIET, patience)):
            _hear(console, screen)
    finally:
        if screen.draws:  # only what is typed comes from a pipe
            reset(screen.raw, utf8=screen.is_utf8)


def _talk(console: ConsoleSession, lines: Lines, screen: Screen, keys: Keys) -> None:
    """Copy both ways until a key that leads out, or the end of input."""
    talking = True
    while talking:
        # What was read together with the menu's last line is typed already: then nothing is waited for.
        ready = _ready([console, lines.descriptor], 0 if lines.pending else None)
        if console in ready:
            _hear(console, screen)
        if lines.pending or lines.descriptor in ready:
            talking = _say(console, lines, keys)


def _say(console: ConsoleSession, lines: Lines, keys: Keys) -> bool:
    """Hand on what was typed; False once the user leaves. What follows the key that leads out belongs to the menu."""
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


def _hear(console: ConsoleSession, screen: Screen) -> None:
    try:
        heard = console.recv(_CHUNK)
    except BlockingIOError:  # the worker had a word, and the guest none
        return
    except (OSError, EOFError, CloudError) as error:
        raise _Closed from error
    if not heard:
        raise _Closed
    screen.raw(heard)


def _ready(sources: list[ConsoleSession | int], timeout: float | None) -> list[ConsoleSession | int]:
    """Those of `sources` that can be read, at the latest after `timeout` seconds."""
    return select.select(sources, [], [], timeout)[0]
