"""Carry out the command of a restricted session: the words after `ssh cloud@manager`, split by no shell.

sshd hands them over as one text, whatever the user's ssh was called with. It is looked at here only, before any of its
words reaches another part of the program.
"""

from __future__ import annotations

import os
import shlex
from argparse import Namespace
from contextlib import closing
from typing import TYPE_CHECKING

from core.errors import Refused
from core.results import value_of
from menu import commands
from menu.arguments import HELP, restricted_parser
from menu.command_parts import DONE

if TYPE_CHECKING:
    from menu.screen import Screen
    from orchestrator import OrchestratorAPI

VARIABLE = b"SSH_ORIGINAL_COMMAND"
"""The command of the user's ssh, where sshd runs a forced command instead (sshd(8))."""

MOST_BYTES = 8192
MOST_WORDS = 200


def original_command() -> bytes:
    """Return the command that the user's ssh was called with, or nothing."""
    return os.environb.get(VARIABLE, b"")


def carry_out(api: OrchestratorAPI, user: str, command: bytes, screen: Screen) -> int:
    """Carry out the command for the user, whose SSH key stands for the password; return the exit status."""
    with closing(value_of(api.open_command(user))):
        parser = restricted_parser()
        try:
            args = parser.parse_args(words_of(command), Namespace(actor=user, restricted_user=user))
        except SystemExit as end:  # --help, or wrong words
            return int(end.code or 0)
        if args.command == HELP:
            screen.data(parser.format_help())
            return DONE
        return commands.carry_out(api, args, screen)


def words_of(command: bytes) -> list[str]:
    """Return the words of a command, with the quotation marks of a shell and none of its other characters."""
    if len(command) > MOST_BYTES:
        raise Refused(f"A command has at most {MOST_BYTES // 1024} KiB; send a file as input, such as <FILE")
    try:
        text = command.decode()
    except UnicodeDecodeError:
        text = "\0"
    if not text.isprintable():
        raise Refused("A command is one line of printable characters in UTF-8; send a file as input, such as <FILE")
    try:
        words = shlex.split(text)
    except ValueError:
        raise Refused("A quotation mark or backslash in the command has no second half; close it") from None
    if len(words) > MOST_WORDS:
        raise Refused(f"A command has at most {MOST_WORDS} words")
    return words
