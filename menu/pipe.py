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
from remote.capture import CaptureStream
from remote.console_log import LogStream
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
    """A connection and two descriptors, which are joined until one side ends. Nothing is read without a `source`."""

    def __init__(
        self, stream: PortStream | LogStream | CaptureStream, source: int | None, target: int, idle_seconds: float
    ) -> None:
        self._stream = stream
        self._source = source
        self._target = target
        self._idle_seconds = idle_seconds
        self._moved = time.monotonic()

    def run(self) -> PipeEnd:
        """Carry bytes until the VM ends its output, or the output's reader is gone. The end of input goes to the VM."""
        if isinstance(self._stream, PortStream) and self._source is not None:
            threading.Thread(target=self._send_all, args=(self._stream, self._source), daemon=True).start()
        poll = select.poll()
        poll.register(self._stream.fileno(), select.POLLIN)
        poll.register(self._target, 0)  # only its errors: the reader is gone
        while True:
            waiting = self._stream.has_output  # the first bytes came before this wait
            ready = dict(poll.poll(0 if waiting else _LOOK_SECONDS * 1000))
            if self._target in ready:
                return PipeEnd.USER
            if (waiting or ready) and (end := self._receive()):
                return end
            if time.monotonic() - self._moved > self._idle_seconds:
                return PipeEnd.IDLE

    def _receive(self) -> PipeEnd | None:
        try:
            piece = self._stream.recv(_CHUNK)
        except BlockingIOError:  # a message of the program, not of the guest
            return None
        except (OSError, EOFError, CloudError):
            return PipeEnd.LOST
        if not piece:
            return PipeEnd.LOST if self._stream.is_lost else PipeEnd.GUEST
        try:
            while piece:
                piece = piece[os.write(self._target, piece) :]
                self._moved = time.monotonic()
        except OSError:
            return PipeEnd.USER
        return None

    def _send_all(self, stream: PortStream, source: int) -> None:
        """Send the input piece by piece, and its end."""
        with suppress(OSError, EOFError, CloudError):  # the connection has ended, which the other direction reports
            while piece := os.read(source, _CHUNK):
                while piece:
                    piece = piece[stream.send(piece) :]
                    self._moved = time.monotonic()
        stream.end_input()
