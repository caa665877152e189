"""The pieces of a state as rows of the table `piece`: read where they changed, written where they change."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from allocation.holdings import Holdings, Promise, in_realm
from core.errors import FileFault, Refused
from core.rule import Broken
from storage.pieces import GONE, Changes, Pieces, Place, check_shape, held
from storage.postgres.session import Connection
from storage.state import Kept, KeptSlices, State

_Promised = tuple[str, str, str, int, float, float]


class Texts(NamedTuple):
    """The texts of a row, as JSON."""

    value: str
    holdings: str | None = None


Reader = Callable[["Mapping[str, Row]"], object]
"""A function that gives rows, by their keys, their texts."""


class Row(Kept):
    """A piece as its row has it. Its texts are parsed, and its value checked, when they are first asked for.

    A row without texts is read from the database first.
    """

    def __init__(self, section: str, key: str, realm: str, texts: Texts | None, reader: Reader) -> None:
        self.__dict__.update(place=(section, key), of_realm=realm, texts=texts, reader=reader)

    @property
    def place(self) -> Place:
        """Return the section and the key."""
        found: Place = self.__dict__["place"]
        return found

    @property
    def realm(self) -> str:
        """Return the realm of a slice."""
        found: str = self.__dict__["of_realm"]
        return found

    @property
    def is_read(self) -> bool:
        """Return whether the row has its texts."""
        return self.__dict__["texts"] is not None

    def take(self, texts: Texts) -> None:
        """Take the texts that were read."""
        self.__dict__["texts"] = texts

    @cached_property
    def value(self) -> Any:
        """The piece's value, which only an editor's hand can have made wrong."""
        (section, key), value = self.place, json.loads(self._texts().value)
        try:
            check_shape({(section, key): value})
        except Broken as fault:
            raise FileFault(f"The row {section} {key} of the table piece is wrong: {fault}") from fault
        return value

    @cached_property
    def holdings(self) -> Holdings | None:
        """The holdings of a slice."""
        text = self._texts().holdings
        return _holdings(json.loads(text)) if text else None

    def _texts(self) -> Texts:
        if not self.is_read:
            self.__dict__["reader"]({self.place[1]: self})
        if not self.is_read:
            raise Refused(f"Slice {self.place[1]} was deleted by another session just now; look again")
        found: Texts = self.__dict__["texts"]
        return found


class RowSlices(KeptSlices):
    """The slices of a database. Those that a use-case asks for are read, and tables answer for all the others.

    Outside of a transaction the answers are of now: another session may have changed slices since the state was read.
    """

    def __init__(self, reading: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._reading = reading

    def among(self, things: Collection[str]) -> set[str]:
        """Return those of `things` that a slice holds."""
        with self._reading() as connection:
            found = connection.execute("SELECT thing FROM holding WHERE thing = ANY(%s)", [[*things]]).fetchall()
            return {thing for (thing,) in found}

    def promised(self, workers: Iterable[str], but: Collection[int] = ()) -> dict[str, Promise]:
        """Return what each of these workers promised to all slices together, `but` to some."""
        query = """SELECT worker, sum(cores)::integer, sum(ram_gb), sum(disk_gb) FROM promise
            WHERE worker = ANY(%s) AND slice_id <> ALL(%s) GROUP BY worker"""
        promises = dict.fromkeys(workers, Promise())
        with self._reading() as connection:
            found = connection.execute(query, [[*promises], [*map(str, but)]]).fetchall()
        return promises | {worker: Promise(*size) for worker, *size in found}

    def slices_on(self, worker: str) -> set[int]:
        """Return the slices to whose VMs a worker promised something."""
        with self._reading() as connection:
            found = connection.execute("SELECT slice_id FROM promise WHERE worker = %s", [worker]).fetchall()
            return {int(slice_id) for (slice_id,) in found}

    def places(self) -> set[tuple[str, str]]:
        """Return realms and workers: each worker that promised something to a slice of the realm."""
        with self._reading() as connection:
            found = connection.execute("SELECT DISTINCT realm, worker FROM promise").fetchall()
            return {(realm, worker) for realm, worker in found}

    def read(self, kept: Mapping[str, Kept]) -> Collection[str]:
        """Read the rows that have no texts yet; return the keys of slices that are gone meanwhile."""
        rows = {key: row for key, row in kept.items() if isinstance(row, Row) and not row.is_read}
        if not rows:
            return ()
        query = """SELECT key, value::text, holdings::text FROM piece
            WHERE section = 'slices' AND value IS NOT NULL AND key = ANY(%s)"""
        with self._reading() as connection:
            for key, value, holdings in connection.execute(query, [[*rows]]):
                rows[key].take(Texts(value, holdings))
        return [key for key, row in rows.items() if not row.is_read]


@dataclass(frozen=True)
class Revision:
    """The pieces at the time of a change, which has a number."""

    number: int
    pieces: Pieces


NOTHING = Revision(0, {})


def refreshed(connection: Connection, known: Revision, reader: Reader) -> Revision:
    """Return the present pieces. Only those that changed since `known` are read, and of slices only keys and realms."""
    query = """SELECT section, key, revision, value IS NULL, coalesce(holdings ->> 'realm', ''),
            CASE WHEN section <> 'slices' OR key = '' THEN value::text END
        FROM piece WHERE revision > %s ORDER BY place"""
    found = connection.execute(query, [known.number]).fetchall()
    if not found:
        return known
    pieces = {section: dict(entries) for section, entries in known.pieces.items()}
    for section, key, _, is_gone, realm, value in found:
        entries = pieces.setdefault(section, {})
        if is_gone:
            entries.pop(key, None)
        else:
            entries[key] = Row(section, key, realm, None if value is None else Texts(value), reader)
    return Revision(max(row[2] for row in found), {section: entries for section, entries in pieces.items() if entries})


def write(connection: Connection, changes: Changes, state: State, revision: int) -> None:
    """Write the changed pieces of `state`, and what their slices hold."""
    connection.execute("UPDATE cloud SET revision = %s", [revision])
    rows = [(section, key, value, held(state, section, key)) for (section, key), value in changes.items()]
    with connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO piece (section, key, value, holdings, revision) VALUES (%s, %s, %s::jsonb, %s::jsonb, %s)
            ON CONFLICT (section, key) DO UPDATE SET
                value = excluded.value, holdings = excluded.holdings, revision = excluded.revision,
                place = CASE WHEN piece.value IS NULL THEN excluded.place ELSE piece.place END""",
            [
                (section, key, None if value is GONE else json.dumps(value), _text(holdings), revision)
                for section, key, value, holdings in rows
            ],
        )
    _write_holdings(connection, state, [key for section, key, *_ in rows if section == "slices" and key])


def _write_holdings(connection: Connection, state: State, slices: Sequence[str]) -> None:
    """Write what the changed slices hold; most changes of a slice change nothing of that."""
    if not slices:
        return
    there = [key for key in slices if int(key) in state.slices]
    found = connection.execute("SELECT thing, slice_id FROM holding WHERE slice_id = ANY(%s)", [slices])
    before = {(thing, key) for thing, key in found}
    after = {(thing, key) for key in there for thing in _things(state, int(key))}
    gone, fresh = sorted(before - after), sorted(after - before)
    if gone:
        connection.execute("DELETE FROM holding WHERE thing = ANY(%s)", [[thing for thing, _ in gone]])
    if fresh:
        query = "INSERT INTO holding (thing, slice_id) SELECT * FROM unnest(%s::text[], %s::text[])"
        connection.execute(query, [[thing for thing, _ in fresh], [key for _, key in fresh]])
    _write_promises(connection, slices, {(*row,) for key in there for row in _promises(state, key)})


def _write_promises(connection: Connection, slices: Sequence[str], after: set[_Promised]) -> None:
    query = "SELECT slice_id, realm, worker, cores, ram_gb, disk_gb FROM promise WHERE slice_id = ANY(%s)"
    if after == {*connection.execute(query, [slices])}:
        return
    connection.execute("DELETE FROM promise WHERE slice_id = ANY(%s)", [slices])
    query = """INSERT INTO promise (slice_id, realm, worker, cores, ram_gb, disk_gb)
        SELECT * FROM unnest(
            %s::text[], %s::text[], %s::text[], %s::integer[], %s::double precision[], %s::double precision[])"""
    if after:
        connection.execute(query, [[*column] for column in zip(*after, strict=True)])


def _promises(state: State, key: str) -> Iterator[_Promised]:
    """Yield what each worker promised to a slice."""
    if holdings := state.slices.held(int(key)):
        yield from ((key, holdings.realm, worker, *size) for worker, size in holdings.promised.items())


def _things(state: State, slice_id: int) -> Iterator[str]:
    """Yield all that only this slice may have."""
    holdings = state.slices.held(slice_id)
    yield from holdings.claims if holdings else ()
    vlans = (f"VLAN {vlan_id}" for vlan_id in state.slices[slice_id].vlan_pool_used)
    yield from (in_realm(holdings.realm, vlan) for vlan in vlans) if holdings else ()


def _text(holdings: Holdings | None) -> str | None:
    if holdings is None:
        return None
    sets = {name: sorted(getattr(holdings, name)) for name in ("vm_ids", "vnc_ports", "macs", "addresses", "doors")}
    single = {name: getattr(holdings, name) for name in ("slice_id", "owner", "vms", "realm")}
    return json.dumps({**single, **sets, "promised": {worker: [*size] for worker, size in holdings.promised.items()}})


def _holdings(record: Mapping[str, Any]) -> Holdings:
    return Holdings(
        record["slice_id"],
        record["owner"],
        record["vms"],
        frozenset(record["vm_ids"]),
        frozenset(record["vnc_ports"]),
        frozenset(record["macs"]),
        frozenset(record["addresses"]),
        {worker: Promise(*size) for worker, size in record["promised"].items()},
        record["realm"],
        frozenset(record["doors"]),
    )
