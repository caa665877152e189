"""Where answers come from: a terminal with line editing, or bytes from a pipe.

A pipe is read by our own reader, because Python's would buffer bytes away that belong to a guest's console.
"""

from __future__ import annotations

import getpass
import os
import select
from collections.abc import Callable

from menu.idle import Expired, Idle
from menu.interrupts import heeded
from menu.screen import Screen

LONGEST_LINE = 4096
"""Bytes of a line that are kept, as many as a terminal allows; every prompt refuses lines that long."""

_CHUNK = 65_536


class Lines:
    """The lines of a file descriptor; what was read beyond a line can be taken over by `take`."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._pending = b""

    def line(self) -> str:
        """The next line without its end; `EOFError` when there is none. What is not UTF-8 becomes U+FFFD."""
        kept = bytearray()
        ended = b""
        while not ended and (chunk := self.take()):
            piece, ended, self._pending = chunk.partition(b"\n")
            kept += piece[: LONGEST_LINE - len(kept)]
        if not kept and not ended:
            raise EOFError
        return kept.removesuffix(b"\r").decode("utf-8", "replace")

    @property
    def pending(self) -> bool:
        """Whether something was read already that no line has used."""
        return bool(self._pending)

    def take(self) -> bytes:
        """Everything that is there, waiting for the first byte; b"" at the end of input."""
        taken, self._pending = self._pending, b""
        return taken or self._read()

    def give_back(self, unused: bytes) -> None:
        """Put bytes back in front of what comes next."""
        self._pending = unused + self._pending

    def _read(self) -> bytes:
        try:
            # Another program may have left the descriptor non-blocking: then read() alone would not wait.
            select.select([self.descriptor], [], [])
            return os.read(self.descriptor, _CHUNK)
        except OSError:  # the terminal is gone, or the descriptor was closed
            return b""


class Keyboard:
    """Asks for a line or a password. `typed` reads a line from a terminal, with editing; without it lines are piped.

    `forget` throws away what the line editing remembers: the next user is not to see the last one's lines. `idle` ends
    a question that is not answered: by `EOFError`, as the end of input does.
    """

    def __init__(
        self,
        lines: Lines,
        screen: Screen,
        typed: Callable[[str], str] | None = None,
        forget: Callable[[], None] = lambda: None,
        idle: Idle | None = None,
    ) -> None:
        self.lines = lines
        self.idle = idle or Idle(None, screen.line)
        self.forget = forget
        self._screen = screen
        self._typed = typed

    def line(self, prompt: str) -> str:
        """The answer to `prompt`, without the end of the line; `EOFError` at the end of input."""
        with self.idle.watched():
            return self._on_terminal(self._typed, prompt) if self._typed else self._piped(prompt)

    def secret(self, prompt: str) -> str:
        """The answer to `prompt`, not echoed on a terminal; an answer that is not UTF-8 counts as empty."""
        with self.idle.watched():
            if not os.isatty(self.lines.descriptor):
                return self._piped(prompt)
            try:
                return self._on_terminal(getpass.getpass, prompt)
            except UnicodeDecodeError:
                return ""

    def _on_terminal(self, read: Callable[[str], str], prompt: str) -> str:
        try:
            with heeded():
                return read(prompt)
        except OSError as error:  # the terminal is gone
            raise EOFError from error
        except (EOFError, KeyboardInterrupt, Expired):
            self._screen.line()  # the cursor still stands behind the prompt
            raise

    def _piped(self, prompt: str) -> str:
        self._screen.prompt(prompt)
        try:
            return self.lines.line()
        finally:
            # Nobody pressed Enter on this side, and what comes next wants a line of its own.
            self._screen.line()
