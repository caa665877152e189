"""Packets of one interface of a guest, captured by tcpdump on its worker.

It ends with the connection of the manager, and by itself after its packets or its time.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from enum import Enum

from core.captures import KEPT_BYTES, MOST_BYTES, CaptureRequest
from core.errors import CloudError, InvalidAnswer, last_line
from remote.host import TerminalChannel
from remote.joined import ROOTS_SHELL, Stream, answer_of, input_of
from shell.scripts import load

FILTER_SECONDS = 5
"""Timeout for tcpdump to compile a filter."""

_CAPTURE_PACKETS = load("connection/capture-packets")


class CaptureAnswer(Enum):
    """The answer of a worker to a request for packets."""

    READY = "ready"
    NO_TCPDUMP = "tcpdump"
    """tcpdump is not installed."""
    WRONG_FILTER = "filter"
    SLOW_FILTER = "slow"
    """The filter was not compiled in time."""
    FAILED = "failed"
    """Another program failed before tcpdump began."""
    NO_TAP = "tap"
    """The TAP is gone, or is not ours."""
    DOWN = "down"
    """The TAP is down."""
    OFF = "off"
    """No QEMU has the TAP open."""
    BUSY = "busy"
    """Another capture has the interface."""


class CaptureEnd(Enum):
    """The end of a capture."""

    COUNT = "count"
    """All packets came."""
    TIME = "time"
    FULL = "full"
    """As many bytes came as a capture may have."""
    FAILED = "failed"
    """tcpdump failed: the interface may have been removed."""
    LOST = "lost"
    """The connection to the worker was lost."""


class NotCaptured(CloudError):
    """A capture that did not begin; the sentence for users is in `lifecycle.captures`."""

    begun = False

    def __init__(self, answer: CaptureAnswer, words: str = "") -> None:
        self.answer = answer
        self.words = words
        super().__init__(f"not captured: {answer.value}")


@dataclass(frozen=True)
class CaptureVisit:
    """A request for packets of a TAP, which belongs to `owner`."""

    owner: str
    tap: str
    request: CaptureRequest
    name: str = field(default_factory=lambda: secrets.token_hex(12))

    argv = ROOTS_SHELL
    """The program on the worker; it reads `script` first."""

    @property
    def script(self) -> str:
        """Return the input of the program; the end of the input ends the capture."""
        form = "text" if self.request.as_text else "pcap"
        bounds = (str(self.request.count), str(self.request.seconds), str(KEPT_BYTES), str(FILTER_SECONDS))
        return input_of(_CAPTURE_PACKETS, self.name, self.owner, self.tap, form, *bounds, self.request.filter)


class CaptureStream(Stream):
    """The packets, as a file of pcap or as lines of text."""

    def __init__(self, channel: TerminalChannel, visit: CaptureVisit, first: bytes) -> None:
        super().__init__(channel, first)
        self._visit = visit
        self._left = MOST_BYTES

    @property
    def note(self) -> str:
        """Return the result for the audit log."""
        request = self._visit.request
        return f"ok: {request.nic}" + (f", {request.filter}" if request.filter else "")

    @property
    def is_lost(self) -> bool:
        """Return whether the output ended because the worker was lost."""
        return self.end()[0] is CaptureEnd.LOST

    def recv(self, nbytes: int, /) -> bytes:
        """Return packets, b"" at their end or after `MOST_BYTES`; raise `BlockingIOError` where there are none."""
        if not self._left:
            return b""
        piece = super().recv(nbytes)[: self._left]
        self._left -= len(piece)
        return piece

    def end(self) -> tuple[CaptureEnd, str]:
        """Return how the capture has ended, and the last words of a tcpdump that failed."""
        if not self._left:
            return CaptureEnd.FULL, ""
        said = self.messages().decode("utf-8", "replace")
        found = re.search(rf"^{self._visit.name} (\d+)$", said, re.MULTILINE)
        match found and found[1]:
            case None:
                return CaptureEnd.LOST, ""
            case "0":
                return CaptureEnd.COUNT, ""
            case "124" | "137":
                return CaptureEnd.TIME, ""
        return CaptureEnd.FAILED, _complaint(said)

    @property
    def dropped(self) -> int:
        """Return the number of packets that the worker had no room for."""
        found = re.search(rb"^(\d{1,9}) packets? dropped by kernel", self.messages(), re.MULTILINE)
        return int(found[1]) if found else 0


def capture(channel: TerminalChannel, visit: CaptureVisit, host: str) -> CaptureStream:
    """Return the packets from now on; raise `NotCaptured` where there can be none."""
    words, first = answer_of(channel, visit.name, host, "the capture")
    kind, _, said = words.partition(" ")
    if kind == CaptureAnswer.READY.value:
        channel.settimeout(None)
        return CaptureStream(channel, visit, first)
    channel.close()
    try:
        answer = CaptureAnswer(kind)
    except ValueError as error:
        raise InvalidAnswer(host, "the capture could not be opened: its answer makes no sense") from error
    raise NotCaptured(answer, last_line(said).removeprefix("tcpdump: "))


def _complaint(said: str) -> str:
    words = re.findall(r"^tcpdump: (?!listening on)(.*)$", said, re.MULTILINE)
    return last_line(words[-1]) if words else "tcpdump ended"
