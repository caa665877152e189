"""The parser of a batch's two output streams, and the results that it finds in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from core.errors import BadAnswer
from remote.batch import BUSY, OLD, SKIPPED, STOPPED, WANTED, Batch

ANSWER_BYTES = 16 << 20
"""Maximum output of a host for one batch. The facts of a worker with 2,000 TAPs are some 9 MB."""

_MARK_BYTES = 32
"""Maximum length of a mark after its nonce."""

_MARK = re.compile(rb"(\d{1,7}) (\w{1,10})\n")
"""The content of a mark after its nonce.

The nonce differs for each batch, and compiling a pattern with it would take longer than finding it.
"""


@dataclass(frozen=True)
class Outcome:
    """The result of the action at position (`step`, `action`); `status` is None where its guard skipped it."""

    step: int
    action: int
    status: int | None
    stdout: str = ""
    stderr: str = ""


@dataclass(frozen=True)
class UploadProgress:
    """The progress of an upload, in bytes."""

    step: int
    action: int
    done: int
    total: int


@dataclass(frozen=True)
class UploadWanted:
    """A batch that stopped before an upload whose guard failed; the rest of it follows after the upload."""

    step: int
    action: int


class Transcript:
    """The output of a batch, fed in pieces as it arrives.

    Raises `BadAnswer` for output that no shell with this batch writes: a host may send anything.
    """

    def __init__(self, batch: Batch, nonce: str) -> None:
        self.nonce = nonce
        self._batch = batch
        self._stdout = _Stream(batch, nonce)
        self._stderr = _Stream(batch, nonce)
        self._bytes = 0
        self._finished_count = 0
        self._has_stopped = False
        self._marks: dict[int, tuple[str, str]] = {}
        self._status: int | None = None
        self.begun = False
        self.is_late = False
        """The host refused the batch, because it has seen a later claim."""
        self._busy = False

    def stdout(self, data: bytes) -> None:
        """Parse a piece of standard output."""
        self._count(data)
        for number, status, text in self._stdout.feed(data):
            if number == 0:
                self.is_late, self._busy = status == OLD, status in {BUSY, OLD}
                self.begun = not self._busy
            elif number == self._batch.end:
                self._status = int(status)
            else:
                self._marks[number] = (status, text)

    def stderr(self, data: bytes) -> None:
        """Parse a piece of standard error."""
        self._count(data)
        self._stderr.texts.update({number: text for number, _, text in self._stderr.feed(data)})

    def _count(self, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes > ANSWER_BYTES:
            raise BadAnswer(f"it sends more than {ANSWER_BYTES >> 20} MiB for one batch")

    def has_ended(self) -> bool:
        """Return whether all output of the batch has arrived; its shell waits for another batch."""
        return self._status is not None and self._batch.end in self._stderr.texts

    @property
    def status(self) -> int | None:
        """Return the status of the whole batch, apart from its commands: 0 in good order, None while it runs."""
        return 0 if self._status == STOPPED else self._status

    @property
    def is_whole(self) -> bool:
        """Return whether each command has answered, up to the one at which the batch stops."""
        return self._has_stopped or self._finished_count == self._batch.end - 1

    @property
    def busy(self) -> str:
        """Return the reason why the batch did not get its lock, or an empty string."""
        return self._stderr.texts.get(0, "it is busy") if self._busy else ""

    @property
    def rest(self) -> str:
        """Return the standard error after the last command: the message of `sudo`, when it refuses."""
        return self._stderr.texts.get(self._batch.end, self._stderr.rest)

    def finished(self) -> Iterator[Outcome | UploadWanted]:
        """Yield the commands that ended since the last call; both streams have passed their marker."""
        for number in sorted(self._marks.keys() & self._stderr.texts.keys()):
            if self._has_stopped:
                raise BadAnswer("it continues after a command that failed")
            status, stdout = self._marks.pop(number)
            step, action = self._batch.place(number)
            self._finished_count, self._has_stopped = self._finished_count + 1, self._batch.stops_at(number, status)
            if status == WANTED:
                yield UploadWanted(step, action)
            else:
                code = None if status == SKIPPED else int(status)
                yield Outcome(step, action, code, stdout, self._stderr.texts.pop(number))


class _Stream:
    """One output stream, cut at the markers, which come in their order.

    No byte is searched more than twice.
    """

    def __init__(self, batch: Batch, nonce: str) -> None:
        self._batch = batch
        self._nonce = f"\n{nonce} ".encode()
        self._buffer = bytearray()
        self._searched = 0
        self._next = 0
        self.texts: dict[int, str] = {}

    def feed(self, data: bytes) -> Iterator[tuple[int, str, str]]:
        """Yield the markers that are complete now: number, status, and the text before them."""
        self._buffer += data
        while (start := self._buffer.find(self._nonce, self._searched)) >= 0:
            self._searched, end = start, start + len(self._nonce)
            mark = bytes(self._buffer[end : end + _MARK_BYTES])
            found = _MARK.match(mark)
            if not found:
                if len(mark) == _MARK_BYTES or b"\n" in mark:
                    raise BadAnswer("a mark in it makes no sense")
                return  # its end is still to come
            number, status = int(found[1]), found[2].decode()
            is_next = number == self._next or self._next < number == self._batch.end
            if not is_next or not self._batch.accepts(number, status):
                raise BadAnswer(f"it marks command {number} with {status}")
            text = self._buffer[:start].decode(errors="replace")
            del self._buffer[: end + found.end()]
            self._searched, self._next = 0, number + 1
            yield number, status, text
        self._searched = max(len(self._buffer) - len(self._nonce), 0)

    @property
    def rest(self) -> str:
        return self._buffer.decode(errors="replace")
