"""Carry out `python3 cli.py authorized-keys`: the lines with which sshd lets users into restricted sessions."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from accounts.keys import opening_keys
from menu.command_parts import DONE
from menu.screen import Screen
from remote.plan import shell
from storage.location import absolute

if TYPE_CHECKING:
    from accounts.accounts import Accounts
    from menu.words import Commands

_PROGRAM = Path(__file__).absolute().parents[1] / "cli.py"


def add_authorized_keys(commands: Commands) -> None:
    """Add `authorized-keys`."""
    lines = commands.add_parser(
        "authorized-keys",
        help="write the lines with which sshd lets users in",
        description="Write a line of authorized_keys for each public key of a user, which leads into this user's "
        "restricted session. Made for AuthorizedKeysCommand of sshd (docs/many-managers.md). A key that two users have "
        "is left out. Exit status: 0 written, 1 refused, 2 wrong words.",
    )
    lines.add_argument("kind", metavar="TYPE", nargs="?", default="", help="the type of one key (default: all keys)")
    lines.add_argument("key", metavar="KEY", nargs="?", default="", help="its data in base64")


def write_lines(accounts: Accounts, args: Namespace, screen: Screen) -> int:
    """Write the lines; return the exit status."""
    for user, key in opening_keys(accounts.list()):
        if args.kind in {"", key.kind} and args.key in {"", key.data}:
            screen.data(f"{_options(user, absolute(args.database))} {key.kind} {key.data} {user}\n")
    return DONE


def _options(user: str, database: str) -> str:
    """Return the options of a line. There, sshd reads a backslash with a quotation mark as the latter alone."""
    words = (sys.executable, "-Es", str(_PROGRAM), "--database", database, f"--user={user}")
    command = f"trap '' INT QUIT TSTP; exec {shell(words)}".replace('"', '\\"')
    return f'restrict,pty,command="{command}"'
