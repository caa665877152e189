"""A guest at the end of a serial console, for the tests of the menu."""

from __future__ import annotations

import socket
from contextlib import suppress


class FakeGuest:
    """A guest that greets, then returns its input in capitals; `bye` ends it."""

    def __init__(self) -> None:
        self._socket, self._far = socket.socketpair()
        self._far.setblocking(False)
        self._said = bytearray(b"login: ")
        self._flush()
        self.closed = False
        self.typed = b""

    def fileno(self) -> int:
        return self._socket.fileno()

    def recv(self, size: int, /) -> bytes:
        received = self._socket.recv(size)
        self._flush()
        return received

    def send(self, typed: bytes, /) -> int:
        taken = typed[:7]  # like a channel with a small window
        if b"crash" in typed:
            raise OSError("the connection is gone")
        self.typed += taken
        self._said += taken.upper()
        self._flush()
        if b"bye" in taken:
            self._far.close()
        return len(taken)

    def _flush(self) -> None:
        """Send waiting output: a channel holds megabytes, a socket some hundred small messages."""
        with suppress(BlockingIOError, OSError):
            while self._said:
                del self._said[: self._far.send(self._said[:4096])]

    def why_closed(self) -> str:
        return ""

    def close(self) -> None:
        self.closed = True
        self._socket.close()
