"""Restore a terminal after a guest has used it: reset its modes, and discard its answers to the guest."""

from __future__ import annotations

import os
import re
import secrets
import select
import signal
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

ANSWER_SECONDS = 2.0
"""Timeout for a terminal's answer. A terminal without any answer costs this once per visit."""

QUIET_SECONDS = 0.05
"""Seconds of silence, after the answer to us, that show that no other answer follows."""

DRAIN_SECONDS = 10.0
"""Timeout for a terminal that keeps answering."""

_CHUNK = 65_536
_LONGEST_ANSWERS = 64
_SIZE = os.terminal_size((80, 24))

# The sequences are from ECMA-48, the VT510's manual and xterm's ctlseqs. A full reset (RIS, `ESC c`) would do most of
# this, but it would also clear the screen.
_STRINGS = "\x18\x1b\\\x1b<\x1b[4i\x1b[?4i"
"""Abort a half sequence, end an open string, leave VT52 mode, print on the screen again."""

_MARGINS = "\x1b7\x1b[?69l\x1b[?6l\x1b[r\x1b8"
"""No margins. That moves the cursor, so it is saved and restored. Some terminals keep margins for each screen."""

_KITTY_KEYS = "\x1b[<99u\x1b[=0u"
"""Forget the keyboard modes of kitty's protocol, which are kept for each screen too."""

_MAIN_SCREEN = "\x1b[?1049l"
_SOFT_RESET = "\x1b[!p"
_CHARSETS = "\x0f\x1b(B\x1b)B\x1b*B\x1b+B\x1b F"
_MODES_OFF = (
    *(1, 4, 5, 9, 42, 45, 66),
    *(1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1016),
    *(2004, 2026, 2031, 2048, 9001),
)
"""Cursor keys, slow scroll, inverse screen, national letters, reverse wrap, keypad, mouse and focus, bracketed paste,
held screen, reports of colours and sizes, keys as Windows has them."""

_MODES = "\x1b[2;4;20l\x1b[12h\x1b[?7;8h" + "".join(f"\x1b[?{mode}l" for mode in _MODES_OFF) + "\x1b>\x1b[>4m"
"""Keyboard unlocked, overwriting, line feeds and echo as usual; wrapping and repeated keys on; those above off."""

_COLOURS = "\x1b]8;;\x07\x1b]104\x07\x1b]110\x07\x1b]111\x07\x1b]112\x07\x1b]R\x1b\\"
"""No link, and the default palette. The last sequence is for Linux's own console."""

_TABS = "\x1b7\x1b[3g" + "".join(f"\x1b[{column}G\x1bH" for column in range(9, 256, 8)) + "\x1b8"
_LOOKS = '\x1b[0 q\x1b[0"q\x1b[0m\x1b[?25h'

_RESET = "".join((
    *(_STRINGS, _MARGINS, _KITTY_KEYS, _MAIN_SCREEN, _MARGINS, _KITTY_KEYS),
    *(_SOFT_RESET, _CHARSETS, _MODES, _COLOURS, _TABS, _LOOKS),
)).encode()  # fmt: skip
"""Switch off all modes that a guest can have switched on. Text on the screen stays."""

_UTF8 = b"\x1b%G"
"""Read UTF-8, for a terminal to which the program writes UTF-8."""

_ORIGIN_OFF = b"\x1b[?6l\x1b[%d;%dH"
"""Count lines from the top. That moves the cursor, so it is put at the place that the terminal reported."""

_BOTTOM = (999, 1)
"""The last line, if the place is unknown."""

_PLAIN = b"\x1b[0m\x1b[?25h\r\n"
"""Plain colours, a visible cursor, and a new line."""


@contextmanager
def raw_mode(descriptor: int) -> Iterator[None]:
    """Send every key to the guest, Ctrl-C too. The terminal is restored even if a signal ends this process."""
    with _restored(descriptor):
        tty.setraw(descriptor, termios.TCSANOW)  # keeps bytes that were typed ahead
        yield


@contextmanager
def without_echo(descriptor: int) -> Iterator[None]:
    """Show no key that is typed ahead: the guest that gets it shows it. The terminal is restored as in `raw_mode`."""
    with _restored(descriptor):
        set_echo(descriptor, on=False)
        yield


def set_echo(descriptor: int, *, on: bool) -> None:
    """Let the terminal show the keys that are typed, or not."""
    mode = termios.tcgetattr(descriptor)
    mode[tty.LFLAG] = mode[tty.LFLAG] | termios.ECHO if on else mode[tty.LFLAG] & ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSANOW, mode)


@contextmanager
def _restored(descriptor: int) -> Iterator[None]:
    """Restore the modes of a terminal at the end, also where a signal ends this process."""
    saved = termios.tcgetattr(descriptor)
    handlers = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        with suppress(termios.error):  # the terminal's window was closed
            termios.tcsetattr(descriptor, termios.TCSANOW, saved)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def give_back(descriptor: int, write: Callable[[bytes], None], *, utf8: bool = True) -> None:
    """Reset the modes of a terminal in raw mode, and discard its answers to the guest."""
    write(_RESET + _UTF8 if utf8 else _RESET)
    place = discard_answers(descriptor, write)
    write(_ORIGIN_OFF % (place or _BOTTOM) + _PLAIN)


def reset(write: Callable[[bytes], None], *, utf8: bool = True) -> None:
    """Reset the modes of a terminal that gives no input."""
    write((_RESET + _UTF8 if utf8 else _RESET) + _ORIGIN_OFF % _BOTTOM + _PLAIN)


def discard_answers(descriptor: int, write: Callable[[bytes], None]) -> tuple[int, int] | None:
    """Discard the terminal's answers to the guest, and return line and column of the cursor.

    A terminal answers in turn. The last question is ours: the place of the cursor, moved to a random place that the
    guest cannot guess. A guest may have asked about all places, so silence must follow the answer.
    """
    question, answer = _question(descriptor)
    write(question)
    deadline = time.monotonic() + DRAIN_SECONDS
    seconds, received, place = ANSWER_SECONDS, b"", None
    while time.monotonic() < deadline and (piece := _read(descriptor, seconds)):
        received = received[-_LONGEST_ANSWERS:] + piece
        if answer in received:
            seconds = QUIET_SECONDS
            found = re.search(rb"\x1b\[(\d{1,4});(\d{1,4})R\x1b\[" + answer, received)
            place = (int(found[1]), int(found[2])) if found else place
    with suppress(termios.error):
        termios.tcflush(descriptor, termios.TCIFLUSH)
    return place


def _question(descriptor: int) -> tuple[bytes, bytes]:
    """Return a question for two places, the cursor's own and a random one, and the end of the second answer.

    The random one is at no edge where there is room: there a guest asks most, and its answer would be taken for ours.
    """
    size = _SIZE
    with suppress(OSError):
        known = os.get_terminal_size(descriptor)
        size = known if all(known) else size  # a terminal may report no size
    line, column = (_inside(extent) for extent in (size.lines, size.columns))
    return f"\x1b[6n\x1b7\x1b[{line};{column}H\x1b[6n\x1b8".encode(), f"{line};{column}R".encode()


def _inside(extent: int) -> int:
    return min(extent, 2 + secrets.randbelow(max(1, extent - 2)))


def _read(descriptor: int, seconds: float) -> bytes:
    """Return bytes typed within `seconds`, or b"" for none or for a terminal that is gone."""
    try:
        if select.select([descriptor], [], [], seconds)[0]:
            return os.read(descriptor, _CHUNK)
    except OSError:
        pass
    return b""


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
