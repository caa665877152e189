"""Where the menu writes: lines, views and raw bytes; in colour on a terminal, as plain lines everywhere else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Protocol, TextIO

from menu import draw
from menu.lines import Line

BAD = "bold red"
GOOD = "green"
WARNING = "yellow"
PIPE_WIDTH = 80
"""Columns where no terminal says how many it has."""

NARROWEST_FRAME = 20
"""Columns; on fewer, frames and columns of tables would vanish."""


class OutputLost(Exception):
    """Nobody reads what we write any more: the pipe is broken, the terminal closed, the disk full."""


@contextmanager
def lost_output() -> Iterator[None]:
    """Turn a write that fails, also because the stream was closed meanwhile, into `OutputLost`."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise OutputLost(str(error)) from error


class View(Protocol):
    """Something to show, as twins with the same facts: drawn for a terminal, lines for everything else."""

    def drawn(self) -> draw.RenderableType:
        """What rich draws on a terminal."""

    def lines(self) -> list[str]:
        """Plain lines, stable for scripts."""


class Screen:
    """Standard output. Text from outside is never markup, and its control characters never reach the terminal."""

    def __init__(self, stream: TextIO, *, terminal: bool, width: int | None = None) -> None:
        self.terminal = terminal
        self._stream = stream
        self._width = width

    @cached_property
    def console(self) -> draw.Console:
        """Where rich draws."""
        return draw.Console(
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
        return self._stream.encoding.lower().replace("-", "") == "utf8"

    @property
    def draws(self) -> bool:
        """Return whether a terminal that obeys control sequences shows the output, wherever the input comes from."""
        try:
            return on_terminal(self._stream.fileno())
        except (OSError, ValueError):  # a stream in memory, or a closed one
            return False

    def line(self, text: str = "", style: str = "") -> None:
        """Write one line; `style` counts on a terminal only."""
        if self.terminal:
            with lost_output():
                self.console.print(draw.Text(clean(text), style), soft_wrap=True)
        else:
            self._write(clean(text) + "\n")

    def error(self, sentence: str) -> None:
        """Say what did not work."""
        self.line(f"Error: {sentence}", BAD)

    def prompt(self, text: str) -> None:
        """Write a prompt, after which the answer follows."""
        self._write(text)

    def data(self, text: str) -> None:
        """Write text as it is: data for a file, without control characters."""
        self._write(text)

    def show(self, view: View) -> None:
        """Show a view in the form that suits where it goes; a terminal too narrow for frames gets the plain lines."""
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
                self.console.print(draw.Text.assemble(*parts), soft_wrap=True)

    def raw(self, output: bytes) -> None:
        """Pass bytes through as they are: what a guest's console sends is meant for the terminal itself."""
        with lost_output():
            self._stream.flush()
            self._stream.buffer.write(output)
            self._stream.buffer.flush()

    def between(self, sentence: str) -> None:
        """Write a line of ours between what a guest writes, in the raw mode of a terminal."""
        self.raw(f"\r\n{clean(sentence)}\r\n".encode())

    def waiting(self, sentence: str) -> AbstractContextManager[object]:
        """Show that something takes a moment, on a terminal."""
        return self.console.status(draw.Text(sentence)) if self.terminal else nullcontext()

    def _write(self, text: str) -> None:
        with lost_output():
            self._stream.write(text)
            self._stream.flush()


def clean(text: str) -> str:
    """`text` as one line without control characters, whatever a file or a host put into it."""
    return "".join(character if character.isprintable() else _stand_in(character) for character in text)


def with_tabs(text: str) -> str:
    """Return `text` as `clean` does, but with its tabs: they count in the text of a file."""
    return "\t".join(map(clean, text.split("\t")))


def on_terminal(*descriptors: int) -> bool:
    """Whether all of these are a terminal that can move its cursor."""
    return os.environ.get("TERM") != "dumb" and all(os.isatty(descriptor) for descriptor in descriptors)


def _stand_in(character: str) -> str:
    return " " if character.isspace() else "?"
