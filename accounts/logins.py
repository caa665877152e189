"""Wrong logins, counted across processes in `<database>.logins`: whoever guesses has to wait longer and longer.

Names are kept as keyed hashes only: what was typed as a name may have been somebody's password.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import Refused
from storage.files import locked, replace

FREE = 3
"""Wrong passwords in a row that cost nothing: people mistype."""

LONGEST_WAIT_S = 60
FORGOTTEN_AFTER_S = 3600.0
MOST_NAMES = 1000
"""As many are kept; where there are more, those with the fewest failures go first, so that nobody pushes theirs out."""

_MOST_FAILURES = 1000
_LOCK_WAIT_S = 5.0
_LARGEST = 1 << 20
_KEY = re.compile(r"[0-9a-f]{24}")
_SALT = re.compile(r"[0-9a-f]{32}")


class CannotCount(Exception):
    """The file cannot be locked or written."""


def wait_after(failures: int) -> int:
    """Seconds between the last of so many failures and the next try: none, then 1, 2, 4 and so on to 60."""
    return 0 if failures <= FREE else min(LONGEST_WAIT_S, 2 ** min(failures - FREE - 1, 10))


@dataclass(frozen=True)
class _Failures:
    count: int
    last: float  # seconds since 1970: several processes, and several boots, have to agree


@dataclass
class _Book:
    """What the file holds. `others` is what is known of a name that is not in it."""

    salt: str = field(default_factory=lambda: secrets.token_hex(16))
    others: _Failures = _Failures(0, 0.0)
    names: dict[str, _Failures] = field(default_factory=dict)

    def key(self, username: str) -> str:
        typed = username.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(typed, key=bytes.fromhex(self.salt), digest_size=12).hexdigest()

    def of(self, username: str, now: float) -> _Failures:
        """The failures that still count; a moment in the future, left by a clock that was set back, becomes now."""
        found = self.names.get(self.key(username), self.others)
        found = _Failures(found.count, min(found.last, now))
        return found if now - found.last < FORGOTTEN_AFTER_S else _Failures(0, now)

    def note(self, username: str, failures: _Failures) -> None:
        self.names[self.key(username)] = failures
        now = failures.last
        if now - self.others.last >= FORGOTTEN_AFTER_S:
            self.others = _Failures(0, 0.0)
        kept = [(key, known) for key, known in self.names.items() if now - known.last < FORGOTTEN_AFTER_S]
        kept.sort(key=lambda entry: (entry[1].count, entry[1].last), reverse=True)
        self.names = dict(kept[:MOST_NAMES])

    def to_json(self) -> bytes:
        names = {key: [known.count, known.last] for key, known in self.names.items()}
        record = {"salt": self.salt, "others": [self.others.count, self.others.last], "names": names}
        return json.dumps(record).encode() + b"\n"

    @classmethod
    def from_json(cls, content: bytes) -> _Book:
        """What `to_json` wrote; `ValueError` for anything else."""
        record = json.loads(content)
        if not (isinstance(record, dict) and isinstance(record.get("names"), dict)):
            raise ValueError("not a mapping")  # noqa: TRY004 - one kind for the one who asks
        salt = record.get("salt")
        if not (isinstance(salt, str) and _SALT.fullmatch(salt) and all(map(_KEY.fullmatch, record["names"]))):
            raise ValueError("keys of another kind")
        names = {key: _failures(entry) for key, entry in record["names"].items()}
        return cls(salt, _failures(record.get("others")), names)


class Logins:
    """The count in the file `path`, kept for whom `database` is kept. `clock` gives seconds since 1970."""

    def __init__(self, path: Path, database: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._database = database
        self._clock = clock

    def attempt(self, username: str) -> None:
        """Begin a try, which counts as a failure until `succeeded` says otherwise; `Refused` while it has to wait.

        Counted beforehand, so that tries made at the same time know of each other. `CannotCount` where the file cannot
        be kept. Nobody learns here whether there is such a user.
        """
        with _Held(self._path, self._database) as book:
            now = self._clock()
            known = book.of(username, now)
            left = known.last + wait_after(known.count) - now
            if left > 0:
                book.note(username, known)
                raise Refused(f"Too many wrong passwords; try again in {int(left) + 1} s")
            book.note(username, _Failures(min(known.count + 1, _MOST_FAILURES), now))

    def succeeded(self, username: str) -> None:
        """The password was right: earlier failures are forgotten."""
        with _Held(self._path, self._database) as book:
            book.note(username, _Failures(0, self._clock()))


class _Held:
    """The file, alone with it; saved when the body ends, also when it refuses."""

    def __init__(self, path: Path, database: Path) -> None:
        self._path = path
        self._database = database
        # A file of its own: one that is replaced lets the next one in before whoever replaced it is done.
        lock = path.with_name(f"{path.name}.lock")
        self._lock = locked(lock, database, _LOCK_WAIT_S, f"{path.name} is locked")

    def __enter__(self) -> _Book:
        try:
            self._lock.__enter__()
        except Refused as refusal:
            raise CannotCount(str(refusal)) from refusal
        try:
            self._book = self._read()
        except OSError as error:
            self._lock.__exit__(None, None, None)
            raise CannotCount(f"{self._path} cannot be read ({error.strerror})") from error
        return self._book

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            replace(self._path, self._book.to_json(), self._database.stat())
        except OSError as error:
            if kind is None:  # a refusal stays one
                raise CannotCount(f"{self._path} cannot be written ({error.strerror})") from error
        finally:
            self._lock.__exit__(None, None, None)

    def _read(self) -> _Book:
        try:
            with self._path.open("rb") as file:
                content = file.read(_LARGEST)
        except FileNotFoundError:
            return _Book()
        try:
            return _Book.from_json(content)
        except (ValueError, RecursionError):
            # Nobody is locked out by it, and nobody gets the free tries again.
            return _Book(others=_Failures(FREE, time.time()))


def _failures(entry: object) -> _Failures:
    match entry:
        case [int(count), int(last) | float(last)] if 0 <= count <= _MOST_FAILURES and 0 <= last < 1e12:
            return _Failures(count, float(last))
    raise ValueError("not a count and a moment")
