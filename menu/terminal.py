"""Give a terminal back after a guest has used it: its modes as before, and no answer to the guest left to read."""

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
"""Timeout for a terminal's answer; one that answers nothing at all, as a script's may, costs this once per visit."""

QUIET_SECONDS = 0.05
"""Silence that shows, after our own answer, that no other one follows."""

DRAIN_SECONDS = 10.0
"""Timeout for a terminal that goes on answering."""

_CHUNK = 65_536
_LONGEST_ANSWERS = 64
_SIZE = os.terminal_size((80, 24))

# The sequences are those of ECMA-48, of the VT510's manual and of xterm's ctlseqs. A full reset (RIS, `ESC c`) would do
# most of this and clear the screen as well.
_STRINGS = "\x18\x1b\\\x1b<\x1b[4i\x1b[?4i"
"""Abort a half sequence, end an open string, leave VT52 mode, print on the screen again."""

_MARGINS = "\x1b7\x1b[?69l\x1b[?6l\x1b[r\x1b8"
"""No margins; that moves the cursor, which is put back, with the origin as it was. Some keep them for each screen."""

_KITTY_KEYS = "\x1b[<99u\x1b[=0u"
"""Forget the keyboard modes of kitty's protocol; they are kept for each screen as well."""

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
"""No link, and the palette as it was; the last one is for Linux's own console."""

_TABS = "\x1b7\x1b[3g" + "".join(f"\x1b[{column}G\x1bH" for column in range(9, 256, 8)) + "\x1b8"
_LOOKS = '\x1b[0 q\x1b[0"q\x1b[0m\x1b[?25h'

_RESET = "".join((
    *(_STRINGS, _MARGINS, _KITTY_KEYS, _MAIN_SCREEN, _MARGINS, _KITTY_KEYS),
    *(_SOFT_RESET, _CHARSETS, _MODES, _COLOURS, _TABS, _LOOKS),
)).encode()  # fmt: skip
"""Everything that a guest can have left switched on, off; text on the screen stays."""

_UTF8 = b"\x1b%G"
"""Read UTF-8, for terminals of which ours writes that."""

_ORIGIN_OFF = b"\x1b[?6l\x1b[%d;%dH"
"""Count lines from the top; that moves the cursor, and nothing puts it back but its place as the terminal told it."""

_BOTTOM = (999, 1)
"""The last line, where the place is not known."""

_PLAIN = b"\x1b[0m\x1b[?25h\r\n"
"""Plain colours, a visible cursor, and a line of its own for what follows."""


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


def give_back(descriptor: int, write: Callable[[bytes], None], *, utf8: bool = True) -> None:
    """Reset the modes of a terminal in raw mode, and discard what it still has to say to the guest."""
    write(_RESET + _UTF8 if utf8 else _RESET)
    place = discard_answers(descriptor, write)
    write(_ORIGIN_OFF % (place or _BOTTOM) + _PLAIN)


def reset(write: Callable[[bytes], None], *, utf8: bool = True) -> None:
    """Reset the modes of a terminal from which nothing is read."""
    write((_RESET + _UTF8 if utf8 else _RESET) + _ORIGIN_OFF % _BOTTOM + _PLAIN)


def discard_answers(descriptor: int, write: Callable[[bytes], None]) -> tuple[int, int] | None:
    """Read and forget what the terminal answers to the guest; return line and column of the cursor.

    A terminal answers in turn. The last answer is to a question of ours: for the place of the cursor, while it is at a
    random one that no guest can guess. A guest that has asked about all of them is waited for until there is silence.
    """
    question, answer = _question(descriptor)
    write(question)
    deadline = time.monotonic() + DRAIN_SECONDS
    seconds, heard, place = ANSWER_SECONDS, b"", None
    while time.monotonic() < deadline and (piece := _read(descriptor, seconds)):
        heard = heard[-_LONGEST_ANSWERS:] + piece
        if answer in heard:
            seconds = QUIET_SECONDS
            found = re.search(rb"\x1b\[(\d{1,4});(\d{1,4})R\x1b\[" + answer, heard)
            place = (int(found[1]), int(found[2])) if found else place
    with suppress(termios.error):
        termios.tcflush(descriptor, termios.TCIFLUSH)
    return place


def _question(descriptor: int) -> tuple[bytes, bytes]:
    """Return a question for two places, the cursor's own and a random one, and how the second answer ends."""
    size = _SIZE
    with suppress(OSError):
        known = os.get_terminal_size(descriptor)
        size = known if all(known) else size  # a terminal may not say how large it is
    line, column = (1 + secrets.randbelow(extent) for extent in (size.lines, size.columns))
    return f"\x1b[6n\x1b7\x1b[{line};{column}H\x1b[6n\x1b8".encode(), f"{line};{column}R".encode()


def _read(descriptor: int, seconds: float) -> bytes:
    """Return what is typed within `seconds`, or nothing; a terminal that is gone has nothing to say either."""
    try:
        if select.select([descriptor], [], [], seconds)[0]:
            return os.read(descriptor, _CHUNK)
    except OSError:
        pass
    return b""


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
