"""The serial console of a guest: one visitor at a time, by a lock on the worker with the visitor's name and time.

QEMU serves one client of the console's socket. A second client would wait unseen, and its keys would run in the first
one's shell as soon as the first one leaves. Therefore a visitor connects to the socket only under the lock. The visitor
is reported as ready only when QEMU has accepted the connection. All of it ends with the connection of the manager.
"""

from __future__ import annotations

import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from core.errors import CloudError, InvalidAnswer
from remote.host import TerminalChannel
from remote.joined import Stream, answer_of
from shell.scripts import load

SEND_SECONDS = 10.0
"""Timeout for a guest that reads no keys: then the buffers of the network and the worker are full."""

LEAVE_SECONDS = 2.0
"""Timeout for the worker to free the console, so that the next visitor finds it free."""

CHECK_SECONDS = 5
SILENT_SECONDS = 15
"""The worker checks each `CHECK_SECONDS`, and ends a visit whose manager was silent for `SILENT_SECONDS`.

Every manager sends a packet each 3 s (`remote.ssh`).
"""

_CHUNK = 16_384

_JOIN_CONSOLE = load("connection/join-console")


class Answer(Enum):
    """The answer of a worker to a visitor."""

    READY = "ready"
    BUSY = "busy"
    """Another visitor uses the console."""
    OFF = "off"
    """QEMU does not run."""
    HUNG = "hung"
    """QEMU runs and accepts no connection."""
    FOREIGN = "foreign"
    """A program without the lock is connected."""
    STUCK = "stuck"
    """The other visitor's program does not end."""
    UNWRITABLE = "unwritable"
    """The lock cannot be created: the disk is full, or mounted read-only."""


class EndReason(Enum):
    """The reason why a visit ended at the worker."""

    TAKEN = "taken"
    OFF = "off"
    CLOSED = "closed"
    LOST = "lost"
    """The connection of the manager is lost, so there is no message."""


@dataclass(frozen=True)
class Holder:
    """The visitor who has a console; `since` is in seconds of the worker's clock, 0 where the lock does not say."""

    user: str
    since: int
    visit: str = ""


class NotJoined(CloudError):
    """A visitor was not let in by the worker; the sentence for users is in `lifecycle.consoles`."""

    def __init__(self, answer: Answer, holder: Holder | None = None) -> None:
        self.answer = answer
        self.holder = holder
        super().__init__(f"the console is {answer.value}")


class ConsoleSession(Protocol):
    """A stream of bytes both ways, until one side leaves."""

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when there is something to receive."""

    def recv(self, nbytes: int, /) -> bytes:
        """Return the guest's output, b"" at the end of the console; raise `BlockingIOError` where there is none."""

    def send(self, s: bytes, /) -> int:
        """Type to the guest; return the number of bytes taken."""

    def close(self) -> None:
        """Leave the console; the guest keeps running."""


class Explained(ConsoleSession, Protocol):
    """A console that also reports why it ended."""

    def why_closed(self) -> str:
        """Return a sentence that says why the console ended by itself, or an empty string."""


@dataclass(frozen=True)
class Visit:
    """A request to use a console: its files, its user, and the visit that it may end, if any."""

    socket: str
    lock: str
    pid_file: str
    mark: str
    user: str
    ends: str = "-"
    name: str = field(default_factory=lambda: secrets.token_hex(12))
    check_seconds: float = CHECK_SECONDS
    silent_seconds: int = SILENT_SECONDS

    @property
    def argv(self) -> tuple[str, ...]:
        """Return the program on the worker, run as the SSH user; it reads `script` first."""
        files = (self.socket, self.lock, self.pid_file, self.mark)
        seconds = (f"{self.check_seconds:g}", str(self.silent_seconds))
        return ("sh", "-s", "--", *files, self.user, self.name, self.ends, *seconds)

    @property
    def script(self) -> str:
        """Return the input of the program before the first key."""
        return f"{_JOIN_CONSOLE.text}\n"


class Console(Stream):
    """A console whose visitor was let in by the worker."""

    def __init__(self, channel: TerminalChannel, visit: Visit, host: str, first: bytes) -> None:
        super().__init__(channel, first)
        self._visit = visit
        self._host = host
        channel.settimeout(SEND_SECONDS)

    def close(self) -> None:
        """Leave the console, and wait until the worker has freed it."""
        with suppress(OSError, EOFError):
            self._channel.shutdown_write()
            self._listen(LEAVE_SECONDS)
        self._channel.close()

    def end_reason(self) -> tuple[EndReason, Holder | None]:
        """Return the reason why the worker ended the visit, and the user who took it over."""
        with suppress(OSError, EOFError):
            self._listen(LEAVE_SECONDS)
        words = self.messages().decode("latin-1")
        found = re.search(rf"{self._visit.name} (taken|off|closed)(?: (\S+) (\d+))? *\n", words)
        if not found:
            return EndReason.LOST, None
        return EndReason(found[1]), _holder(found[2], found[3]) if found[2] else None

    def _listen(self, seconds: float) -> None:
        """Discard the guest's output until the worker ends it."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._channel.settimeout(left)
            if not self._channel.recv(_CHUNK):
                return


def join(channel: TerminalChannel, visit: Visit, host: str) -> Console:
    """Return the console once QEMU has accepted the visitor; raise `NotJoined` if it did not."""
    words, first = answer_of(channel, visit.name, host, "the console")
    try:
        return _joined(channel, visit, host, words, first)
    except CloudError:
        channel.close()
        raise


def _joined(channel: TerminalChannel, visit: Visit, host: str, words: str, first: bytes) -> Console:
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
    """Return the holder as a worker reports it; raise `ValueError` for an impossible user, time or visit."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", user) or not re.fullmatch(r"\d{1,12}", since):
        raise ValueError("no holder")
    if not re.fullmatch(r"[0-9a-f]{24}|-?", visit):
        raise ValueError("no visit")
    return Holder("" if user == "-" else user, int(since), visit.strip("-"))
