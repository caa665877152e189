"""Define the command lines of the commands that reach a VM from outside."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from core.formats import is_manager
from menu.words import SLICE_HELP, add_actor, add_slice, add_vm, number_up_to, slice_word

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
    _add_ssh_config(commands)


def _add_ssh_config(commands: Commands) -> None:
    config = commands.add_parser(
        "ssh-config",
        help="write blocks for ~/.ssh/config",
        description="Write a block for ~/.ssh/config for each VM of a slice, or of all slices. With them ssh, scp, "
        "rsync and editors reach host SLICE-VM through the manager. --known-hosts writes the host keys instead. "
        "Exit status: 0 written, 1 refused, 2 wrong words, 3 written without VMs that have no way in or no known key.",
    )
    config.add_argument("slice", metavar="SLICE", nargs="?", type=slice_word, help=f"{SLICE_HELP} (default: all)")
    config.add_argument(
        "--via",
        metavar="MANAGER",
        type=_manager,
        help="the manager as it is written after ssh, such as cloud@manager (default: `login: address`)",
    )
    config.add_argument("--known-hosts", action="store_true", help="lines for ~/.ssh/cloud_known_hosts instead")
    add_actor(config, argparse.SUPPRESS)


def _manager(text: str) -> str:
    if not is_manager(text):
        raise argparse.ArgumentTypeError("the manager is written as after ssh, such as cloud@manager")
    return text


def _port(text: str) -> int:
    rule = f"a port is a whole number from 1 to {_MAX_PORT}"
    port = number_up_to(text, _MAX_PORT, rule)
    if port == 0:
        raise argparse.ArgumentTypeError(rule)
    return port
