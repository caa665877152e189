"""A guest at the far end of a serial console, for the tests of the menu."""

from __future__ import annotations

import socket


class Guest:
    """The far end of a console: says hello, then gives back what it is sent, in capitals; `bye` ends it."""

    def __init__(self) -> None:
        self._socket, self._far = socket.socketpair()
        self._far.sendall(b"login: ")
        self.closed = False

    def fileno(self) -> int:
        return self._socket.fileno()

    def recv(self, size: int, /) -> bytes:
        return self._socket.recv(size)

    def send(self, typed: bytes, /) -> int:
        taken = typed[:7]  # as a channel with little room in its window
        if b"crash" in typed:
            raise OSError("the connection is gone")
        self._far.sendall(taken.upper())
        if b"bye" in taken:
            self._far.close()
        return len(taken)

    def close(self) -> None:
        self.closed = True
        self._socket.close()
