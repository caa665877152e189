"""Read answers from a terminal with line editing, or from a pipe.

Python's reader would buffer bytes of a pipe that belong to a guest's console. So this module reads the pipe itself.
"""

from __future__ import annotations

import getpass
import os
import select
from collections.abc import Callable

from menu.idle import Expired, Idle
from menu.interrupts import interruptible
from menu.screen import Screen

LONGEST_LINE = 4096
"""Bytes of a line that are kept, as many as on a terminal. Every prompt refuses such a long answer."""

_CHUNK = 65_536


class Lines:
    """The lines of a file descriptor. `take` returns bytes that were read beyond a line."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._pending = b""

    def line(self) -> str:
        """Return the next line without its end, or raise `EOFError`. Bytes that are not UTF-8 become U+FFFD."""
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
        """Return whether there are bytes that were read and not used."""
        return bool(self._pending)

    def take(self) -> bytes:
        """Wait for the first byte and return all bytes that are there, or b"" at the end of input."""
        taken, self._pending = self._pending, b""
        return taken or self._read()

    def give_back(self, unused: bytes) -> None:
        """Put bytes back before the next ones."""
        self._pending = unused + self._pending

    def _read(self) -> bytes:
        try:
            # Another program may have left the descriptor non-blocking: then read() alone would not wait.
            select.select([self.descriptor], [], [])
            return os.read(self.descriptor, _CHUNK)
        except OSError:  # the terminal is gone, or the descriptor was closed
            return b""


class Keyboard:
    """A reader of lines and passwords.

    `typed` reads a line from a terminal with editing; None: input is piped. `forget` clears the history of the editing,
    so that the next user cannot see it. `idle` ends a question without answer by `EOFError`, like the end of input.
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
        """Return the answer to `prompt` without the end of the line, or raise `EOFError` at the end of input."""
        with self.idle.watched():
            return self._on_terminal(self._typed, prompt) if self._typed else self._piped(prompt)

    def secret(self, prompt: str) -> str:
        """Return the answer to `prompt`, without echo on a terminal. An answer that is not UTF-8 counts as empty."""
        with self.idle.watched():
            if not os.isatty(self.lines.descriptor):
                return self._piped(prompt)
            try:
                return self._on_terminal(getpass.getpass, prompt)
            except UnicodeDecodeError:
                return ""

    def _on_terminal(self, read: Callable[[str], str], prompt: str) -> str:
        try:
            with interruptible():
                return read(prompt)
        except OSError as error:  # the terminal is gone
            raise EOFError from error
        except (EOFError, KeyboardInterrupt, Expired):
            self._screen.line()  # the cursor is still behind the prompt
            raise

    def _piped(self, prompt: str) -> str:
        self._screen.prompt(prompt)
        try:
            return self.lines.line()
        finally:
            # A pipe echoes no Enter, so the next output would begin behind the prompt.
            self._screen.line()
