"""Define the command lines of the commands that switch VMs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from menu.words import VM_HELP, add_actor, add_slice, vm_word

if TYPE_CHECKING:
    from menu.words import Commands

_DONE = "Progress is on standard error. Exit status: 0 done, 1 refused or failed, 2 wrong words, 3 done with a warning"


def add_power_commands(commands: Commands) -> None:
    """Add `start`, `stop`, `restart` and `reset`."""
    start = commands.add_parser(
        "start",
        help="start VMs of a deployed slice",
        description=f"Start VMs that are stopped or ended by themselves, where their workers have room. {_DONE}.",
    )
    stop = commands.add_parser(
        "stop",
        help="stop VMs of a deployed slice",
        description="Press the power buttons of VMs, and switch those off that do not obey within 30 seconds. A "
        f"stopped VM keeps its disk and gives back cores and memory. {_DONE}.",
    )
    restart = commands.add_parser(
        "restart", help="stop VMs and start them again", description=f"Stop VMs and start them again. {_DONE}."
    )
    reset = commands.add_parser(
        "reset",
        help="give VMs clean disks",
        description="Give VMs new disks from their base images, after a question, and start those that ran. Names, "
        f"MACs, addresses, links and VNC ports stay. {_DONE}.",
    )
    for command in (start, stop, restart, reset):
        add_slice(command)
        command.add_argument("vms", metavar="VM", type=vm_word, nargs="*", help=f"{VM_HELP} (default: all VMs)")
        command.add_argument("--dry-run", action="store_true", help="only show the plan")
        add_actor(command, argparse.SUPPRESS)
    stop.add_argument("--now", action="store_true", help="switch off at once, after a question")
    for command in (stop, reset):
        command.add_argument("--yes", action="store_true", help="do not ask; needed without a terminal")
