"""Break a command into lines of a given width. A POSIX shell reads them as one command with the same words."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from remote.plan import shell

INDENT = " " * 8
"""The beginning of a line that continues a command."""

_GOES_ON = " \\"


def shell_lines(
    words: Sequence[str], head: str, width: int, starts: Collection[int] = (), ending: str = ""
) -> list[str]:
    """Return the command after `head` in one line, or with a new line at each word in `starts` if it is too long."""
    text = f"{head}{shell(tuple(words))}{ending}"
    if len(text) <= width and "\n" not in text:
        return [text]
    lines = _FilledLines(head, width)
    for place, unit in _units(words):
        lines.add(unit, begins=bool({place, place + len(unit) - 1} & {*starts}))
    return lines.ended(ending)


def _units(words: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the words with their places, an option together with its value."""
    place = 0
    while place < len(words):
        word, following = words[place], words[place + 1 : place + 2]
        has_value = word.startswith("-") and word != "--" and following and not following[0].startswith("-")
        unit = (word, *following) if has_value else (word,)
        yield place, unit
        place += len(unit)


class _FilledLines:
    """Lines that are being filled."""

    def __init__(self, head: str, width: int) -> None:
        self._done: list[str] = []
        self._now = head
        self._is_new = True
        self._width = width

    def add(self, words: tuple[str, ...], *, begins: bool) -> None:
        """Add words to the line, or to a new one where they begin one or have no room."""
        text = shell(words)
        if not self._is_new and (begins or not self._has_room(f" {text}")):
            self._break(INDENT)
        if not self._is_new:
            text = f" {text}"
        if self._has_room(text):
            self._now += text
            self._is_new = False
        elif len(words) > 1:
            for word in words:
                self.add((word,), begins=False)
        else:
            self._split(words[0])

    def ended(self, ending: str) -> list[str]:
        """Return all lines, the last one with `ending`."""
        if not self._has_room(ending):
            self._break(INDENT.removesuffix(" "))
        return [*self._done, self._now + ending]

    def _has_room(self, text: str) -> bool:
        return len(self._now) + len(text) + len(_GOES_ON) <= self._width and "\n" not in text

    def _break(self, indent: str) -> None:
        self._done.append(self._now + _GOES_ON)
        self._now, self._is_new = indent, True

    def _split(self, word: str) -> None:
        """Add a word that is longer than a line, or has several lines.

        At the end of a line the quotes end too. They begin again in the first column, because a space there would end
        the word.
        """
        self._now += "'"
        for number, text in enumerate(word.split("\n")):
            if number:
                self._done.append(self._now)
                self._now = ""
            rest = text
            while len(self._now) + len(_quoted(rest)) + len("'") + len(_GOES_ON) > self._width:
                part = _beginning(rest, self._width - len(self._now) - len("'\\"))
                self._done.append(f"{self._now}{_quoted(part)}'\\")
                self._now, rest = "'", rest.removeprefix(part)
            self._now += _quoted(rest)
        self._now += "'"
        self._is_new = False


def _beginning(text: str, room: int) -> str:
    """Return the longest beginning of a text that fits when quoted, up to a space or a comma if possible."""
    size = max((size for size in range(1, min(len(text), room + 1)) if len(_quoted(text[:size])) <= room), default=1)
    pause = max(text.rfind(mark, 0, size) for mark in " ,") + 1
    return text[: pause if pause > size // 2 else size]


def _quoted(text: str) -> str:
    """Return the text as it stands between single quotes."""
    return text.replace("'", "'\"'\"'")
