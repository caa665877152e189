"""The audit log in files: lines of JSON in `<database>.audit/`, for the operator.

Each actor has a file for acts and one for refusals. `.acts.log` becomes `.1` when it is full, and so on.
"""

from __future__ import annotations

import heapq
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from core.errors import Refused
from storage.acts import ActLine, Entry, KeptAct, entry_of, uncounted
from storage.files import locked, share

LARGEST_FILE = 1 << 20
OLD_FILES = 5

_LOCK_WAIT_S = 2.0
_TAIL = 131_072
"""Number of bytes at the end of a file that are searched for lines of the present hour."""

_FILE = re.compile(r"(.*\.(acts|refused)\.log)(\.\d+)?")
_END = re.compile(rb', "count": +(\d{1,9}), "last": "[^"]{20}"\}\n')
_MOST = 999_999_999
_LENGTH_OF_END = len(b', "count": 123456789, "last": "2026-01-01T00:00:00Z"}\n')
_LENGTH_OF_TIME = len(b'{"time": "2026-01-01T00:00:00Z", ')


@dataclass(frozen=True)
class _Ring:
    """The files of one actor and kind, with their bounds."""

    path: Path
    refusals: bool

    @property
    def largest(self) -> int:
        return LARGEST_FILE // 4 if self.refusals else LARGEST_FILE

    @property
    def old_files(self) -> int:
        return 1 if self.refusals else OLD_FILES

    @property
    def paths(self) -> list[Path]:
        """Return the files, the newest first."""
        return [self.path, *(_old(self.path, number) for number in range(1, self.old_files + 1))]

    def rotate(self) -> None:
        for number in range(self.old_files - 1, 0, -1):
            with suppress(FileNotFoundError):
                _old(self.path, number).replace(_old(self.path, number + 1))
        self.path.replace(_old(self.path, 1))


def write(database: Path, act: ActLine) -> None:
    """Write one line, or count it in an earlier one; raise `OSError` or `CloudError` where that is not possible."""
    database = Path(os.path.realpath(database))
    ring = ring_of(database, act)
    _make_folder(ring.path.parent, database)
    try:
        while not _written(database, ring, act):
            pass
    except Refused:  # counting and rotation need the lock, appending does not: O_APPEND writes do not overlap (open(2))
        _append(ring.path, _line(act), database)


def kept(database: Path) -> Iterator[KeptAct]:
    """Yield the lines, oldest first, without damaged ones; raise `OSError` where the log is unreadable."""
    old = log_of(database)
    rings = [[old, *(_old(old, number) for number in range(1, OLD_FILES + 1))]]
    with suppress(FileNotFoundError):
        found = (_FILE.fullmatch(path.name) for path in folder_of(database).iterdir())
        names = sorted({(match[1], match[2]) for match in found if match})
        rings += [_Ring(folder_of(database) / name, kind == "refused").paths for name, kind in names]
    with ExitStack() as opened:
        files = [_acts(paths[0].stem, _open(paths, opened)) for paths in rings]
        yield from heapq.merge(*files, key=lambda act: act.order)


def keep(database: Path, acts: Iterable[KeptAct]) -> None:
    """Write lines that another store has kept, oldest first, into a log that no other process uses yet."""
    for act in acts:
        ring = _Ring(folder_of(database) / f"{act.ring}.log", act.ring.endswith(".refused"))
        _make_folder(ring.path.parent, database)
        entry = dict(act.entry)
        end = _end(entry.pop("count"), entry.pop("last"))
        line = json.dumps(entry | {"order": act.order})[:-1].encode() + end
        if ring.path.exists() and ring.path.stat().st_size + len(line) > ring.largest:
            ring.rotate()
        _append(ring.path, line, database)


def folder_of(database: Path) -> Path:
    """Return the folder of a database's log."""
    file = Path(os.path.realpath(database))
    return file.with_name(f"{file.name}.audit")


def log_of(database: Path) -> Path:
    """Return the single log of older versions, which is still read; `.1` to `.5` are older."""
    return folder_of(database).with_suffix(".audit.log")


def ring_of(database: Path, act: ActLine) -> _Ring:
    """Return the files of an act's actor and kind."""
    return _Ring(folder_of(database) / f"{act.ring}.log", act.refused)


def _written(database: Path, ring: _Ring, act: ActLine) -> bool:
    """Return whether the line had room.

    If not, there is a new file, which other processes may be filling already.
    """
    with locked(ring.path, database, _LOCK_WAIT_S, "it is locked by another process"):
        tail = _Tail(ring.path)
        rest = uncounted(act, lambda: tail.lines_of(act), tail.count_again)
        line = _line(rest) if rest else b""
        size = ring.path.stat().st_size
        if line and size and size + len(line) > ring.largest:
            ring.rotate()
            return False
        if line:
            _append(ring.path, line, database)
        return True


def _key(act: ActLine) -> bytes:
    return act.what[1:-1].encode() + b', "seconds": '


def _hour(act: ActLine) -> bytes:
    """Return the beginning of all lines of the same hour."""
    return f'{{"time": "{act.hour}'.encode()


def _line(act: ActLine) -> bytes:
    head = f'{{"time": "{act.time}", '.encode() + _key(act)
    return head + f'{act.seconds:.3f}, "order": {act.order}'.encode() + _end(1, act.time)


def _open(paths: list[Path], opened: ExitStack) -> list[BinaryIO]:
    """Open the files of a ring and return them, oldest first; a file that is renamed meanwhile comes once."""
    files: dict[tuple[int, int], BinaryIO] = {}
    for path in paths:
        with suppress(FileNotFoundError):
            file = opened.enter_context(path.open("rb"))
            found = os.fstat(file.fileno())
            files.setdefault((found.st_dev, found.st_ino), file)
    return list(files.values())[::-1]


def _acts(ring: str, files: Iterable[BinaryIO]) -> Iterator[KeptAct]:
    """Yield the lines of these files."""
    for file in files:
        for line in file:
            if found := _act(line):
                yield KeptAct(found[0], ring, found[1])


def _act(line: bytes) -> tuple[int, Entry] | None:
    try:
        return entry_of(json.loads(line))
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None


class _Tail:
    """The end of a file.

    Quotes within a text are escaped, so the beginning of a line appears nowhere else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self._place = file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            self._text = file.read(_TAIL)

    def lines_of(self, act: ActLine) -> int:
        """Return the number of lines of the act's hour."""
        return self._text.count(_hour(act))

    def count_again(self, act: ActLine) -> bool:
        """Count the act in an equal line of its hour, without changing its length; return whether there is one."""
        key, hour, at = _key(act), _hour(act), 0
        while (at := self._text.find(key, at + 1)) > 0:
            end = self._text.find(b"\n", at) + 1
            last = self._text[end - _LENGTH_OF_END : end]
            if self._text.startswith(hour, max(0, at - _LENGTH_OF_TIME)) and (found := _END.fullmatch(last)):
                self._replace(end - _LENGTH_OF_END, _end(min(int(found[1]) + 1, _MOST), act.time))
                return True
        return False

    def _replace(self, at: int, end: bytes) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, end, self._place + at)
        finally:
            os.close(descriptor)


def _end(count: int, last: str) -> bytes:
    return f', "count": {count:9}, "last": "{last}"}}\n'.encode()


def _old(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _make_folder(folder: Path, like: Path) -> None:
    """Create the folder if it is missing, with the owner and group of the database."""
    if folder.is_dir():
        return
    with suppress(FileExistsError):
        folder.mkdir(0o700)
        with suppress(OSError):  # a folder of root's must not lock out the database's owner
            found = like.stat()
            os.chown(folder, found.st_uid, found.st_gid)
            group = found.st_mode & 0o060
            folder.chmod(0o700 | group | (0o010 if group else 0))


def _append(path: Path, line: bytes, like: Path) -> None:
    """Write the line at once, on a new line after a torn one; a new log gets the owner of `like`."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        share(descriptor, like)
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        whole = b"\n" + line if torn else line
        if os.write(descriptor, whole) < len(whole):
            raise OSError(None, "No space left on device")
    finally:
        os.close(descriptor)
