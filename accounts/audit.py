"""Who did what to which slice, when, and how it ended: lines of JSON in `<database>.audit.log`, for the operator.

A line has the fields of `FIELDS` and no others. What a user typed is not among them, but for ids and the names of users
that there are: so no password gets in, not even one that was typed as a name.
"""

from __future__ import annotations

import getpass
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from errors import CloudError, Refused
from storage.files import locked, share

FIELDS = ("time", "actor", "action", "slice", "vm", "result", "seconds")
"""`time` in UTC (ISO 8601); `seconds` since the action began; `slice` and `vm` are ids, or null."""

OK = "ok"
BEGUN = "begun"
UNKNOWN = "(unknown)"
"""The actor of a login under a name that is no user's."""

LARGEST_FILE = 1 << 20
OLD_FILES = 5
LONGEST_RESULT = 1000

_LOCK_WAIT_S = 2.0
_CHUNK = 65_536


@dataclass
class Entry:
    """One action under way; whoever carries it out fills in what becomes known."""

    actor: str
    action: str
    slice_id: int | None = None
    vm_id: int | None = None
    result: str = OK


class Audit:
    """The log of one database. A log that cannot be written stops nothing; `news` says so, once."""

    def __init__(self, database: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._database = Path(os.path.realpath(database))
        self._path = log_of(database)
        self._clock = clock
        self._problem = ""
        self._told = False

    @contextmanager
    def noted(self, entry: Entry, *, announced: bool = False) -> Iterator[Entry]:
        """Write how the body ended; `announced`: and that it begins, as its manager may die meanwhile."""
        if announced:
            self.write(entry, BEGUN, 0.0)
        began = time.monotonic()
        try:
            yield entry
        except CloudError as error:
            entry.result = str(error)
            raise
        except BaseException as error:
            entry.result = f"ended by {type(error).__name__}"
            raise
        finally:
            self.write(entry, entry.result, time.monotonic() - began)

    def write(self, entry: Entry, result: str, seconds: float) -> None:
        """Append one line, and make room for it before."""
        values = (
            self._clock().strftime("%Y-%m-%dT%H:%M:%SZ"),
            *(entry.actor, entry.action, entry.slice_id, entry.vm_id, result[:LONGEST_RESULT], round(seconds, 3)),
        )
        line = json.dumps(dict(zip(FIELDS, values, strict=True))).encode() + b"\n"
        try:
            try:
                while not self._appended(line):
                    pass
            except Refused:  # only making room needs the lock: the kernel puts one write behind the other (write(2))
                _append(self._path, line, self._database)
        except OSError as error:
            self._problem = self._problem or error.strerror or str(error)
        except CloudError as error:
            self._problem = self._problem or str(error)

    def _appended(self, line: bytes) -> bool:
        """Whether the line had room; if not, there is a new log now, which others may be filling already."""
        with locked(self._path, self._database, _LOCK_WAIT_S, "it is locked by another process"):
            size = self._path.stat().st_size
            if size and size + len(line) > LARGEST_FILE:
                _rotate(self._path)
                return False
            _append(self._path, line, self._database)
            return True

    def news(self) -> str:
        """What whoever sits here should know of the log itself: that it cannot be written. Said once, else empty."""
        if not self._problem or self._told:
            return ""
        self._told = True
        return "The audit log cannot be written; tell the operator to look at the disk and the rights of its folder"


def operator() -> str:
    """Whoever sits at this machine, as the system knows them: the actor of what the command line does."""
    try:
        name = getpass.getuser() if os.environ.get("SUDO_USER") is None else os.environ["SUDO_USER"]
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"operator {name}"


def log_of(database: Path) -> Path:
    """The log of a database; older ones are beside it, with `.1` to `.5`, the last the oldest."""
    file = Path(os.path.realpath(database))
    return file.with_name(f"{file.name}.audit.log")


def read(database: Path) -> Iterator[dict[str, Any]]:
    """The entries, oldest first; what is none, such as half a line, is left out. `OSError` where it is unreadable."""
    log = log_of(database)
    for path in [*(_old(log, number) for number in range(OLD_FILES, 0, -1)), log]:
        with suppress(FileNotFoundError), path.open("rb") as file:
            for line in file:
                if entry := _entry(line):
                    yield entry


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("time"), str):
        return None
    return {name: record.get(name) for name in FIELDS}


def _old(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _rotate(path: Path) -> None:
    for number in range(OLD_FILES - 1, 0, -1):
        with suppress(FileNotFoundError):
            _old(path, number).replace(_old(path, number + 1))
    path.replace(_old(path, 1))


def _append(path: Path, line: bytes, like: Path) -> None:
    """One write, behind whatever a full disk may have left of an earlier one; a new log is for whom `like` is."""
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
