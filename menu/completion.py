"""Write completion for bash and zsh: commands, options and their words, all from the parser's table.

The scripts are templates in `shell/completion/`, with a function that both shells read (`words`). A word of a template
such as `@VALUED@` stands for what is made here.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from remote.plan import shell as line_of
from shell.scripts import FOLDER

SHELLS = ("bash", "zsh")
NAME = "cli.py"

KINDS = {"SLICE": "slices", "SLICE|FILE": "slices", "VM": "vms", "END": "vms"}
"""The arguments whose words are names in the state: the scripts ask the command `names` for them."""

_INDENT = "\n        "


@dataclass(frozen=True)
class _Option:
    """An option with one of its names. `choices`: the words that its value may be; `file`: its value is a path."""

    name: str
    help: str
    has_value: bool
    choices: tuple[str, ...]
    file: bool


@dataclass(frozen=True)
class _Place:
    """A command by its words, such as ` keys add`: what may follow."""

    words: str
    parser: argparse.ArgumentParser

    @cached_property
    def options(self) -> list[_Option]:
        """Return the options, each with all its long names."""
        actions = (action for action in self.parser._actions if action.help != argparse.SUPPRESS)
        return [
            _Option(name, action.help or "", action.nargs != 0, tuple(action.choices or ()), _is_file(action))
            for action in actions
            for name in action.option_strings
            if name.startswith("--")
        ]

    @cached_property
    def names(self) -> dict[str, str]:
        """Return the commands that may follow, or the choices of the first argument, each with its help."""
        first = next((action for action in self.parser._actions if not action.option_strings), None)
        if isinstance(first, argparse._SubParsersAction):
            return {each.dest: each.help or "" for each in first._choices_actions}
        return dict.fromkeys(first.choices, first.help or "") if first and first.choices else {}

    @property
    def kinds(self) -> list[str]:
        """Return the kind of each argument, a value of `KINDS` or `-`; `...` behind the last one repeats it."""
        actions = (action for action in self.parser._actions if not action.option_strings)
        return [
            KINDS.get(str(action.metavar), "-") + ("..." if action.nargs in {"*", "+"} else "") for action in actions
        ]

    @property
    def takes_file(self) -> bool:
        """Return whether an argument may be a path."""
        return any(_is_file(action) for action in self.parser._actions if not action.option_strings)


def completion(shell: str, name: str, parser: argparse.ArgumentParser) -> str:
    """Return the script that completes the words after `name`, for a shell of `SHELLS`."""
    places = [*_places("", parser)]
    options = [(place, option) for place in places for option in place.options if option.has_value]
    parts = {
        "NAME": name,
        "FUNCTION": f"_complete_{re.sub('[^A-Za-z0-9]', '_', name)}",
        "VALUED": _any_of(f"{place.words} {option.name}" for place, option in options),
        "COMMANDS": _any_of(place.words for place in places if place.words),
        "VALUES": _cases((f"{place.words} {option.name}", _value(option)) for place, option in options),
        "WORDS": _cases((place.words, _words(place)) for place in places),
    }
    text = _template(f"completion.{shell}").replace("@SHARED@\n", _template("words"))
    return re.sub("@([A-Z]+)@", lambda found: parts[found[1]], text)


def _template(name: str) -> str:
    return Path(FOLDER, "completion", name).read_text(encoding="utf-8")


def _places(words: str, parser: argparse.ArgumentParser) -> Iterator[_Place]:
    """Yield a command and all commands below it."""
    yield _Place(words, parser)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from _places(f"{words} {name}", below)


def _is_file(action: argparse.Action) -> bool:
    return "FILE" in str(action.metavar) or action.metavar == "PATH"


def _cases(cases: Iterable[tuple[str, str]]) -> str:
    """Return the lines of a `case`, from words and what is done for them."""
    found: dict[str, list[str]] = defaultdict(list)
    for words, act in cases:
        found[act].append(words)
    return _INDENT.join(f"{_any_of(words)}) {act} ;;" for act, words in found.items())


def _quoted(word: str) -> str:
    """Return a word as a shell reads it."""
    return line_of((word,))


def _any_of(words: Iterable[str]) -> str:
    return " | ".join(map(_quoted, words))


def _value(option: _Option) -> str:
    """Return what sets the words that may be the value of an option."""
    if option.choices:
        return f"values=({' '.join(map(_quoted, option.choices))}); return"
    return "files=only; return" if option.file else f"message={_quoted(option.help)}; return"


def _words(place: _Place) -> str:
    """Return what sets the words that may follow a command, and the kinds of its arguments."""
    parts = {"names": place.names, "options": {option.name: option.help for option in place.options}}
    arrays = [f"{name}=({_described(each)})" for name, each in parts.items() if each]
    kinds = [f"kinds=({' '.join(place.kinds)})"] if {*place.kinds} & {*KINDS.values()} else []
    return "; ".join([*arrays, *kinds, *(["files=yes"] if place.takes_file else [])])


def _described(words: dict[str, str]) -> str:
    return " ".join(_quoted(f"{word}:{meaning}") for word, meaning in words.items())
