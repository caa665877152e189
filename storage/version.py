"""A version of `database.yaml`, in pieces. A piece that was read and checked once is not read or written again.

A piece is a section of the file, or an entry of one that may have many: a user, a slice. Its text is YAML by itself and
means the same at any place. So a file costs only the pieces in which it differs from a known one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

from core.rule import Broken, Record
from storage import comments, rules, schema, text
from storage.comments import Layout
from storage.pieces import GONE, Changes, Place, changes_of, check_rules, check_shape, held
from storage.state import ENTRIES, SECTIONS, Kept, State, entries_of, record_of
from storage.text import Unreadable

_SECTION = re.compile(r"\n(?=[\w'\"])")
_FIRST_ENTRY = re.compile(r"\n( +)(?=[\w'\"])")
_NAME = re.compile(r"(\w+):")
_HEAD = re.compile(r"\w+:[ \t]*(?:#[^\n]*)?\r?\n(?:[ \t]*(?:#[^\n]*)?\r?\n)*")
_UNSEEN = re.compile(
    r"[^\t\r\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
    r"|\r(?!\n)|\n(?:---|\.\.\.)"
)
"""Marks that a cut does not look for: ends of lines other than those of Unix and Windows, and ends of documents."""


@dataclass(frozen=True)
class Piece(Kept):
    """`value` as `State` has it, and `text` as it stands in the file, or b"" where it is not by itself there."""

    text: bytes = b""


_Texts = Mapping[str, Mapping[str, Piece]]
"""By section and key."""


@dataclass
class _Cut:
    """The parts that were found in a file, their layout, and the places of parts without a text of their own."""

    found: dict[Place, Piece]
    layout: Layout
    again: list[tuple[int, str]]


class Version:
    """A file that keeps all the rules: its `content`, and the sections that are `there`.

    It knows the settings with which its slices were made, from this file or from a version that was read before it.
    """

    def __init__(
        self, content: bytes, layout: Layout, pieces: _Texts, in_use: Record, there: tuple[str, ...] = SECTIONS
    ) -> None:
        self.content = content
        self.there = there
        self._in_use = in_use
        self._layout = layout
        self._pieces = pieces

    @classmethod
    def read(cls, content: bytes, known: Version | None = None) -> Version:
        """Return the version in a file; `Unreadable` where there is none, or where a change would lose a comment.

        The pieces that `known` has as well are not read.
        """
        before = known._pieces if known else {}
        in_use = known._in_use if known else {}
        try:
            whole = content.decode("utf-8-sig")
            cut = _found(whole, before, known._layout if known else Layout())
            changes = _news(cut.found, before)
            check_shape(changes)
            pieces = _settled(cut.found, before, changes, in_use)
        except (UnicodeDecodeError, Unreadable, Broken):
            # Laid out in another way, or wrong: only the whole of it can tell, and the line.
            whole = text.decoded(content)
            cut, pieces = _read_whole(whole, in_use)
        for begin, part in cut.again:
            comments.require_kept(whole, begin, part)
        there = tuple(dict.fromkeys(section for section, _ in cut.found))
        return cls(content, cut.layout, pieces, _in_use(pieces, in_use), there)

    @classmethod
    def first(cls, state: State) -> Version:
        """Return the version of a new file with this state; raise `Broken` for a broken rule."""
        return cls(b"", Layout(), {}, {}).after(state)

    def state(self) -> State:
        """Return the state of this version, in objects that only the caller has."""
        return State.of_kept(self._pieces)

    def after(self, state: State) -> Version:
        """Return the version with the content of `state`, or this one. Raise `Broken` for a broken rule."""
        before = self._pieces
        changes = changes_of(before, state, self._in_use)
        if not changes:
            return self
        pieces = {section: dict(before.get(section, {})) for section in state.sections}
        for (section, key), value in changes.items():
            if value is not GONE:
                pieces[section][key] = Piece(value, held(state, section, key))
            elif section in pieces:
                del pieces[section][key]
        layout = self._layout
        for section, entries in pieces.items():
            known = before.get(section, {})
            if entries.keys() != known.keys() or not all(piece.text for piece in entries.values()):
                layout = _write(layout, section, entries, known)
        for (_, earlier), (section, entries) in pairwise(pieces.items()):
            if section not in before:
                _move_comments(earlier, entries)
        return Version(_joined(layout, pieces), layout, pieces, state.in_use or {})


# --- From what was found to what is kept ------------------------------------------------------------------------------


def _read_whole(whole: str, in_use: Record) -> tuple[_Cut, _Texts]:
    layout, body = comments.split(whole)
    record = text.parsed(whole)
    try:
        schema.check(record)
        found = {place: Piece(value) for place, value in _places(record)}
        again = [(len(layout.prologue), body)]
        return _Cut(found, layout, again), _settled(found, {}, _news(found, {}), in_use)
    except Broken as fault:
        go_back = not isinstance(fault, rules.OtherInUse)  # the last change is good, and would be lost
        raise Unreadable(str(fault), text.line_of(whole, fault), go_back=go_back) from fault


def _news(found: Mapping[Place, Piece], before: _Texts) -> Changes:
    """Return the places with another value than before."""
    known = {(section, key): piece for section, entries in before.items() for key, piece in entries.items()}
    gone = {place: GONE for place in known if place not in found}
    return gone | {place: piece.value for place, piece in found.items() if piece is not known.get(place)}


def _in_use(pieces: _Texts, before: Record) -> Record:
    """Return the settings that the file's slices were made with. For keys that it leaves out, `before` has them."""
    has_slices = any(pieces.get("slices", {}))
    own = pieces["in_use"][""].value if "in_use" in pieces else {}
    return (before if has_slices else {}) | own


def _settled(found: Mapping[Place, Piece], before: _Texts, changes: Changes, in_use: Record) -> _Texts:
    """Return the pieces with the values of the state, defaults included. Raise `Broken` for a broken rule."""
    pieces: dict[str, dict[str, Piece]] = {}
    for (section, key), piece in found.items():
        pieces.setdefault(section, {})[key] = piece
    state = State.of_kept(pieces)
    rules.check_in_use(state, _in_use(pieces, in_use))
    check_rules(state, before, changes)
    settled = {}
    for section, value in state.sections.items():
        there, entries = pieces.get(section, {}), entries_of(section, value)
        settled[section] = {
            key: Piece(record_of(entries[key]), held(state, section, key), there[key].text if key in there else b"")
            if key not in there or (section, key) in changes
            else there[key]
            for key in entries
        }
    return settled


# --- From the text to its pieces, and back ----------------------------------------------------------------------------


def _found(whole: str, before: _Texts, layout: Layout) -> _Cut:
    """Return the pieces of a file, those of `before` where the text is the same; `Unreadable` where they overlap."""
    layout, body = comments.split(whole, layout)
    if text.has_junk(layout.prologue) or text.has_junk(layout.epilogue):
        raise _uncut()
    known = {
        (section, piece.text): ((section, key), piece)
        for section, entries in before.items()
        for key, piece in entries.items()
        if piece.text
    }
    cut = _Cut({}, layout, [])
    heads, indents = dict[str, str](), dict[str, int]()
    at = len(layout.prologue)
    for section, is_entry, part, *indent in _cut(body):
        if any(indent):
            heads[section], indents[section] = part, indent[0]
        else:
            same = known.get((section, part.encode()))
            pieces = [same] if same else list(_read_piece(section, part, layout.newline, is_entry=is_entry))
            for place, piece in pieces:
                if place in cut.found:
                    raise _uncut()
                cut.found[place] = piece
            if not all(piece.text for _, piece in pieces):
                cut.again.append((at, part))
        at += len(part)
    if not any(section == "users" for section, _ in cut.found):
        raise _uncut()
    cut.layout = replace(layout, heads=heads, indents=indents)
    return cut


class _Part(NamedTuple):
    """A part of a file's text: a section, one of its entries, or the head before these, which says their `indent`."""

    section: str
    is_entry: bool
    text: str
    indent: int = 0


def _cut(body: str) -> Iterator[_Part]:
    """Yield the parts of a file one after the other; together they are `body`."""
    seen = set()
    for part in _parts(_SECTION, body):
        name = _NAME.match(part)
        if not name or name[1] in seen:
            raise _uncut()
        section = name[1]
        seen.add(section)
        first = _FIRST_ENTRY.search(part) if section in ENTRIES else None
        if first and _is_head(section, part[: first.start() + 1]):
            indent = len(first[1])
            yield _Part(section, is_entry=False, text=part[: first.start() + 1], indent=indent)
            border = re.compile(rf"\n(?= {{{indent}}}[\w'\"])")
            entries = _parts(border, part[first.start() + 1 :])
            yield from (_Part(section, is_entry=True, text=entry) for entry in entries)
        else:
            yield _Part(section, is_entry=False, text=part)


def _is_head(section: str, head: str) -> bool:
    if head == f"{section}:\n":
        return True
    return bool(_HEAD.fullmatch(head)) and not _UNSEEN.search(head) and text.parsed(head) == {section: None}


def _parts(border: re.Pattern[str], whole: str) -> Iterator[str]:
    borders = (0, *(match.end() for match in border.finditer(whole)), len(whole))
    return (whole[begin:end] for begin, end in pairwise(borders))


def _read_piece(section: str, part: str, newline: str, *, is_entry: bool) -> Iterator[tuple[Place, Piece]]:
    if _UNSEEN.search(part):
        raise _uncut()
    record = text.parsed(part)
    if not isinstance(record, dict) or len(record) != 1:
        raise _uncut()
    ((name, value),) = record.items()
    ended = part if part.endswith("\n") else f"{part}{newline}"  # the last line of a file
    kept = ended.encode() if ended == part or text.parsed(ended) == record else b""
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


def _joined(layout: Layout, pieces: _Texts) -> bytes:
    parts = [layout.prologue.encode()]
    for section, entries in pieces.items():
        if "" not in entries:
            parts.append(layout.head(section).encode())
        parts += [piece.text for piece in entries.values()]
    return b"".join((*parts, layout.epilogue.encode()))


def _write(layout: Layout, section: str, entries: dict[str, Piece], old: Mapping[str, Piece]) -> Layout:
    """Give each piece of a section that has none its text, and keep the comments of those whose place it takes."""
    layout, loose = _comments_of_gone(layout, section, entries, old)
    for key, piece in entries.items():
        found = piece.text
        if not found:
            fresh = layout.fitted(section, key, _written(section, key, piece.value))
            before = old[key].text.decode() if key in old else ""
            if not key and "" not in old and old:  # there are no entries any more
                before = layout.head(section)
            found = comments.carried(before, fresh).encode()
        if key in loose or not piece.text:
            entries[key] = replace(piece, text=found + loose.get(key, "").encode())
    return layout


def _comments_of_gone(
    layout: Layout, section: str, entries: dict[str, Piece], old: Mapping[str, Piece]
) -> tuple[Layout, dict[str, str]]:
    """Return the layout with the comments behind pieces that are gone in the section's head, and others by their key.

    A comment behind a piece is about the next one: it stays behind the piece before, or in the head.
    """
    heads, loose = dict(layout.heads), dict[str, str]()
    last = "" if "" in entries else None
    for key, piece in old.items():
        if key in entries:
            last = key
            continue
        end = comments.tail(piece.text.decode())
        if not key:  # the section had no entries, and has some now
            heads[section] = comments.carried(piece.text.decode().removesuffix(end), f"{section}:{layout.newline}")
            last = next(reversed(entries), None)
        if end and last is None:
            heads[section] = heads.get(section, f"{section}:{layout.newline}") + end
        elif end and last is not None:
            loose[last] = loose.get(last, "") + end
    return replace(layout, heads=heads), loose


def _move_comments(earlier: dict[str, Piece], entries: dict[str, Piece]) -> None:
    """Move the comments behind a section behind the new one after it, for they are about what follows that."""
    above, below = next(reversed(earlier)), next(reversed(entries))
    end = comments.tail(earlier[above].text.decode()).encode()
    earlier[above] = replace(earlier[above], text=earlier[above].text.removesuffix(end))
    entries[below] = replace(entries[below], text=entries[below].text + end)


def _written(section: str, key: str, value: Any) -> str:
    if not key:
        return text.written({section: value})
    return text.written({section: {key: value}}).partition("\n")[2]


# --- From a record to its places --------------------------------------------------------------------------------------


def _places(record: Record) -> Iterator[tuple[Place, Any]]:
    for section, value in record.items():
        yield from (((section, key), entry) for key, entry in entries_of(section, value).items())
