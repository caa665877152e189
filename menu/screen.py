"""Write lines, views and raw bytes: in colour on a terminal, as plain lines everywhere else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Protocol, TextIO

from menu import rich_parts
from menu.lines import Line

BAD = "bold red"
GOOD = "green"
WARNING = "yellow"
PIPE_WIDTH = 80
"""Columns where no terminal says how many it has."""

NARROWEST_FRAME = 20
"""The fewest columns for frames and tables. On fewer, they would vanish."""


class OutputLost(Exception):
    """The output is lost: the pipe is broken, the terminal closed, or the disk full."""


@contextmanager
def lost_output() -> Iterator[None]:
    """Raise `OutputLost` for a write that fails, or for a closed stream."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise OutputLost(str(error)) from error


class View(Protocol):
    """A picture and plain lines with the same facts, for a terminal and for other output."""

    def drawn(self) -> rich_parts.RenderableType:
        """Return the picture that rich draws on a terminal."""

    def lines(self) -> list[str]:
        """Return plain lines, stable for scripts."""


class Screen:
    """Standard output. Text from files and hosts is no markup, and its control characters are removed."""

    def __init__(self, stream: TextIO, *, terminal: bool, width: int | None = None) -> None:
        self.terminal = terminal
        self._stream = stream
        self._width = width

    @cached_property
    def console(self) -> rich_parts.Console:
        """Return the console on which rich draws."""
        return rich_parts.Console(
            file=self._stream,
            force_terminal=self.terminal,
            width=self._width,
            markup=False,
            emoji=False,
            highlight=False,
        )

    @property
    def is_utf8(self) -> bool:
        """Return whether the stream writes UTF-8."""
        return (self._stream.encoding or "utf-8").lower().replace("-", "") == "utf8"

    @property
    def draws(self) -> bool:
        """Return whether the output goes to a terminal with control sequences. The input may be a pipe."""
        try:
            return on_terminal(self._stream.fileno())
        except (OSError, ValueError):  # a stream in memory, or a closed one
            return False

    def line(self, text: str = "", style: str = "") -> None:
        """Write one line. `style` is used on a terminal only."""
        if self.terminal:
            with lost_output():
                self.console.print(rich_parts.Text(clean(text), style), soft_wrap=True)
        else:
            self._write(clean(text) + "\n")

    def error(self, sentence: str) -> None:
        """Write an error as one line."""
        self.line(f"Error: {sentence}", BAD)

    def prompt(self, text: str) -> None:
        """Write a prompt without the end of the line."""
        self._write(text)

    def data(self, text: str) -> None:
        """Write text as it is: data for a file, without control characters."""
        self._write(text)

    def show(self, view: View) -> None:
        """Show the picture of a view on a terminal, else its plain lines. A narrow terminal gets plain lines too."""
        if not self.terminal:
            self._write("".join(clean(line) + "\n" for line in view.lines()))
        elif self.console.width < NARROWEST_FRAME:
            for line in view.lines():
                self.line(line)
        else:
            with lost_output():
                self.console.print(view.drawn())

    def show_lines(self, lines: Callable[[int], Iterable[Line]]) -> None:
        """Show lines that are made for the width at hand; a terminal breaks those that are longer, without a cut."""
        if not self.terminal:
            self._write("".join(f"{with_tabs(each.text)}\n" for each in lines(PIPE_WIDTH)))
            return
        with lost_output():
            for each in lines(self.console.width):
                parts = ((with_tabs(text), style) for text, style in each.parts)
                self.console.print(rich_parts.Text.assemble(*parts), soft_wrap=True)

    def raw(self, output: bytes) -> None:
        """Write bytes unchanged, because a guest's console writes control sequences for the terminal."""
        with lost_output():
            self._stream.flush()
            self._stream.buffer.write(output)
            self._stream.buffer.flush()

    def between(self, sentence: str) -> None:
        """Write a line of ours into a guest's output, while the terminal is in raw mode."""
        self.raw(f"\r\n{clean(sentence)}\r\n".encode())

    @contextmanager
    def waiting(self, sentence: str) -> Iterator[None]:
        """Show a sentence on a terminal while the body runs."""
        if not self.terminal:
            yield
            return
        status = self.console.status(rich_parts.Text(sentence))
        with lost_output():
            status.start()
        try:
            yield
        finally:
            with lost_output():
                status.stop()

    def _write(self, text: str) -> None:
        with lost_output():
            self._stream.write(text)
            self._stream.flush()


def clean(text: str) -> str:
    """Return `text` as one line without control characters."""
    return "".join(character if character.isprintable() else _stand_in(character) for character in text)


def with_tabs(text: str) -> str:
    """Return `text` as `clean` does, but with its tabs: they count in the text of a file."""
    return "\t".join(map(clean, text.split("\t")))


def on_terminal(*descriptors: int) -> bool:
    """Return whether all descriptors are a terminal that can move its cursor."""
    return os.environ.get("TERM") != "dumb" and all(os.isatty(descriptor) for descriptor in descriptors)


def _stand_in(character: str) -> str:
    return " " if character.isspace() else "?"
