"""Define the command line: the menu's options and the commands."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from core.errors import Refused
from menu.edit_arguments import add_edit_commands
from menu.file_arguments import add_file_commands
from menu.keys import add_key_commands
from menu.operator_arguments import add_operator_commands
from menu.power_arguments import add_power_commands
from menu.reach_arguments import add_reach_commands
from menu.slice_arguments import add_slice_commands
from menu.words import Parser, RestrictedParser, add_actor, user_name
from models import ADMIN
from storage.location import location_of

if TYPE_CHECKING:
    from menu.words import Commands
    from storage.location import Location

HELP = "help"


def parse(words: Sequence[str] | None, default_database: Location | str) -> argparse.Namespace:
    """Return the arguments of `python3 cli.py`, or exit where they are wrong.

    The words of a restricted session's command are not among them: see `menu.restricted`.
    """
    whole = parser(default_database)
    args = whole.parse_args(words)
    if args.restricted_user and args.command:
        whole.error(f"--user takes its command from ssh; leave out --user or {args.command}")
    return args


def parser(default_database: Location | str) -> Parser:
    """Return the parser of `python3 cli.py`."""
    whole = Parser(
        prog="cli.py",
        description="Design, deploy, use and delete slices of virtual machines from a numbered menu.",
        epilog="Without a command the menu opens. Its prompts and results are plain lines when input or output is no "
        "terminal, so that a session can be scripted.",
    )
    whole.add_argument(
        "--database",
        metavar="FILE",
        type=_database,
        default=default_database,
        help="the state file, or the postgresql:// URL of a database (default: $CLOUD_DATABASE, database.yaml in this "
        "folder, or the one beside cli.py)",
    )
    whole.add_argument(
        "--user",
        metavar="NAME",
        type=user_name,
        dest="restricted_user",
        help="a restricted session of this user, with the menu or the command of ssh; for a forced command of sshd "
        "(docs/students-over-ssh.md)",
    )
    add_actor(whole, ADMIN)
    commands = whole.add_subparsers(dest="command", metavar="COMMAND")
    _add_user_commands(commands)
    add_operator_commands(commands)
    return whole


def restricted_parser() -> Parser:
    """Return the parser of a restricted session's commands, which has no global options and no operators' commands.

    `help` is a command there: ssh takes an option behind the host for its own.
    """
    whole: Parser = RestrictedParser(
        prog="ssh cloud@manager",
        description="Design, deploy, use and delete your slices. Without a command the menu opens.",
    )
    whole.help_word = HELP
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_user_commands(commands)
    commands.add_parser(HELP, help="list the commands", description="List the commands.")
    return whole


def _add_user_commands(commands: Commands) -> None:
    """Add the commands that users have for their own slices."""
    add_slice_commands(commands)
    add_power_commands(commands)
    add_file_commands(commands)
    add_reach_commands(commands)
    add_key_commands(commands)
    add_edit_commands(commands)


def _database(text: str) -> Location:
    if os.path.isdir(text or "."):  # noqa: PTH112 - Path.is_dir fails below a folder that may not be read
        raise argparse.ArgumentTypeError("a folder is no state file; name the file, such as database.yaml")
    try:
        return location_of(text)
    except Refused as refusal:
        raise argparse.ArgumentTypeError(str(refusal)) from refusal
