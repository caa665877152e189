"""The pieces of a state as rows of the table `piece`: read where they changed, written where they change."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from allocation.holdings import Holdings, Promise
from core.errors import FileFault
from core.rule import Broken
from storage.pieces import GONE, Changes, Pieces, check_shape, held
from storage.postgres.session import Connection
from storage.state import Kept, State


class Row(Kept):
    """A piece as its row has it. Its texts are parsed, and its value checked, when they are first asked for."""

    def __init__(self, section: str, key: str, value: str, holdings: str | None) -> None:
        self.__dict__["texts"] = section, key, value, holdings

    @cached_property
    def value(self) -> Any:
        """The piece's value, which only an editor's hand can have made wrong."""
        section, key, text, _ = self.__dict__["texts"]
        value = json.loads(text)
        try:
            check_shape({(section, key): value})
        except Broken as fault:
            raise FileFault(f"The row {section} {key} of the table piece is wrong: {fault}") from fault
        return value

    @cached_property
    def holdings(self) -> Holdings | None:
        """The holdings of a slice."""
        text = self.__dict__["texts"][3]
        return _holdings(json.loads(text)) if text else None


@dataclass(frozen=True)
class Revision:
    """The pieces at the time of a change, which has a number."""

    number: int
    pieces: Pieces


NOTHING = Revision(0, {})


def refreshed(connection: Connection, known: Revision) -> Revision:
    """Return the present pieces. Only those that changed since `known` are read."""
    query = """SELECT section, key, value::text, holdings::text, revision
        FROM piece WHERE revision > %s ORDER BY place"""
    found = connection.execute(query, [known.number]).fetchall()
    if not found:
        return known
    pieces = {section: dict(entries) for section, entries in known.pieces.items()}
    for section, key, value, holdings, _ in found:
        entries = pieces.setdefault(section, {})
        if value is None:
            entries.pop(key, None)
        else:
            entries[key] = Row(section, key, value, holdings)
    return Revision(max(row[4] for row in found), {section: entries for section, entries in pieces.items() if entries})


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
    found = connection.execute("SELECT thing, slice_id FROM holding WHERE slice_id = ANY(%s)", [slices])
    before = {(thing, key) for thing, key in found}
    after = {(thing, key) for key in slices if int(key) in state.slices for thing in _things(state, int(key))}
    gone, fresh = sorted(before - after), sorted(after - before)
    if gone:
        connection.execute("DELETE FROM holding WHERE thing = ANY(%s)", [[thing for thing, _ in gone]])
    if fresh:
        query = "INSERT INTO holding (thing, slice_id) SELECT * FROM unnest(%s::text[], %s::text[])"
        connection.execute(query, [[thing for thing, _ in fresh], [key for _, key in fresh]])


def _things(state: State, slice_id: int) -> Iterable[str]:
    """Yield all that only this slice may have."""
    holdings = state.slices.held(slice_id)
    yield from holdings.claims if holdings else ()
    vlans = (f"VLAN {vlan_id}" for vlan_id in state.slices[slice_id].vlan_pool_used)
    yield from map(holdings.in_realm, vlans) if holdings else ()


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
