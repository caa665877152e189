"""Write the page of commands: every command and option of `cli.py`, from its parser."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from pathlib import Path

from docs.reference.markdown import code, page, table
from menu.arguments import parser, restricted_parser

_INTRODUCTION = """
`python3 cli.py [--database FILE] [--user NAME] [--as USER] [COMMAND ...]`. Without a command the menu opens
([user-guide.md](../user-guide.md)). The commands are for operators ([operations.md](../operations.md)).
[exit-statuses.md](exit-statuses.md) says what they return.
"""

_FOR_STUDENTS = """
Students have some of them as `ssh cloud@manager COMMAND` ([students-over-ssh.md](../students-over-ssh.md)). There
`--as` and `--database` do not exist, and every file is `-`:

```
{}
```
"""


def commands_page() -> str:
    """Return the page."""
    whole = parser(Path("database.yaml"))
    theirs = textwrap.fill(", ".join(name for name, _ in leaves(restricted_parser())), 100)
    sections = [
        part for name, command in leaves(whole) for part in (f"## cli.py {name}".rstrip(), *_section(name, command))
    ]
    return page("Commands", _INTRODUCTION, _FOR_STUDENTS.format(theirs), *sections)


def leaves(command: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield the command and all commands below it by their words; a command that needs an action is left out."""
    below = [action for action in command._actions if isinstance(action, argparse._SubParsersAction)]
    if not any(action.required for action in below):
        yield name, command
    for action in below:
        for word, inner in action.choices.items():
            yield from leaves(inner, f"{name} {word}".lstrip())


def _section(name: str, command: argparse.ArgumentParser) -> Iterator[str]:
    actions = [action for action in command._actions if not isinstance(action, argparse._SubParsersAction)]
    shown = [action for action in actions if action.help != argparse.SUPPRESS and action.dest != "help"]
    yield f"`{' '.join(filter(None, ('python3 cli.py', name, *map(_usage, shown))))}`"
    yield command.description or ""
    if shown:
        yield table(("argument", "meaning"), ((code(_title(action)), action.help or "") for action in shown))


def _usage(action: argparse.Action) -> str:
    title = _title(action)
    return title if action.required else f"[{title}]"


def _title(action: argparse.Action) -> str:
    """Return how the argument is typed, such as `--quota N`."""
    value = "" if action.nargs == 0 else str(action.metavar or action.dest.upper())
    return " ".join(filter(None, (*action.option_strings[:1], value)))
