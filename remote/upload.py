"""A file of the manager on its way to a host: the program that takes it in, and what both say to each other.

The program runs as the SSH user. It asks for the file (`send`), which comes on its standard input with a line that has
its digest behind it, or says that others are bringing a file there at the moment (`wait`): it waits for them, and needs
nothing if the file is there afterwards. The file gets its name when it is whole and checked, and never another's.
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
"""The program's exit status when somebody else has brought the file meanwhile."""

STILL_SECONDS = 30
"""A file that does not grow for so long is not waited for."""

_BLOCK = 1 << 20
_SOON_SECONDS = 0.2

# The lock is the folder, and so leaves no file behind. A manager that died may hold it for hours, until its host
# notices: nobody waits for a file that does not grow. A file under way is known by its descriptor, for its name may be
# another's by then (proc(5), /proc/pid/fd), and link(2) never replaces what is there. The digest is of what is there
# then, for a pipe would cost more than reading it again; OpenSSL's takes a quarter of the time of coreutils'. That can
# take a slow disk minutes, and whoever is silent is given up. Blocks are as large as what SSH brings at a time: with
# 256 KiB copies to two hosts took 1.3 times as long. The file is opened for writing once: of one that was truncated, as
# dd(1) does with what it opens itself, ext4 writes everything to the disk when it is closed (auto_da_alloc in ext4(5)),
# and the overlay that is made next waits for that. The price: a worker that loses its power within half a minute may
# have lost the content, too. What is left is an empty file, which is replaced, or one that is not what its seal says.
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
    """Return the program that takes in a file of `size` bytes, for `sh -s`; `nonce` marks its lines on standard output.

    It comes on standard input, before the file: a login shell such as tcsh reads no line's end within quotes. A shell
    that reads it may take in more than it runs at the moment, so nothing else is sent before the program asks.
    """
    words = (nonce, upload.part, upload.target, str(size), str(STILL_SECONDS), *upload.check)
    return f"take_in() {{\n{_TAKE_IN}}}\ntake_in {shell(words)}; exit\n"


class Content:
    """What the program is sent: a file of `size` bytes, `sent` so far, and its digest, which is found out meanwhile."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._digest: Future[str] | None = None
        self.sent = 0
        try:
            self._file = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO would be waited for
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
        """Put as much as fits into a pipe that does not block; whether there is more, and somebody takes it.

        `Refused` when the file cannot be read to what was its end.
        """
        try:
            self._digest = self._digest or _digest(self._file)
            if self.sent < self.size:
                self.sent += _moved(self._file, pipe, min(_BLOCK, self.size - self.sent), self.sent)
                return True
            if not wait([self._digest], _SOON_SECONDS).done:
                return True
            if _version(os.fstat(self._file)) != self._version:
                raise self._unreadable(OSError(None, "somebody writes it at the moment"))
            os.write(pipe, f"{self._digest.result()}\n".encode())  # whole or not at all: less than PIPE_BUF (pipe(7))
        except BlockingIOError:
            return True
        except BrokenPipeError:
            pass
        except OSError as error:
            raise self._unreadable(error) from error
        return False

    def close(self) -> None:
        """Done with it."""
        os.close(self._file)

    def _unreadable(self, error: OSError) -> Refused:
        return Refused(f"The image {self._source} cannot be read on this machine: {error.strerror}")


def _digest(file: int) -> Future[str]:
    """The file's digest, found out once for however many hosts, beside them: hashing leaves Python's lock to others."""
    known = _version(os.fstat(file))
    with _adding:
        digest = _digests.get(known)
        if digest is None or (digest.done() and digest.exception()):  # what could not be read may be readable again
            _digests[known] = _hashing.submit(_hash, os.dup(file))
        return _digests[known]


def _version(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _moved(file: int, pipe: int, size: int, start: int) -> int:
    """How much of the file went into the pipe, past this program."""
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
    """What the program says on standard output; a login shell may have greeted before."""

    def __init__(self) -> None:
        self.nonce = secrets.token_hex(12)
        self._request = f"{self.nonce} send\n".encode()
        self._end = b""
        self.said = False
        """Whether it said anything."""
        self.asks = False
        """Return whether it asks for the file."""

    def hear(self, piece: bytes) -> None:
        """Take in a piece of it; only the end is kept, in which the request may have begun."""
        heard = self._end + piece
        self.said = self.said or bool(piece)
        self.asks = self.asks or self._request in heard
        self._end = heard[-len(self._request) :]
