"""Share the parts of all command lines: the parser, the actor, and the words that several commands take."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from core.formats import is_snapshot_name, is_valid_name
from menu.prompts import whole_number
from menu.screen import clean
from models import ADMIN

SLICE_HELP = "its id, its name, or the beginning of its name"
VM_HELP = "the VM's id, its name, or the beginning of its name"
SLICE_FILE = ("a slice file", ".yaml", ".yml")
SLICE_FILE_HELP = "a file that ends in .yaml or .yml, or - for input"
MOST_SECONDS = 86_400
"""The longest wait of a command."""

USAGE = 2
"""The exit status of a wrong command line."""


class Parser(argparse.ArgumentParser):
    """A parser that reports an error in one sentence, and accepts no option by its beginning."""

    restricted: ClassVar = False
    help_word = "--help"
    text_after_dashes = ""
    """The argument that gets the words after `--`, as a list; most commands have none."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the arguments and unknown words. No word after `--` is an option, nor is it counted among the others.

        argparse itself would give an argument without words its value before an option, and refuse the words behind.
        """
        if not self.text_after_dashes or "--" not in args:
            return super().parse_known_args(args, namespace)
        at = args.index("--")
        found, unknown = super().parse_known_args(args[:at], namespace)
        setattr(found, self.text_after_dashes, args[at + 1 :])
        return found, unknown

    def path(self, what: str, *endings: str) -> Callable[[str], str]:
        """Return the type of a word that is a path with one of these endings, or `-` for standard input.

        A restricted session reads standard input only: its user has no files here.
        """

        def check(text: str) -> str:
            if text != "-" and self.restricted:
                raise argparse.ArgumentTypeError(f"{what} is - here: send it as input, such as <FILE")
            if text != "-" and not text.endswith(endings):
                known = f"{', '.join(endings[:-1])} or {endings[-1]}"
                raise argparse.ArgumentTypeError(f"{what} ends in {known}; - reads standard input")
            return text

        return check

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with the status of a wrong command line."""
        self.exit(USAGE, f"Error: {clean(message)}; {self.prog} {self.help_word} says more\n")


class RestrictedParser(Parser):
    """A parser for a restricted session, where words name no other user and no path. Its commands get the same."""

    restricted = True


if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Parser]


def add_actor(command: Parser, default: str) -> None:
    """Add the option `--as`, for operators only."""
    if command.restricted:
        return
    command.add_argument(
        "--as",
        metavar="USER",
        type=user_name,
        dest="actor",
        default=default,
        help=f"the user for whom a command about slices works (default: {ADMIN})",
    )


def add_json(command: argparse.ArgumentParser, shape: str, *, instead: Any = None) -> None:
    """Add the option `--json`; `shape` shows the keys of its record. `instead`: a group of which one may be given."""
    (instead or command).add_argument("--json", action="store_true", help=f"as one line of JSON: {shape}")


def add_slice(command: argparse.ArgumentParser) -> None:
    """Add the word SLICE."""
    command.add_argument("slice", metavar="SLICE", type=slice_word, help=SLICE_HELP)


def add_vm(command: argparse.ArgumentParser) -> None:
    """Add the word VM."""
    command.add_argument("vm", metavar="VM", type=vm_word, help=VM_HELP)


def user_name(text: str) -> str:
    """Return a user's name, if it can be one."""
    if not is_valid_name(text):
        raise argparse.ArgumentTypeError("a user name has 1 to 32 letters, digits, hyphens and underscores")
    return text


def is_file(word: str) -> bool:
    """Return whether a word names a slice file, or standard input."""
    return word == "-" or word.endswith(SLICE_FILE[1:])


def seconds_to_wait(text: str) -> int:
    """Return a number of seconds."""
    number = whole_number(text, 0, MOST_SECONDS)
    if number is None:
        raise argparse.ArgumentTypeError(f"a wait is a whole number of seconds from 0 to {MOST_SECONDS}")
    return number


def slice_word(text: str) -> str:
    """Return a word that may name a slice."""
    if not is_valid_name(text):
        raise argparse.ArgumentTypeError("a slice is its id, its name, or the beginning of its name")
    return text


def vm_word(text: str) -> str:
    """Return a word that may name a VM."""
    if not is_valid_name(text):
        raise argparse.ArgumentTypeError("a VM is its id, its name, or the beginning of its name")
    return text


def snapshot_name(text: str) -> str:
    """Return the name of a snapshot, if it can be one."""
    if not is_snapshot_name(text):
        raise argparse.ArgumentTypeError("a snapshot's name is a small letter, then at most 31 of a-z, 0-9 and -")
    return text


def slice_name(text: str) -> str:
    """Return the name of a new slice, if it can be one."""
    if not is_valid_name(text) or not text[0].isalpha():
        raise argparse.ArgumentTypeError("a slice's name is a letter, then at most 31 letters, digits, - and _")
    return text


def number_up_to(text: str, high: int, rule: str) -> int:
    """Return a number from 0 to `high`. Zeros before it are refused, as in the file: YAML reads 010 as 8."""
    number = whole_number(text, 0, high)
    if number is None:
        raise argparse.ArgumentTypeError(rule)
    if text != str(number):
        raise argparse.ArgumentTypeError(f"{rule}; write {text} without the zeros before it")
    return number
