"""The audit log as rows of the table `act`. The first change of an act brings its line along, in one transaction.

A line that the server does not take goes into a file of this manager, and is shown with the others.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from core.errors import CloudError
from storage import act_files
from storage.acts import BEGUN, FIELDS, ActLine, KeptAct, uncounted
from storage.postgres.session import Connection, ServerSession, one

MOST_ACTS, MOST_REFUSALS = 20_000, 2_000
"""Maximum lines of one actor; the oldest ones are removed."""

_LOCK_WAIT_S = 2.0
_PRUNED_EVERY = 64
_PAGE = 1000
_MOST = 999_999_999


@dataclass
class _UnderWay:
    """An act under way. `place` is the line that its first change wrote; `is_told`: no change writes one any more."""

    begun: Callable[[], ActLine]
    place: int | None = None
    is_told: bool = False


_under_way: ContextVar[_UnderWay | None] = ContextVar("act_under_way", default=None)


@contextmanager
def acting(begun: Callable[[], ActLine]) -> Iterator[None]:
    """Run the body as one act."""
    token = _under_way.set(_UnderWay(begun))
    try:
        yield
    finally:
        _under_way.reset(token)


@contextmanager
def with_change() -> Iterator[Callable[[Connection], None]]:
    """Yield a function that writes the line of the act under way in an open transaction, which the body commits."""
    act, places = _under_way.get(), list[int]()

    def write(connection: Connection) -> None:
        if act and not act.is_told and act.place is None:
            places.append(_insert(connection, act.begun()))

    yield write
    if act and places:
        act.place = places[0]


class ActRows:
    """The audit log of one database; `own` names the files of this manager."""

    def __init__(self, session: ServerSession, own: Path, require_tables: Callable[[], None]) -> None:
        self._session = session
        self._own = own
        self._require_tables = require_tables

    def write(self, act: ActLine, *, ends: bool) -> None:
        """Write a line, or count it in an earlier one."""
        under_way = _under_way.get()
        try:
            self._require_tables()
            self._write(act, under_way, ends=ends)
        except CloudError:
            act_files.write(self._own, act)
        if under_way and (ends or act.result == BEGUN):
            under_way.place, under_way.is_told = None, True

    def _write(self, act: ActLine, under_way: _UnderWay | None, *, ends: bool) -> None:
        if under_way and under_way.place and not ends and act.result == BEGUN:
            return  # its first change has said so
        with self._session.transaction(_LOCK_WAIT_S, needs_locks=False, waits=False) as connection:
            if under_way and under_way.place and ends:
                connection.execute("DELETE FROM act WHERE place = %s", [under_way.place])
            rest = uncounted(act, lambda: _lines_of_hour(connection, act), lambda each: _count_again(connection, each))
            if rest and _insert(connection, rest) % _PRUNED_EVERY == 0:
                _prune(connection, rest)

    def kept(self) -> Iterator[KeptAct]:
        """Yield the lines of the database and of this manager's files, oldest first."""
        self._require_tables()
        return heapq.merge(self._rows(), act_files.kept(self._own), key=lambda act: act.order)

    def keep(self, acts: Iterable[KeptAct]) -> None:
        """Write lines that another store has kept."""
        self._require_tables()
        query = """INSERT INTO act (moment, ring, time, what, seconds, count, last)
            VALUES (%s, %s, %s, %s, %s, %s, %s)"""
        with self._session.transaction() as connection, connection.cursor() as cursor:
            cursor.executemany(query, (_row(act) for act in acts))

    def _rows(self) -> Iterator[KeptAct]:
        query = """SELECT moment, place, ring, time, what, seconds, count, last FROM act
            WHERE (moment, place) > (%s, %s) ORDER BY moment, place LIMIT %s"""
        after = (-1, -1)
        while True:
            with self._session.reading() as connection:
                found = connection.execute(query, [*after, _PAGE]).fetchall()
            for moment, _, ring, time, what, seconds, count, last in found:
                entry = json.loads(what) | {"time": time, "seconds": round(seconds, 3), "count": count, "last": last}
                yield KeptAct(moment, ring, {name: entry[name] for name in FIELDS})
            if len(found) < _PAGE:
                return
            after = found[-1][:2]


def _insert(connection: Connection, act: ActLine) -> int:
    """Write a new line and return its place."""
    query = """INSERT INTO act (moment, ring, time, what, seconds, last) VALUES (%s, %s, %s, %s, %s, %s)
        RETURNING place"""
    row = [act.order, act.ring, act.time, act.what, act.seconds, act.time]
    return int(one(connection.execute(query, row)))


def _lines_of_hour(connection: Connection, act: ActLine) -> int:
    query = "SELECT count(*) FROM act WHERE ring = %s AND left(time, 13) = %s"
    return int(one(connection.execute(query, [act.ring, act.hour])))


def _count_again(connection: Connection, act: ActLine) -> bool:
    query = """UPDATE act SET count = least(count + 1, %s), last = %s WHERE place = (
        SELECT min(place) FROM act WHERE ring = %s AND left(time, 13) = %s AND what = %s)"""
    return connection.execute(query, [_MOST, act.time, act.ring, act.hour, act.what]).rowcount > 0


def _prune(connection: Connection, act: ActLine) -> None:
    query = """DELETE FROM act WHERE ring = %s AND place <= (
        SELECT place FROM act WHERE ring = %s ORDER BY place DESC OFFSET %s LIMIT 1)"""
    connection.execute(query, [act.ring, act.ring, MOST_REFUSALS if act.refused else MOST_ACTS])


def _row(act: KeptAct) -> list[object]:
    entry = act.entry
    what = json.dumps({name: entry[name] for name in ("actor", "by", "action", "slice", "vm", "result")})
    return [act.order, act.ring, entry["time"], what, entry["seconds"] or 0.0, entry["count"], entry["last"]]
