"""A guest's serial console: one visitor at a time, by a lock on the worker that says who it is and since when.

QEMU serves one client of the console's socket. A second one would wait unseen, and its keys would be run in the shell
of the first one as soon as that one leaves. So a visitor is joined with the socket only under the lock, is told that
they are in only when QEMU has accepted the connection, and everything there ends with the connection of the manager.
"""

from __future__ import annotations

import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from core.errors import CloudError, HostUnreachable, InvalidAnswer, last_line
from shell.scripts import load

JOIN_SECONDS = 20.0
"""Timeout for the worker's answer; taking a console over takes it 6 s where the old visitor does not end."""

SEND_SECONDS = 10.0
"""Timeout for a guest that takes no keys: the network's and the worker's buffers are full then."""

LEAVE_SECONDS = 2.0
"""Timeout for the worker to let the console go, so that the next visitor finds it free."""

LOOK_SECONDS = 5
SILENT_SECONDS = 15
"""The worker looks so often, and ends the visit when nothing came from the manager for so long. Every manager says
something each 3 s (`remote.ssh`)."""

_CHUNK = 16_384
_SMALL = 256
_LONGEST_WORDS = 4096

_JOIN_CONSOLE = load("connection/join-console")


class Answer(Enum):
    """The answer of a worker to a visitor."""

    READY = "ready"
    BUSY = "busy"
    """Another visitor is there."""
    OFF = "off"
    """QEMU does not run."""
    HUNG = "hung"
    """QEMU runs and accepts no connection."""
    FOREIGN = "foreign"
    """A program that holds no lock is connected."""
    STUCK = "stuck"
    """The other visitor's program does not end."""
    UNWRITABLE = "unwritable"
    """The lock cannot be made: the disk is full, or mounted read-only."""


class Ending(Enum):
    """Why a visit ended at the worker."""

    TAKEN = "taken"
    OFF = "off"
    CLOSED = "closed"
    LOST = "lost"
    """The connection of the manager, so nobody could say more."""


@dataclass(frozen=True)
class Holder:
    """The visitor whom a console has; `since` in seconds of the worker's clock, 0 where the lock does not say."""

    user: str
    since: int
    visit: str = ""


class NotJoined(CloudError):
    """The worker let the visitor not in; for the sentence that a user gets see `lifecycle.consoles`."""

    def __init__(self, answer: Answer, holder: Holder | None = None) -> None:
        self.answer = answer
        self.holder = holder
        super().__init__(f"the console is {answer.value}")


class ConsoleSession(Protocol):
    """Bytes both ways, until one side leaves."""

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when there is something to receive."""

    def recv(self, nbytes: int, /) -> bytes:
        """Return what the guest wrote, nothing when the console ended; `BlockingIOError` where there was nothing."""

    def send(self, s: bytes, /) -> int:
        """Type to the guest; return how many bytes were taken."""

    def close(self) -> None:
        """Leave the console; the guest goes on."""


class Explained(ConsoleSession, Protocol):
    """A console that also says why it ended."""

    def why_closed(self) -> str:
        """Return a sentence that says why the console ended by itself, or nothing."""


class Channel(Protocol):
    """Standard streams of a program on a host; paramiko's channel is one."""

    @property
    def eof_received(self) -> int:
        """Return whether the output has ended."""

    @property
    def closed(self) -> bool:
        """Return whether the program has ended, or the connection."""

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when there is something to receive."""

    def settimeout(self, timeout: float | None, /) -> None:
        """Bound every wait below, in seconds."""

    def recv(self, nbytes: int, /) -> bytes:
        """Wait for output; nothing at its end."""

    def recv_ready(self) -> bool:
        """Return whether there is output."""

    def recv_stderr(self, nbytes: int, /) -> bytes:
        """Wait for the other output; nothing at its end."""

    def recv_stderr_ready(self) -> bool:
        """Return whether there is some of the other output."""

    def send(self, s: bytes, /) -> int:
        """Send input; return how many bytes were taken."""

    def shutdown_write(self) -> None:
        """End the input."""

    def close(self) -> None:
        """End the program."""


@dataclass(frozen=True)
class Visit:
    """A wish to use a console: which one, whose it is, and which visit it may end for that, if any."""

    socket: str
    lock: str
    pid_file: str
    mark: str
    user: str
    ends: str = "-"
    name: str = field(default_factory=lambda: secrets.token_hex(12))
    look_seconds: float = LOOK_SECONDS
    silent_seconds: int = SILENT_SECONDS

    @property
    def argv(self) -> tuple[str, ...]:
        """The program on the worker, run as the SSH user; it reads `script` first."""
        files = (self.socket, self.lock, self.pid_file, self.mark)
        seconds = (f"{self.look_seconds:g}", str(self.silent_seconds))
        return ("sh", "-s", "--", *files, self.user, self.name, self.ends, *seconds)

    @property
    def script(self) -> str:
        """Return the input of the program before any key."""
        return f"{_JOIN_CONSOLE.text}\n"


class Console:
    """The visit that a worker has let in."""

    def __init__(self, channel: Channel, visit: Visit, host: str, first: bytes) -> None:
        self._channel = channel
        self._visit = visit
        self._host = host
        self._first = first
        self._words = b""
        channel.settimeout(SEND_SECONDS)

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when there is something to receive."""
        return self._channel.fileno()

    def recv(self, nbytes: int, /) -> bytes:
        """Return what the guest wrote, nothing when the console ended; `BlockingIOError` where there was nothing."""
        if self._first:
            first, self._first = self._first, b""
            return first
        self._hear_words()
        if not self._channel.recv_ready() and not self._channel.eof_received and not self._channel.closed:
            raise BlockingIOError
        return self._channel.recv(nbytes)

    def send(self, s: bytes, /) -> int:
        """Type to the guest; return how many bytes were taken."""
        return self._channel.send(s)

    def close(self) -> None:
        """Leave the console, and wait until the worker has let it go."""
        with suppress(OSError, EOFError):
            self._channel.shutdown_write()
            self._listen(LEAVE_SECONDS)
        self._channel.close()

    def ending(self) -> tuple[Ending, Holder | None]:
        """Return why the worker ended the visit, and the user who took it over."""
        with suppress(OSError, EOFError):
            self._listen(LEAVE_SECONDS)
        self._hear_words()
        found = re.search(rf"{self._visit.name} (taken|off|closed)(?: (\S+) (\d+))? *\n", self._words.decode("latin-1"))
        if not found:
            return Ending.LOST, None
        return Ending(found[1]), _holder(found[2], found[3]) if found[2] else None

    def _listen(self, seconds: float) -> None:
        """Discard what the guest says until the worker ends it."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._channel.settimeout(left)
            if not self._channel.recv(_CHUNK):
                return

    def _hear_words(self) -> None:
        """Take the worker's own words, which no guest can write, from the stream for errors."""
        while self._channel.recv_stderr_ready() and (piece := self._channel.recv_stderr(_SMALL)):
            self._words = (self._words + piece)[-_LONGEST_WORDS:]


def join(channel: Channel, visit: Visit, host: str) -> Console:
    """Return the console once QEMU has accepted the visitor; raise `NotJoined` where it did not."""
    begin = f"\n{visit.name} ".encode()
    heard, deadline = b"\n", time.monotonic() + JOIN_SECONDS
    try:
        while (left := deadline - time.monotonic()) > 0:
            before, found, rest = heard.rpartition(begin)
            if found and b"\n" in rest:
                words, _, first = rest.partition(b"\n")
                return _joined(channel, visit, host, words.decode("latin-1"), first)
            # A login shell may write as well, and a guest in the moment before: only the end is kept.
            heard = (before[-_SMALL:] + found + rest)[-_LONGEST_WORDS:]
            channel.settimeout(left)
            piece = channel.recv(_SMALL)
            if not piece:
                raise InvalidAnswer(host, f"the console could not be opened: {_last_words(channel, heard)}")
            heard += piece
    except (OSError, EOFError) as error:
        channel.close()
        raise HostUnreachable(host, f"it did not open the console within {JOIN_SECONDS:g} s; try again") from error
    except CloudError:
        channel.close()
        raise
    channel.close()
    raise HostUnreachable(host, f"it did not open the console within {JOIN_SECONDS:g} s; try again")


def _joined(channel: Channel, visit: Visit, host: str, words: str, first: bytes) -> Console:
    kind, *rest = words.split(" ")
    try:
        answer = Answer(kind)
        holder = _holder(*rest) if answer is Answer.BUSY else None
    except (ValueError, TypeError) as error:
        raise InvalidAnswer(host, "the console could not be opened: its answer makes no sense") from error
    if answer is not Answer.READY:
        raise NotJoined(answer, holder)
    return Console(channel, visit, host, first)


def _holder(user: str, since: str, visit: str = "") -> Holder:
    """The holder as a worker names them; `ValueError` where that is no user, time or visit of ours."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", user) or not re.fullmatch(r"\d{1,12}", since):
        raise ValueError("no holder")
    if not re.fullmatch(r"[0-9a-f]{24}|-?", visit):
        raise ValueError("no visit")
    return Holder("" if user == "-" else user, int(since), visit.strip("-"))


def _last_words(channel: Channel, heard: bytes) -> str:
    words = b""
    with suppress(OSError, EOFError):
        words = channel.recv_stderr(_LONGEST_WORDS)
    said = last_line(words.decode("utf-8", "replace")) or last_line(heard.decode("utf-8", "replace"))
    return said or "its shell ended with no output"
