"""Carry bytes between a connection and this program's standard streams, both ways at once.

Each direction holds one piece at a time and waits where the other side does not read, so memory stays small.
"""

from __future__ import annotations

import os
import select
import threading
import time
from contextlib import suppress
from enum import Enum

from core.errors import CloudError
from remote.port import PortStream

_CHUNK = 65_536
_LOOK_SECONDS = 1.0
"""Interval at which the time without a byte is compared with its limit."""


class PipeEnd(Enum):
    """The end of a connection."""

    GUEST = "the VM ended it"
    LOST = "the network node was lost"
    USER = "the program that read the output is gone"
    IDLE = "no byte came or went"


class Pipe:
    """A connection and two descriptors, which are joined until one side ends."""

    def __init__(self, stream: PortStream, source: int, target: int, idle_seconds: float) -> None:
        self._stream = stream
        self._source = source
        self._target = target
        self._idle_seconds = idle_seconds
        self._moved = time.monotonic()

    def run(self) -> PipeEnd:
        """Carry bytes until the VM ends its output, or the output's reader is gone. The end of input goes to the VM."""
        threading.Thread(target=self._send_all, daemon=True).start()
        poll = select.poll()
        poll.register(self._stream.fileno(), select.POLLIN)
        poll.register(self._target, 0)  # only its errors: the reader is gone
        while True:
            ready = dict(poll.poll(_LOOK_SECONDS * 1000))
            if self._target in ready:
                return PipeEnd.USER
            if ready and (end := self._receive()):
                return end
            if time.monotonic() - self._moved > self._idle_seconds:
                return PipeEnd.IDLE

    def _receive(self) -> PipeEnd | None:
        try:
            piece = self._stream.recv(_CHUNK)
        except BlockingIOError:  # a message of the program, not of the guest
            return None
        if not piece:
            return PipeEnd.LOST if self._stream.is_lost else PipeEnd.GUEST
        try:
            while piece:
                piece = piece[os.write(self._target, piece) :]
                self._moved = time.monotonic()
        except OSError:
            return PipeEnd.USER
        return None

    def _send_all(self) -> None:
        """Send the input piece by piece, and its end."""
        with suppress(OSError, EOFError, CloudError):  # the connection has ended, which the other direction reports
            while piece := os.read(self._source, _CHUNK):
                while piece:
                    piece = piece[self._stream.send(piece) :]
                    self._moved = time.monotonic()
        self._stream.end_input()
