"""Join a user with a program on a host: wait for its answer, then carry bytes both ways.

The program writes its answer on a line of its own, behind a name that only this call knows. All bytes after that line
are the stream. Its error output is for messages, and no guest can write there.
"""

from __future__ import annotations

import time
from contextlib import suppress

from core.errors import CloudError, HostUnreachable, InvalidAnswer, last_line
from remote.host import TerminalChannel
from remote.plan import shell
from shell.scripts import Script

ROOTS_SHELL = ("sudo", "-n", "sh", "-s")
"""The program on a host that sudo allows without further words; it reads a script first."""

JOIN_SECONDS = 20.0
"""Timeout for the answer; the takeover of a console needs 6 s where the earlier visitor does not end."""

_SMALL = 256
_LONGEST_WORDS = 4096


def input_of(script: Script, *words: str) -> str:
    """Return the input of a shell that runs a script with these words."""
    return f"set -- {shell(words)}\n{script.text}\n"


def answer_of(channel: TerminalChannel, name: str, host: str, what: str) -> tuple[str, bytes]:
    """Return the program's answer, which follows `name`, and the first bytes of the stream.

    Raise `HostUnreachable` where no answer comes in time, and close the channel. `what` is opened by the program.
    """
    try:
        return _answer(channel, f"\n{name} ".encode(), host, what)
    except (OSError, EOFError) as error:
        channel.close()
        raise _late(host, what) from error
    except CloudError:
        channel.close()
        raise


def _answer(channel: TerminalChannel, begin: bytes, host: str, what: str) -> tuple[str, bytes]:
    output, deadline = b"\n", time.monotonic() + JOIN_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        before, found, rest = output.rpartition(begin)
        if found and b"\n" in rest:
            words, _, first = rest.partition(b"\n")
            return words.decode("latin-1"), first
        # A login shell, and a guest just before, may have written as well: only the end is kept.
        output = (before[-_SMALL:] + found + rest)[-_LONGEST_WORDS:]
        channel.settimeout(left)
        piece = channel.recv(_SMALL)
        if not piece:
            raise InvalidAnswer(host, f"{what} could not be opened: {_last_words(channel, output)}")
        output += piece
    raise _late(host, what)


def _late(host: str, what: str) -> HostUnreachable:
    return HostUnreachable(host, f"it did not open {what} within {JOIN_SECONDS:g} s; try again")


def _last_words(channel: TerminalChannel, output: bytes) -> str:
    words = b""
    with suppress(OSError, EOFError):
        words = channel.recv_stderr(_LONGEST_WORDS)
    said = last_line(words.decode("utf-8", "replace")) or last_line(output.decode("utf-8", "replace"))
    return said or "its shell ended with no output"


class Stream:
    """The bytes of a joined program, both ways; `first` came together with its answer."""

    def __init__(self, channel: TerminalChannel, first: bytes) -> None:
        self._channel = channel
        self._first = first
        self._words = b""

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when there is something to receive."""
        return self._channel.fileno()

    @property
    def is_over(self) -> bool:
        """Return whether the output has ended, or the connection."""
        return bool(self._channel.eof_received or self._channel.closed)

    @property
    def has_output(self) -> bool:
        """Return whether there is output."""
        return bool(self._first) or self._channel.recv_ready()

    def recv(self, nbytes: int, /) -> bytes:
        """Return output, b"" at its end; raise `BlockingIOError` where there is none."""
        if self._first:
            first, self._first = self._first, b""
            return first
        self.messages()
        if not self._channel.recv_ready() and not self.is_over:
            raise BlockingIOError
        return self._channel.recv(nbytes)

    def send(self, s: bytes, /) -> int:
        """Send input; return the number of bytes taken."""
        return self._channel.send(s)

    def close(self) -> None:
        """End the program."""
        with suppress(OSError, EOFError):
            self._channel.close()

    def messages(self) -> bytes:
        """Return the end of the program's messages so far."""
        while self._channel.recv_stderr_ready() and (piece := self._channel.recv_stderr(_SMALL)):
            self._words = (self._words + piece)[-_LONGEST_WORDS:]
        return self._words
