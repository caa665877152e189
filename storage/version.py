"""One version of `database.yaml`, in pieces: what was read and checked once is not read again, and not written again.

A piece is a section of the file, or an entry of one that may have many: a user, a slice. Its text is YAML by itself and
means the same wherever it stands, so that a file costs no more than the pieces in which it differs from a known one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from allocation import Holdings
from models import Record
from storage import rules, schema, text
from storage.schema import Broken
from storage.state import SECTIONS, Kept, State
from storage.text import Unreadable

ENTRIES = ("flavors", "users", "workers", "slices")
"""The sections of which every entry is a piece."""

Place = tuple[str, str | None]
"""A section, and the key of an entry in it; None stands for the whole section."""

_SECTION = re.compile(r"\n(?=[\w'\"])")
_ENTRY = re.compile(r"\n(?=  [\w'\"])")
_NAME = re.compile(r"(\w+):")
_UNSEEN = re.compile(
    r"[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|\n(?:---|\.\.\.)"
)
"""What a cut does not look for: ends of lines other than ours, and ends of documents."""


@dataclass(frozen=True)
class Piece:
    """`text` as it stands in the file, or "" where it is not by itself there; `value` as `State` has it."""

    text: str
    value: Any
    holdings: Holdings | None = None


Pieces = Mapping[Place, Piece]


class Version:
    """The file as it is or shall be: its `content`, and the sections that are `there`. It keeps all the rules."""

    def __init__(self, content: bytes, comment: str, pieces: Pieces, there: tuple[str, ...] = SECTIONS) -> None:
        self.content = content
        self.there = there
        self._comment = comment
        self._pieces = pieces

    @classmethod
    def read(cls, content: bytes, known: Version | None = None) -> Version:
        """The version in a file; `Unreadable` where there is none. The pieces that `known` has as well are not read."""
        before = known._pieces if known else {}
        try:
            whole = content.decode("utf-8-sig")
            comment = text.leading_comment(whole)
            found = _found(comment, whole[len(comment) :], before)
            _check_shape(found, before)
            pieces = _checked(State.from_dict(_record(found)), found, before)
        except (UnicodeDecodeError, Unreadable, Broken):
            # Laid out in another way, or wrong: only the whole of it can tell, and the line.
            found, pieces, comment = _read_whole(text.decoded(content))
        return cls(content, comment, pieces, tuple(dict.fromkeys(section for section, _ in found)))

    def state(self) -> State:
        """What it says, the caller's own."""
        return State.from_dict(_record(self._pieces))

    def after(self, state: State) -> Version:
        """The version that says what `state` says, this one where that is the same; `Broken` where it keeps no rule."""
        found = {place: self._piece(place, value) for place, value in _places(state.record)}
        if found == self._pieces:
            return self
        _check_shape(found, self._pieces)
        pieces = _checked(state, found, self._pieces)
        for place, piece in pieces.items():
            if not piece.text:
                pieces[place] = Piece(_written(place, piece.value), piece.value, piece.holdings)
        return Version(_joined(self._comment, pieces).encode(), self._comment, pieces)

    def _piece(self, place: Place, value: Any) -> Piece:
        known = self._pieces.get(place)
        same = known is not None and (known.value is value or known.value == value)
        return known if known and same else Piece("", value)


def _read_whole(whole: str) -> tuple[Pieces, dict[Place, Piece], str]:
    record = text.parsed(whole)
    try:
        schema.check(record)
        found = {place: Piece("", value) for place, value in _places(record)}
        return found, _checked(State.from_dict(record), found, {}), text.leading_comment(whole)
    except Broken as fault:
        raise Unreadable(str(fault), text.line_of(whole, fault)) from fault


def _checked(state: State, found: Pieces, before: Pieces) -> dict[Place, Piece]:
    """The pieces of `state`, whose texts are those of `found`; `Broken` where it does not keep the rules."""
    fresh = _fresh(found, before)
    internet = ("internet", None)  # which has a say in each slice, also where it is left out
    every = found.get(internet) is not before.get(internet)
    rules.check(state, None if every else {int(key) for section, key in fresh if section == "slices" and key})
    holdings = state.slices.holdings
    pieces = {}
    for place, value in _places(state.record):
        section, key = place
        piece = found.get(place) or Piece("", value)
        if place in fresh:
            piece = Piece(piece.text, value, holdings[int(key)] if section == "slices" and key else None)
        pieces[place] = piece
    return pieces


def _check_shape(found: Pieces, before: Pieces) -> None:
    schema.check({"users": {}} | _record(_fresh(found, before)))


def _fresh(found: Pieces, before: Pieces) -> Pieces:
    return {place: piece for place, piece in found.items() if piece is not before.get(place)}


# --- From the text to its pieces, and back ----------------------------------------------------------------------------


def _found(comment: str, body: str, before: Pieces) -> Pieces:
    """The pieces of a file, those of `before` where the text is the same; `Unreadable` where it cannot be cut."""
    if _UNSEEN.search(comment):
        raise _uncut()
    known = {(place[0], piece.text): (place, piece) for place, piece in before.items() if piece.text}
    found: dict[Place, Piece] = {}
    for section, is_entry, part in _cut(body):
        same = known.get((section, part))
        for place, piece in [same] if same else _read_piece(section, part, is_entry=is_entry):
            if place in found:
                raise _uncut()
            found[place] = piece
    if not any(section == "users" for section, _ in found):
        raise _uncut()
    return found


def _cut(body: str) -> Iterator[tuple[str, bool, str]]:
    """Section, whether it is an entry of it, and its text, one after the other; together they are `body`."""
    seen = set()
    for part in _parts(_SECTION, body):
        name = _NAME.match(part)
        if not name or name[1] in seen:
            raise _uncut()
        seen.add(name[1])
        head, *entries = _parts(_ENTRY, part)
        if entries and name[1] in ENTRIES and head == f"{name[1]}:\n":
            yield from ((name[1], True, entry) for entry in entries)
        else:
            yield name[1], False, part


def _parts(border: re.Pattern[str], whole: str) -> Iterator[str]:
    borders = (0, *(match.end() for match in border.finditer(whole)), len(whole))
    return (whole[begin:end] for begin, end in pairwise(borders))


def _read_piece(section: str, part: str, *, is_entry: bool) -> Iterator[tuple[Place, Piece]]:
    if _UNSEEN.search(part):
        raise _uncut()
    record = text.parsed(part)
    if not isinstance(record, dict) or len(record) != 1:
        raise _uncut()
    ((name, value),) = record.items()
    kept = part if part.endswith("\n") else ""
    if is_entry:
        yield (section, name), Piece(kept, value)
    elif name != section:
        raise _uncut()
    elif section in ENTRIES and value:
        yield from ((place, Piece("", entry)) for place, entry in _places(record))
    else:
        yield (section, None), Piece(kept, value)


def _uncut() -> Unreadable:
    return Unreadable("is not laid out in pieces", 1)


def _joined(comment: str, pieces: Pieces) -> str:
    parts, begun = [comment], ""
    for (section, key), piece in pieces.items():
        if key is not None and section != begun:
            parts.append(f"{section}:\n")
            begun = section
        parts.append(piece.text)
    return "".join(parts)


def _written(place: Place, value: Any) -> str:
    section, key = place
    if key is None:
        return text.written({section: value})
    return text.written({section: {key: value}}).partition("\n")[2]


# --- From a record to its pieces, and back ----------------------------------------------------------------------------


def _places(record: Record) -> Iterator[tuple[Place, Any]]:
    for section, value in record.items():
        if section in ENTRIES and value and isinstance(value, dict):
            yield from (((section, key), entry) for key, entry in value.items())
        else:
            yield (section, None), value


def _record(pieces: Pieces) -> Record:
    record: Record = {}
    for (section, key), piece in pieces.items():
        value = Kept(piece.value, piece.holdings) if piece.holdings else piece.value
        if key is None:
            record[section] = value
        else:
            record.setdefault(section, {})[key] = value
    return record
