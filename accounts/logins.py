"""Failed logins, counted across processes in the store's note `logins`: each further guess has to wait longer.

Names are kept as keyed hashes only, because a typed name may have been a user's password.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from core.errors import FileFault, Refused
from database import Store

FREE = 3
"""Number of wrong passwords in a row without a wait: users mistype."""

LONGEST_WAIT_S = 60
FORGOTTEN_AFTER_S = 3600.0
MOST_NAMES = 1000
"""Maximum number of names.

Names with the fewest failures are dropped first, so that no guesser can push out their own.
"""

_MOST_FAILURES = 1000
TURNS = 64
"""Locks for attempts at the same moment. Names share them, so that no file tells which name was typed."""

LOCK_WAIT_S = 5.0
_TURN_WAIT_S = 5.0
NOTE = "logins"
_KEY = re.compile(r"[0-9a-f]{24}")
_SALT = re.compile(r"[0-9a-f]{32}")


class CannotCount(Exception):
    """A failure to lock or save the counts."""


def wait_after(failures: int) -> int:
    """Return the seconds from the last failure to the next attempt: 0, then 1, 2, 4 and so on to 60."""
    return 0 if failures <= FREE else min(LONGEST_WAIT_S, 2 ** min(failures - FREE - 1, 10))


@dataclass(frozen=True)
class _Failures:
    count: int
    last: float  # seconds since 1970, which processes and boots share


@dataclass
class _Book:
    """The content of the note.

    `others` holds the failures of names that are not in it.
    """

    salt: str = field(default_factory=lambda: secrets.token_hex(16))
    others: _Failures = _Failures(0, 0.0)
    names: dict[str, _Failures] = field(default_factory=dict)

    def key(self, username: str) -> str:
        typed = username.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(typed, key=bytes.fromhex(self.salt), digest_size=12).hexdigest()

    def of(self, username: str, now: float) -> _Failures:
        """Return the failures that still count.

        A time in the future, left by a clock that was set back, becomes now.
        """
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
        """Return the book that `to_json` wrote; raise `ValueError` for other content."""
        record = json.loads(content)
        if not (isinstance(record, dict) and isinstance(record.get("names"), dict)):
            raise ValueError("not a mapping")  # noqa: TRY004 - one exception for all damage
        salt = record.get("salt")
        if not (isinstance(salt, str) and _SALT.fullmatch(salt) and all(map(_KEY.fullmatch, record["names"]))):
            raise ValueError("keys of another kind")
        names = {key: _failures(entry) for key, entry in record["names"].items()}
        return cls(salt, _failures(record.get("others")), names)


class Logins:
    """The counts in a store.

    `clock` returns seconds since 1970.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    @contextmanager
    def turn(self, username: str) -> Iterator[None]:
        """Run the body while no other attempt at this name is under way.

        An attempt under way counts as a failure. Without turns, several right passwords at the same moment would be
        too many failures. Where no turn comes in time, the body runs all the same.
        """
        typed = username.encode("utf-8", "surrogatepass")
        number = hashlib.blake2b(typed, digest_size=1).digest()[0] % TURNS
        with ExitStack() as held:
            with suppress(Refused):
                held.enter_context(self._store.lock(f"{NOTE}.turn-{number}", _TURN_WAIT_S, "busy"))
            yield

    def attempt(self, username: str) -> None:
        """Begin an attempt, which counts as a failure until `succeeded` is called.

        It is counted beforehand, so that simultaneous attempts see each other. Raise `Refused` while the name has to
        wait, and `CannotCount` where the note cannot be saved. The answer does not reveal whether the account exists.
        """
        with self._book() as book:
            now = self._clock()
            known = book.of(username, now)
            left = known.last + wait_after(known.count) - now
            if left > 0:
                book.note(username, known)
                raise Refused(f"Too many wrong passwords; try again in {int(left) + 1} s")
            book.note(username, _Failures(min(known.count + 1, _MOST_FAILURES), now))

    def succeeded(self, username: str) -> None:
        """Forget the failures of a name after a right password."""
        with self._book() as book:
            book.note(username, _Failures(0, self._clock()))

    @contextmanager
    def _book(self) -> Iterator[_Book]:
        """Yield the locked counts; they are saved when the body ends, also after a refusal."""
        try:
            with self._store.note(NOTE, LOCK_WAIT_S) as note:
                book = _read(note.content)
                try:
                    yield book
                finally:
                    note.content = book.to_json()
        except FileFault as fault:
            raise CannotCount(str(fault)) from fault


def _read(content: bytes | None) -> _Book:
    if content is None:
        return _Book()
    try:
        return _Book.from_json(content)
    except (ValueError, RecursionError):
        # Damaged counts lock no user out and give no guesser the free attempts again.
        return _Book(others=_Failures(FREE, time.time()))


def _failures(entry: object) -> _Failures:
    match entry:
        case [int(count), int(last) | float(last)] if 0 <= count <= _MOST_FAILURES and 0 <= last < 1e12:
            return _Failures(count, float(last))
    raise ValueError("not a count and a moment")
