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

IS_THERE = 10
"""The program's exit status when another process has brought the file meanwhile."""

STILL_SECONDS = 30
"""Seconds after which a file that does not grow is no longer waited for."""

_BLOCK = 1 << 20
_SOON_SECONDS = 0.2

# - The lock is on the folder, so it leaves no file behind. A manager that died may hold it for hours, until its host
#   notices; therefore a file that does not grow is not waited for.
# - The program knows its file by the descriptor (proc(5), /proc/pid/fd), because another process may have taken the
#   name. link(2) never replaces an existing file.
# - The digest is read from the written file: a pipe would cost more. OpenSSL's takes a quarter of the time of
#   coreutils'. On a slow disk it takes minutes, so the program prints a line each second and is not given up.
# - Blocks are as large as the packets of SSH: with 256 KiB, copies to two hosts took 1.3 times as long.
# - The file is opened for writing once. dd(1) truncates a file that it opens itself, and ext4 then writes all of it to
#   the disk at close (auto_da_alloc in ext4(5)); the next overlay would wait for that. The price: a worker that loses
#   power within half a minute may lose the content. It keeps an empty file, which is replaced, or a file that differs
#   from its fingerprint.
_TAKE_IN = f"""nonce=$1 part=$2 target=$3 size=$4 patience=$5; shift 5
fail() {{ printf '%s\n' "$*" >&2; exit 1; }}
exec 9<"${{target%/*}}"
before='' still=0
until flock -w 1 9; do
  echo "$nonce wait"
  now=$(stat -c '%n %s' "${{target%/*}}"/.*.part 2>/dev/null)
  [ "$now" = "$before" ] || still=0 before=$now
  still=$((still + 1))
  [ $still -le "$patience" ] || break
done
[ ! -s "$target" ] || exit {IS_THERE}
rm -f "$part" && exec 8>"$part" || exit
saying=
trap '[ ! "$part" -ef /proc/self/fd/8 ] || rm -f "$part"; [ -z "$saying" ] || kill "$saying"' EXIT
trap 'exit 1' HUP INT PIPE TERM
file=/proc/$$/fd/8
echo "$nonce send"
dd bs=32k count="$size" iflag=count_bytes,fullblock status=none >&8 || fail "is the disk full?"
[ "$(stat -L -c %s "$file")" = "$size" ] || fail "it did not arrive whole"
while sleep 1 >/dev/null 2>&1 8>&- 9<&-; do echo "$nonce wait"; done &
saying=$!
read -r digest
found=$(openssl dgst -sha256 -r "$file" 2>/dev/null || sha256sum "$file")
[ "${{found%% *}}" = "$digest" ] || fail "it arrived damaged; try again"
[ $# -eq 0 ] || "$@" || exit
[ -s "$target" ] || rm -f "$target"
said=$(ln -L "$file" "$target" 2>&1) || {{
  [ -e "$target" ] || fail "it cannot be given its name: ${{said##*: }}"
  [ "$(stat -c %s "$target")" = "$size" ] || fail "a file of that name and another size is there, remove it"
}}
"""


def take_in(upload: Upload, size: int, nonce: str) -> str:
    """Return the program that receives a file of `size` bytes, for `sh -s`; `nonce` marks its lines on standard output.

    The program comes on standard input, before the file, because a login shell such as tcsh reads no line break within
    quotes. The shell may read ahead of the command that it runs, so the file follows only when the program asks for it.
    """
    words = (nonce, upload.part, upload.target, str(size), str(STILL_SECONDS), *upload.check)
    return f"take_in() {{\n{_TAKE_IN}}}\ntake_in {shell(words)}; exit\n"


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


class Words:
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
