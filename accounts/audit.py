"""The audit log: actor, act, slice, time and result, as lines of JSON in `<database>.audit/`, for the operator.

A line has the fields of `FIELDS`. Of a user's input it holds ids and names of existing users only. So no password gets
in, not even one that was typed as a name.

Each actor has separate files, and refusals are kept apart from acts. So an actor's noise cannot push out the lines of
another actor, and refusals cannot push out acts. `.acts.log` becomes `.1` when it is full, and so on.
"""

from __future__ import annotations

import getpass
import heapq
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from core.errors import CloudError, Refused
from storage.files import locked, share

FIELDS = ("time", "actor", "by", "action", "slice", "vm", "result", "seconds", "count", "last")
"""`time` is in UTC (ISO 8601), `seconds` the action's duration; `slice` and `vm` are ids, or null.

`by` is `operator` for an act that the command line carried out for the actor, else null.

`count` is the number of repetitions within that hour, `last` the time of the last one.
"""

BY_OPERATOR = "operator"
OK = "ok"
BEGUN = "begun"
UNKNOWN = "(unknown)"
"""The actor of a login with a name that has no account."""

LARGEST_FILE = 1 << 20
OLD_FILES = 5
LONGEST_RESULT = 1000

REFUSALS_IN_FULL = 50
"""Maximum lines of one actor's refusals within an hour; further ones are counted in one line per action."""

ACTS_IN_FULL = 300
"""The same bound for acts: beyond it equal acts are counted, and those of `CHEAP` in one line per action."""

CHEAP = {"log in", "run command", "change password", "create slice", "create link"}
"""Acts without a host, so that a program could do thousands of them in a minute."""

COUNTED = {"run command", "connect"}
"""Acts of programs such as an editor, which come again and again: within an hour equal ones are one line."""

_LOCK_WAIT_S = 2.0
_TAIL = 131_072
"""Number of bytes at the end of a file that are searched for lines of the present hour."""

_FILE = re.compile(r"(.*\.(acts|refused)\.log)(\.\d+)?")
_END = re.compile(rb', "count": +(\d{1,9}), "last": "[^"]{20}"\}\n')
_MOST = 999_999_999
_LENGTH_OF_END = len(b', "count": 123456789, "last": "2026-01-01T00:00:00Z"}\n')
_LENGTH_OF_TIME = len(b'{"time": "2026-01-01T00:00:00Z", ')


@dataclass
class AuditEntry:
    """One action under way; the code that carries it out fills in ids and result.

    `begun`: the start is written already. `by`: as in `FIELDS`.
    """

    actor: str
    action: str
    slice_id: int | None = None
    vm_id: int | None = None
    result: str = OK
    begun: bool = False
    by: str | None = None


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
    def in_full(self) -> int:
        return REFUSALS_IN_FULL if self.refusals else ACTS_IN_FULL

    @property
    def paths(self) -> list[Path]:
        """Return the files, the newest first."""
        return [self.path, *(_old(self.path, number) for number in range(1, self.old_files + 1))]

    def rotate(self) -> None:
        for number in range(self.old_files - 1, 0, -1):
            with suppress(FileNotFoundError):
                _old(self.path, number).replace(_old(self.path, number + 1))
        self.path.replace(_old(self.path, 1))


@dataclass(frozen=True)
class _Line:
    """A line before it is written.

    `order` is nanoseconds since 1970, finer than `time`, and not shown.
    """

    time: str
    entry: AuditEntry
    seconds: float
    order: int

    @property
    def key(self) -> bytes:
        """Return the part that two equal acts share; the second one is only counted."""
        entry = self.entry
        who = {"actor": entry.actor, "by": entry.by, "action": entry.action}
        what = {"slice": entry.slice_id, "vm": entry.vm_id, "result": entry.result}
        return json.dumps({**who, **what}).encode()[1:-1] + b', "seconds": '

    @property
    def text(self) -> bytes:
        head = f'{{"time": "{self.time}", '.encode() + self.key
        return head + f'{self.seconds:.3f}, "order": {self.order}'.encode() + _end(1, self.time)

    @property
    def hour(self) -> bytes:
        """Return the beginning of all lines of the same hour."""
        return f'{{"time": "{self.time[:13]}'.encode()

    @property
    def is_cheap(self) -> bool:
        """Return whether no host took part; a `delete` of a slice without objects on hosts never began there."""
        return self.entry.action in CHEAP or (self.entry.action == "delete" and not self.entry.begun)

    def without_ids(self) -> _Line:
        """Return the line that stands for all further ones of this action within the hour."""
        result = OK if self.entry.result == OK else "further ones within this hour"
        return replace(self, entry=replace(self.entry, slice_id=None, vm_id=None, result=result), seconds=0.0)


class Audit:
    """The log of one database; a log that cannot be written stops nothing, and `warning` reports it once.

    `by` is written into every further line.
    """

    by: str | None = None

    def __init__(self, database: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._database = Path(os.path.realpath(database))
        self._clock = clock
        self._problem = ""
        self._is_reported = False

    @contextmanager
    def noted(self, entry: AuditEntry, *, announced: bool = False) -> Iterator[AuditEntry]:
        """Write how the body ended; with `announced` also that it begins, since the manager may die in between."""
        if announced:
            self.begin(entry)
        began, refused = time.monotonic(), False
        try:
            yield entry
        except CloudError as error:
            entry.result = str(error)
            refused = not error.begun and not entry.begun
            raise
        except BaseException as error:
            entry.result = f"ended by {type(error).__name__}"
            raise
        finally:
            self.write(entry, entry.result, time.monotonic() - began, refused=refused)

    def begin(self, entry: AuditEntry) -> None:
        """Write once that a long action begins to change hosts."""
        if not entry.begun:
            entry.begun = True
            self.write(entry, BEGUN, 0.0)

    def write(self, entry: AuditEntry, result: str, seconds: float, *, refused: bool = False) -> None:
        """Write one line, or count it in an earlier one; `refused` means that nothing was changed."""
        moment = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        line = _Line(moment, replace(entry, result=result[:LONGEST_RESULT], by=self.by), seconds, time.time_ns())
        ring = _ring(self._database, entry.actor, refusals=refused)
        try:
            _make_folder(ring.path.parent, self._database)
            try:
                while not self._written(ring, line):
                    pass
            except (
                Refused
            ):  # counting and rotation need the lock, appending does not: O_APPEND writes do not overlap (open(2))
                _append(ring.path, line.text, self._database)
        except OSError as error:
            self._problem = self._problem or error.strerror or str(error)
        except CloudError as error:
            self._problem = self._problem or str(error)

    def _written(self, ring: _Ring, line: _Line) -> bool:
        """Return whether the line had room.

        If not, there is a new file, which other processes may be filling already.
        """
        with locked(ring.path, self._database, _LOCK_WAIT_S, "it is locked by another process"):
            rest = _uncounted(ring, line)
            size = ring.path.stat().st_size
            if rest and size and size + len(rest) > ring.largest:
                ring.rotate()
                return False
            if rest:
                _append(ring.path, rest, self._database)
            return True

    def warning(self) -> str:
        """Return a one-time warning that the log cannot be written, or an empty string."""
        if not self._problem or self._is_reported:
            return ""
        self._is_reported = True
        return "The audit log cannot be written; tell the operator to look at the disk and the rights of its folder"


def operator() -> str:
    """Return the actor of the command line: the system's name of this machine's user."""
    try:
        name = getpass.getuser() if os.environ.get("SUDO_USER") is None else os.environ["SUDO_USER"]
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"operator {name}"


def folder_of(database: Path) -> Path:
    """Return the folder of a database's log."""
    file = Path(os.path.realpath(database))
    return file.with_name(f"{file.name}.audit")


def log_of(database: Path) -> Path:
    """Return the single log of older versions, which is still read; `.1` to `.5` are older."""
    return folder_of(database).with_suffix(".audit.log")


def read(database: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries, oldest first, without damaged lines; raise `OSError` where the log is unreadable."""
    old = log_of(database)
    rings = [[old, *(_old(old, number) for number in range(1, OLD_FILES + 1))]]
    with suppress(FileNotFoundError):
        found = (_FILE.fullmatch(path.name) for path in folder_of(database).iterdir())
        names = sorted({(match[1], match[2]) for match in found if match})
        rings += [_Ring(folder_of(database) / name, kind == "refused").paths for name, kind in names]
    with ExitStack() as opened:
        files = [_entries(_open(paths, opened)) for paths in rings]
        for _, entry in heapq.merge(*files, key=lambda each: each[0]):
            yield entry


def _open(paths: list[Path], opened: ExitStack) -> list[BinaryIO]:
    """Open the files of a ring and return them, oldest first; a file that is renamed meanwhile comes once."""
    files: dict[tuple[int, int], BinaryIO] = {}
    for path in paths:
        with suppress(FileNotFoundError):
            file = opened.enter_context(path.open("rb"))
            found = os.fstat(file.fileno())
            files.setdefault((found.st_dev, found.st_ino), file)
    return list(files.values())[::-1]


def _entries(files: Iterable[BinaryIO]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the entries of these files, each with its time in nanoseconds."""
    for file in files:
        for line in file:
            if found := _entry(line):
                yield found


def _entry(line: bytes) -> tuple[int, dict[str, Any]] | None:
    try:
        record = json.loads(line)
        moment = datetime.fromisoformat(record["time"])
        order = record.get("order", int(moment.timestamp()) * 1_000_000_000)
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None
    if type(order) is not int:
        return None
    later = {"count": 1, "last": record["time"]}
    return order, {name: record.get(name, later.get(name)) for name in FIELDS}


def _ring(database: Path, actor: str, *, refusals: bool) -> _Ring:
    """Return the files of an actor; where the name has other characters, `_` replaces them and `@` goes first."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", actor)[:64]
    name = plain if plain == actor else f"@{plain}"
    return _Ring(folder_of(database) / f"{name}.{'refused' if refusals else 'acts'}.log", refusals)


def _uncounted(ring: _Ring, line: _Line) -> bytes:
    """Count the line in an equal one of this hour where that is due; return the text to write, or b""."""
    tail = _Tail(ring.path)
    is_full = tail.lines_of(line.hour) >= ring.in_full
    if not ring.refusals and not is_full and line.entry.action not in COUNTED:
        return line.text
    if tail.count_again(line):
        return b""
    if not is_full or not (ring.refusals or line.is_cheap):
        return line.text
    line = line.without_ids()
    return b"" if tail.count_again(line) else line.text


class _Tail:
    """The end of a file.

    Quotes within a text are escaped, so the beginning of a line appears nowhere else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            self._place = file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            self._text = file.read(_TAIL)

    def lines_of(self, hour: bytes) -> int:
        """Return the number of lines of this hour."""
        return self._text.count(hour)

    def count_again(self, line: _Line) -> bool:
        """Count the line in an equal one of this hour, without changing its length; return whether there is one."""
        key, at = line.key, 0
        while (at := self._text.find(key, at + 1)) > 0:
            end = self._text.find(b"\n", at) + 1
            last = self._text[end - _LENGTH_OF_END : end]
            if self._text.startswith(line.hour, max(0, at - _LENGTH_OF_TIME)) and (found := _END.fullmatch(last)):
                self._replace(end - _LENGTH_OF_END, _end(min(int(found[1]) + 1, _MOST), line.time))
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
