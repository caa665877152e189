"""Define the command lines of the commands that switch VMs and bring back their disks."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from menu.words import VM_HELP, add_actor, add_json, add_slice, snapshot_name, vm_word

if TYPE_CHECKING:
    from menu.words import Commands, Parser

_DONE = "Progress is on standard error. Exit status: 0 done, 1 refused or failed, 2 wrong words, 3 done with a warning"


def add_power_commands(commands: Commands) -> None:
    """Add `start`, `stop`, `restart` and `reset`, and the commands of snapshots."""
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
    snapshot, restore = _add_snapshots(commands)
    for command in (start, stop, restart, reset, snapshot, restore):
        command.add_argument("vms", metavar="VM", type=vm_word, nargs="*", help=f"{VM_HELP} (default: all VMs)")
        command.add_argument("--dry-run", action="store_true", help="only show the plan")
        add_actor(command, argparse.SUPPRESS)
    stop.add_argument("--now", action="store_true", help="switch off at once, after a question")
    for command in (stop, reset, restore):
        command.add_argument("--yes", action="store_true", help="do not ask; needed without a terminal")


def _add_snapshots(commands: Commands) -> tuple[Parser, Parser]:
    """Add `snapshots`; return `snapshot` and `restore`, which have SLICE and NAME so far."""
    snapshot = commands.add_parser(
        "snapshot",
        help="take a snapshot of VMs' disks",
        description="Take a snapshot of the disks of VMs, whether they run or not; memory is not in it. A VM may have "
        f"3, each of which holds the room of its disks once more. {_DONE}.",
    )
    restore = commands.add_parser(
        "restore",
        help="bring VMs' disks back to a snapshot",
        description="Bring the disks of VMs back to a snapshot, after a question, and start those that ran. What they "
        f"wrote since is lost. Without VM: all VMs that have the snapshot. {_DONE}.",
    )
    listed = commands.add_parser(
        "snapshots",
        help="list snapshots",
        description="List the snapshots of a slice's VMs with their time and size. Exit status: 0 shown, 1 refused, "
        "2 wrong words.",
    )
    for command in (snapshot, restore, listed):
        add_slice(command)
    for command in (snapshot, restore):
        command.add_argument(
            "name", metavar="NAME", type=snapshot_name, help="a small letter, then small letters, digits and hyphens"
        )
    snapshot.add_argument("--delete", action="store_true", help="delete the snapshot instead")
    add_json(listed, "{snapshots: [{vm, name, taken, size_mib, complete}]}")
    add_actor(listed, argparse.SUPPRESS)
    return snapshot, restore
