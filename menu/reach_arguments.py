"""Define the command lines of the commands that reach a VM from outside."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from menu.words import add_actor, add_slice, add_vm, number_up_to

if TYPE_CHECKING:
    from menu.words import Commands

SSH_PORT = 22
_MAX_PORT = 65_535


def add_reach_commands(commands: Commands) -> None:
    """Add the commands that reach a VM from outside."""
    connect = commands.add_parser(
        "connect",
        help="join standard input and output with a TCP port of a VM",
        description="Join standard input and output with a TCP port of a running VM: by its internet access, or else "
        "by its first link. It ends with the VM's output, or after 30 minutes without a byte. "
        "Exit status: 0 ended, 1 refused or failed, 2 wrong words.",
    )
    add_slice(connect)
    add_vm(connect)
    connect.add_argument(
        "port", metavar="PORT", nargs="?", type=_port, default=SSH_PORT, help=f"1 to {_MAX_PORT} (default: {SSH_PORT})"
    )
    add_actor(connect, argparse.SUPPRESS)


def _port(text: str) -> int:
    rule = f"a port is a whole number from 1 to {_MAX_PORT}"
    port = number_up_to(text, _MAX_PORT, rule)
    if port == 0:
        raise argparse.ArgumentTypeError(rule)
    return port
