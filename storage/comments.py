"""Comments of the operator in `database.yaml`, and the other text around its pieces, which a change must not lose."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from storage import text
from storage.text import Unreadable

_LINE = re.compile(r"[^\n]*\n?")
_KEY = re.compile(r"( *)(?:- )?([\w.-]+|'[^']*'|\"[^\"]*\"):(?=[ \t\r\n]|$)")
_END = re.compile(r"^\.\.\.(?=[ \t\r\n]|\Z)", re.MULTILINE)
_AFTER_END = re.compile(r"\.\.\.[ \t]*(?:#[^\r\n]*)?(?:\r?\n[ \t]*(?:#[^\r\n]*)?)*")
_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")


@dataclass(frozen=True)
class Layout:
    """The layout of a file around its pieces.

    `prologue` is what stands before the first section: comments, and perhaps a line `---`; `epilogue` a line `...` and
    what follows it. `newline` ends lines. `heads` are the first lines of sections that have entries, where they say
    more than the name; `indents` how far their entries stand in, where not by two.
    """

    prologue: str = ""
    epilogue: str = ""
    newline: str = "\n"
    heads: Mapping[str, str] = field(default_factory=dict)
    indents: Mapping[str, int] = field(default_factory=dict)

    def head(self, section: str) -> str:
        """Return the lines before the first entry of a section."""
        return self.heads.get(section, f"{section}:{self.newline}")

    def fitted(self, section: str, key: str, written: str) -> str:
        """Return the text of a piece with the indentation and the line ends of this file."""
        indent = self.indents.get(section, 2)
        if key and indent != 2:
            written = re.sub("(?m)^  ", " " * indent, written)
        return written.replace("\n", self.newline)


_PLAIN = Layout()
_X = {"x": 1}


def split(whole: str, known: Layout = _PLAIN) -> tuple[Layout, str]:
    """Return the layout of a file, without its heads, and what is between prologue and epilogue.

    What was read before, in the version with the layout `known`, is not read again.
    """
    openings = (text.opening(whole), text.leading_comment(whole))
    prologue = next((each for each in openings if each == known.prologue or _reads_as(f"{each}x: 1\n", _X)), "")
    body, epilogue = whole[len(prologue) :], ""
    for found in _END.finditer(body):
        epilogue = body[found.start() :]
    if epilogue != known.epilogue and not (_AFTER_END.fullmatch(epilogue) and _reads_as(f"x: 1\n{epilogue}", _X)):
        epilogue = ""
    first = _BREAK.search(whole)
    newline = "\r\n" if first and first[0] == "\r\n" else "\n"
    return Layout(prologue, epilogue, newline), body[: len(body) - len(epilogue)]


def tail(part: str) -> str:
    """Return the comments and blank lines at the end of a piece: they are about what comes next."""
    lines = _LINE.findall(part)
    begin = len(part)
    for line in reversed(lines):
        if line.strip(" \t\r\n") and not line.lstrip(" \t").startswith("#"):
            break
        begin -= len(line)
    without = part[:begin]
    if begin == len(part) or (without and _reads_as(without, text.parsed(part))):
        return part[begin:]
    return ""  # they are lines of a text


def carried(old: str, fresh: str) -> str:
    """Return the piece `fresh`, which takes the place of `old`, with the comments of that.

    A comment stays at its key, or above it, where there is just one of that name in both; else it follows the piece.
    Only one beside a value that changes goes.
    """
    end = tail(old)
    if "#" not in old.removesuffix(end):
        return fresh + end
    notes = _Notes(old.removesuffix(end))
    with_notes = "".join(notes.placed(fresh))
    if not _reads_as(with_notes, text.parsed(fresh)):
        notes = _Notes(old.removesuffix(end))
        with_notes = fresh
    newline = "\r\n" if fresh.endswith("\r\n") else "\n"
    return with_notes + "".join(f"  {comment}{newline}" for comment in notes.left()) + end


def require_kept(whole: str, begin: int, part: str) -> None:
    """Raise `Unreadable` where a part of the file, which the next change writes again, has a comment."""
    found = next(text.comments(part), None) if "#" in part else None
    if found:
        raise Unreadable(
            "a comment here would be lost at the next change, as this part is not laid out like the shipped file: lay "
            "it out so, or remove the comment",
            len(_BREAK.findall(whole, 0, begin + found[0])) + 1,
        )


class _Notes:
    """The comments of a piece, by the keys beside them."""

    def __init__(self, old: str) -> None:
        ends = dict(text.comments(old))
        self._above: dict[str, list[str]] = {}
        self._beside: dict[str, tuple[str, str]] = {}
        self._loose: list[str] = []
        keys, pending, end = _unique_keys(old), list[str](), 0
        for number, line in enumerate(_LINE.findall(old)):
            begin, end = end, end + len(line)
            note = next((place for place in ends if begin <= place < end), None)
            content = line if note is None else old[begin:note]
            comment = "" if note is None else old[note : ends[note]].rstrip("\r")
            if comment and not content.strip(" \t"):
                pending.append(content + comment)
            elif number in keys:
                self._above[keys[number]], pending = pending, []
                if comment:
                    self._beside[keys[number]] = content, comment
            elif comment:
                self._loose.append(comment)
        self._loose += [comment.strip() for comment in pending]

    def placed(self, fresh: str) -> Iterator[str]:
        """Yield the lines of `fresh` with the comments at their keys; those are taken out here.

        One beside a value that changes is about the old value, and goes.
        """
        keys = _unique_keys(fresh)
        for number, line in enumerate(_LINE.findall(fresh)):
            content = line.rstrip("\r\n")
            end = line[len(content) :]
            yield from (f"{comment}{end}" for comment in self._above.pop(keys.get(number, ""), ()))
            before, comment = self._beside.pop(keys.get(number, ""), ("", ""))
            yield f"{content}  {comment}{end}" if comment and _say_the_same(before, content) else line

    def left(self) -> Iterator[str]:
        """Yield the comments that have no place."""
        above = [comment.strip() for comments in self._above.values() for comment in comments]
        beside = [comment for _, comment in self._beside.values()]
        yield from (*above, *beside, *self._loose)


def _unique_keys(piece: str) -> dict[int, str]:
    """Return the key of each line of a piece, by its number, where no other line has a key of this name."""
    found = [(number, match) for number, line in enumerate(_LINE.findall(piece)) if (match := _KEY.match(line))]
    names = [match[2] for _, match in found]
    return {number: match[2] for number, match in found if names.count(match[2]) == 1}


def _say_the_same(one: str, other: str) -> bool:
    """Return whether two lines have the same value, or neither has one of its own."""
    try:
        (before,), (after,) = (text.parsed(line.strip(" \t-")).values() for line in (one, other))
    except (Unreadable, AttributeError, ValueError):
        return False
    return bool(before == after or not (before or after))


def _reads_as(whole: str, value: object) -> bool:
    try:
        found: object = text.parsed(whole)
    except Unreadable:
        return False
    return found == value
