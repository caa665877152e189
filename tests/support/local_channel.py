"""The streams of a program on this machine, in the form of a host's channel."""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import termios
from array import array
from pathlib import Path


class LocalChannel:
    """A program that has read `script`; it leads a group of processes."""

    def __init__(self, argv: tuple[str, ...], script: str, folder: Path, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            argv,
            cwd=folder,
            env={"PATH": os.environ["PATH"], **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stdin
        assert self.process.stdout
        assert self.process.stderr
        self.stdin, self.stdout, self.stderr = self.process.stdin, self.process.stdout, self.process.stderr
        self._seconds: float | None = None
        self.closed = False
        self._either = select.epoll()
        for stream in (self.stdout, self.stderr):
            self._either.register(stream, select.EPOLLIN)
        os.write(self.stdin.fileno(), script.encode())

    def fileno(self) -> int:
        return self._either.fileno()

    def settimeout(self, timeout: float | None, /) -> None:
        self._seconds = timeout

    def recv(self, nbytes: int, /) -> bytes:
        if not select.select([self.stdout], [], [], self._seconds)[0]:
            raise TimeoutError
        return os.read(self.stdout.fileno(), nbytes)

    @property
    def eof_received(self) -> bool:
        return not self.recv_ready() and bool(select.select([self.stdout], [], [], 0)[0])

    def recv_ready(self) -> bool:
        waiting = array("i", [0])
        fcntl.ioctl(self.stdout, termios.FIONREAD, waiting)
        return waiting[0] > 0

    def recv_stderr(self, nbytes: int, /) -> bytes:
        piece = os.read(self.stderr.fileno(), nbytes)
        if not piece:
            self._either.modify(self.stderr, 0)
        return piece

    def recv_stderr_ready(self) -> bool:
        return bool(select.select([self.stderr], [], [], 0)[0])

    def send(self, s: bytes, /) -> int:
        return os.write(self.stdin.fileno(), s)

    def shutdown_write(self) -> None:
        self.stdin.close()

    def close(self) -> None:
        self.closed = True
        self._either.close()
        for stream in (self.stdin, self.stdout, self.stderr):
            stream.close()
