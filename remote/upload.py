"""A file of the manager on its way to a host: the program that receives it, and the protocol of both sides.

The program runs as the SSH user. It asks for the file (`send`), which comes on its standard input, followed by a line
with its digest. While others bring a file there it waits (`wait`), and needs nothing if the file is there afterwards.
The file gets its name when it is whole and checked, and replaces no other file.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait

from core.errors import Refused
from remote.plan import Upload, shell
from shell.scripts import functions

IS_THERE = 10
"""The program's exit status when another process has brought the file meanwhile."""

STILL_SECONDS = 30
"""Seconds after which a file that does not grow is no longer waited for."""

_BLOCK = 1 << 20
_SOON_SECONDS = 0.2


def take_in(upload: Upload, size: int, nonce: str) -> str:
    """Return the program that receives a file of `size` bytes, for `sh -s`; `nonce` marks its lines on standard output.

    The program comes on standard input, before the file, because a login shell such as tcsh reads no line break within
    quotes. The shell may read ahead of the command that it runs, so the file follows only when the program asks for it.
    """
    words = (nonce, upload.part, upload.target, str(size), str(STILL_SECONDS), *upload.check)
    return f"{functions('take-in')}take_in {shell(words)}; exit\n"


class Content:
    """The input of the program: a file of `size` bytes, of which `sent` are sent, and its digest.

    The digest is computed while the file is sent.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._digest: Future[str] | None = None
        self.sent = 0
        try:
            self._file = os.open(
                source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
            )  # without O_NONBLOCK a FIFO would block
        except OSError as error:
            raise self._unreadable(error) from error
        found = os.fstat(self._file)
        self.size, self._version = found.st_size, _version(found)
        if not stat.S_ISREG(found.st_mode):
            self.close()
            raise Refused(f"The image {source} is not a file")

    def beginning(self, size: int) -> bytes:
        """Return the first bytes of the file."""
        try:
            return os.pread(self._file, size, 0)
        except OSError as error:
            raise self._unreadable(error) from error

    def feed(self, pipe: int) -> bool:
        """Write as much as fits into a non-blocking pipe; return whether more is to come and the reader is still there.

        Raise `Refused` when the file cannot be read up to its original end.
        """
        try:
            self._digest = self._digest or _digest(self._file)
            if self.sent < self.size:
                self.sent += _moved(self._file, pipe, min(_BLOCK, self.size - self.sent), self.sent)
                return True
            if not wait([self._digest], _SOON_SECONDS).done:
                return True
            if _version(os.fstat(self._file)) != self._version:
                raise self._unreadable(OSError(None, "another process is writing to it"))
            os.write(
                pipe, f"{self._digest.result()}\n".encode()
            )  # atomic, because it is shorter than PIPE_BUF (pipe(7))
        except BlockingIOError:
            return True
        except BrokenPipeError:
            pass
        except OSError as error:
            raise self._unreadable(error) from error
        return False

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _unreadable(self, error: OSError) -> Refused:
        return Refused(f"The image {self._source} cannot be read on this machine: {error.strerror}")


def _digest(file: int) -> Future[str]:
    """Return the file's digest, computed once for all hosts in another thread: hashing releases Python's lock."""
    known = _version(os.fstat(file))
    with _adding:
        digest = _digests.get(known)
        if digest is None or (digest.done() and digest.exception()):  # an unreadable file may have become readable
            _digests[known] = _hashing.submit(_hash, os.dup(file))
        return _digests[known]


def _version(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _moved(file: int, pipe: int, size: int, start: int) -> int:
    """Return the number of bytes that splice(2) moved from the file to the pipe, without a copy in this program."""
    moved = os.splice(file, pipe, size, offset_src=start)
    if not moved:
        raise OSError(errno.EIO, "it has become shorter")
    return moved


def _hash(file: int) -> str:
    digest, start = hashlib.sha256(), 0
    try:
        while block := os.pread(file, _BLOCK, start):
            digest.update(block)
            start += len(block)
    finally:
        os.close(file)
    return digest.hexdigest()


_hashing = ThreadPoolExecutor(1)
_adding = threading.Lock()
_digests: dict[tuple[int, ...], Future[str]] = {}


class UploadOutput:
    """The program's standard output; a login shell may have printed a greeting before."""

    def __init__(self) -> None:
        self.nonce = secrets.token_hex(12)
        self._request = f"{self.nonce} send\n".encode()
        self._end = b""
        self.has_begun = False
        """True once the program has printed anything."""
        self.wants_file = False
        """True once the program asks for the file."""

    def feed(self, piece: bytes) -> None:
        """Add a piece of output; only the end is kept, which may hold the beginning of the request."""
        output = self._end + piece
        self.has_begun = self.has_begun or bool(piece)
        self.wants_file = self.wants_file or self._request in output
        self._end = output[-len(self._request) :]
