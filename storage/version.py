"""One version of `database.yaml`, in pieces: what was read and checked once is not read again, and not written again.

A piece is a section of the file, or an entry of one that may have many: a user, a slice. Its text is YAML by itself and
means the same wherever it stands, so that a file costs no more than the pieces in which it differs from a known one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from allocation import Holdings
from models import Record
from storage import rules, schema, text
from storage.schema import Broken
from storage.state import ENTRIES, SECTIONS, Entries, Kept, State, entries_of, record_of
from storage.text import Unreadable

Place = tuple[str, str]
"""A section, and the key of an entry in it; "", which is no entry's, stands for a section that is one piece."""

_SECTION = re.compile(r"\n(?=[\w'\"])")
_ENTRY = re.compile(r"\n(?=  [\w'\"])")
_NAME = re.compile(r"(\w+):")
_UNSEEN = re.compile(
    r"[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|\n(?:---|\.\.\.)"
)
"""What a cut does not look for: ends of lines other than ours, and ends of documents."""


@dataclass(frozen=True)
class Piece(Kept):
    """`value` as `State` has it, and `text` as it stands in the file, or b"" where it is not by itself there."""

    text: bytes = b""


Pieces = Mapping[str, Mapping[str, Piece]]
"""By section and key."""

Changes = Mapping[Place, Any]
"""What a version says otherwise than the one before it; `_GONE` where it says nothing any more."""

_GONE = object()


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
            found: Mapping[Place, Piece] = _found(comment, whole[len(comment) :], before)
            changes = _news(found, before)
            _check_shape(changes)
            pieces = _settled(found, before, changes)
        except (UnicodeDecodeError, Unreadable, Broken):
            # Laid out in another way, or wrong: only the whole of it can tell, and the line.
            found, pieces, comment = _read_whole(text.decoded(content))
        return cls(content, comment, pieces, tuple(dict.fromkeys(section for section, _ in found)))

    def state(self) -> State:
        """What it says, the caller's own."""
        return State.of_kept(self._pieces)

    def after(self, state: State) -> Version:
        """The version that says what `state` says, this one where that is the same; `Broken` where it keeps no rule."""
        before, sections = self._pieces, state.sections
        changes = dict(_changes(before, sections))
        if not changes:
            return self
        _check_shape(changes)
        _check_rules(state, before, changes)
        pieces = {section: dict(before.get(section, {})) for section in sections}
        for (section, key), value in changes.items():
            if value is not _GONE:
                pieces[section][key] = Piece(value, _held(state, section, key))
            elif section in pieces:
                del pieces[section][key]
        for section, entries in pieces.items():
            for key, piece in entries.items():
                if not piece.text:
                    entries[key] = replace(piece, text=_written(section, key, piece.value))
        return Version(_joined(self._comment, pieces), self._comment, pieces)


# --- What differs, and whether it may ---------------------------------------------------------------------------------


def _changes(before: Pieces, sections: Mapping[str, Any]) -> Iterator[tuple[Place, Any]]:
    """What `sections` say otherwise; of entries, only those are looked at that somebody had in hand."""
    yield from (((section, ""), _GONE) for section in before if section not in sections)
    for section, value in sections.items():
        known = before.get(section, {})
        entries = entries_of(section, value)
        keys = entries.touched if isinstance(entries, Entries) and entries.kept is known else {**known, **entries}
        for key in keys:
            old = known[key].value if key in known else _GONE
            new = record_of(entries[key]) if key in entries else _GONE
            if new != old:
                yield (section, key), new


def _news(found: Mapping[Place, Piece], before: Pieces) -> Changes:
    """What is read otherwise than before."""
    known = {(section, key): piece for section, entries in before.items() for key, piece in entries.items()}
    gone = {place: _GONE for place in known if place not in found}
    return gone | {place: piece.value for place, piece in found.items() if piece is not known.get(place)}


def _check_shape(changes: Changes) -> None:
    record: Record = {"users": {}}
    for (section, key), value in changes.items():
        if value is _GONE:
            continue
        if key:
            record.setdefault(section, {})[key] = value
        else:
            record[section] = value
    schema.check(record)


def _check_rules(state: State, before: Pieces, changes: Changes) -> None:
    """`Broken` where `state` keeps one of the rules not, while the version before, which differs in this, kept all."""
    if not before or any(section in {"internet", "flavors"} for section, _ in changes):  # they have a say everywhere
        rules.check(state)
        return
    slices, owners = set(), {key for section, key in changes if section == "users"}
    for section, key in changes:
        if section == "slices" and key:
            old, new = before[section].get(key), state.slices.get(int(key))
            if old and old.holdings:
                owners.add(old.holdings.owner)
            if new:
                owners.add(new.owner)
                slices.add(new.slice_id)
    rules.check(state, slices, owners)


# --- From what was found to what is kept ------------------------------------------------------------------------------


def _read_whole(whole: str) -> tuple[Mapping[Place, Piece], Pieces, str]:
    record = text.parsed(whole)
    try:
        schema.check(record)
        found = {place: Piece(value) for place, value in _places(record)}
        return found, _settled(found, {}, _news(found, {})), text.leading_comment(whole)
    except Broken as fault:
        raise Unreadable(str(fault), text.line_of(whole, fault)) from fault


def _settled(found: Mapping[Place, Piece], before: Pieces, changes: Changes) -> Pieces:
    """The pieces with values as the state has them, what is left out included; `Broken` where they keep no rule."""
    pieces: dict[str, dict[str, Piece]] = {}
    for (section, key), piece in found.items():
        pieces.setdefault(section, {})[key] = piece
    state = State.of_kept(pieces)
    _check_rules(state, before, changes)
    settled = {}
    for section, value in state.sections.items():
        there, entries = pieces.get(section, {}), entries_of(section, value)
        settled[section] = {
            key: Piece(record_of(entries[key]), _held(state, section, key), there[key].text if key in there else b"")
            if key not in there or (section, key) in changes
            else there[key]
            for key in entries
        }
    return settled


def _held(state: State, section: str, key: str) -> Holdings | None:
    return state.slices.held(int(key)) if section == "slices" and key else None


# --- From the text to its pieces, and back ----------------------------------------------------------------------------


def _found(comment: str, body: str, before: Pieces) -> dict[Place, Piece]:
    """The pieces of a file, those of `before` where the text is the same; `Unreadable` where it cannot be cut."""
    if _UNSEEN.search(comment):
        raise _uncut()
    known = {
        (section, piece.text): ((section, key), piece)
        for section, entries in before.items()
        for key, piece in entries.items()
        if piece.text
    }
    found: dict[Place, Piece] = {}
    for section, is_entry, part in _cut(body):
        same = known.get((section, part.encode()))
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
    kept = part.encode() if part.endswith("\n") else b""
    if is_entry and name:
        yield (section, name), Piece(value, text=kept)
    elif name != section or (isinstance(value, dict) and "" in value):
        raise _uncut()
    elif section in ENTRIES and value:
        yield from ((place, Piece(entry)) for place, entry in _places(record))
    else:
        yield (section, ""), Piece(value, text=kept)


def _uncut() -> Unreadable:
    return Unreadable("is not laid out in pieces", 1)


def _joined(comment: str, pieces: Pieces) -> bytes:
    parts = [comment.encode()]
    for section, entries in pieces.items():
        if "" not in entries:
            parts.append(f"{section}:\n".encode())
        parts += [piece.text for piece in entries.values()]
    return b"".join(parts)


def _written(section: str, key: str, value: Any) -> bytes:
    if not key:
        return text.written({section: value}).encode()
    return text.written({section: {key: value}}).partition("\n")[2].encode()


# --- From a record to its places --------------------------------------------------------------------------------------


def _places(record: Record) -> Iterator[tuple[Place, Any]]:
    for section, value in record.items():
        yield from (((section, key), entry) for key, entry in entries_of(section, value).items())
