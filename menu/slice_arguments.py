"""Define the command lines of the commands about slices."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from menu.plans import Depth
from menu.words import (
    SLICE_FILE,
    SLICE_HELP,
    add_actor,
    add_json,
    add_slice,
    add_vm,
    is_file,
    seconds_to_wait,
    slice_word,
)

if TYPE_CHECKING:
    from menu.words import Commands, Parser


def add_slice_commands(commands: Commands) -> None:
    """Add the commands that show, change and use slices."""
    _add_views(commands)
    _add_plan(commands)
    _add_changes(commands)


def _add_views(commands: Commands) -> None:
    shown = "Exit status: 0 shown, 1 refused, 2 wrong words."
    listed = commands.add_parser(
        "list", help="list the slices", description=f"List the slices of a user, and all slices for an admin. {shown}"
    )
    show = commands.add_parser(
        "show",
        help="show a slice",
        description="Show a slice with its VMs, interfaces and addresses, and what does not run. --json shows its "
        f"record of the state file instead, and looks at no host. {shown}",
    )
    add_slice(show)
    show.add_argument(
        "--secrets", action="store_true", help="with the passwords of VNC and of guests, and with private keys"
    )
    quota = commands.add_parser(
        "quota",
        help="show quota and resources",
        description=f"Show a user's quota, the workers as they are now, and the flavors. {shown}",
    )
    add_json(listed, "{slices: [{slice_id, name, owner, status, vms, links}]}")
    add_json(show, "the slice as the state file has it (docs/reference/database.md)")
    add_json(quota, "{used_vms, quota_vms, used_slices, quota_slices, workers, flavors}")
    for command in (listed, show, quota):
        add_actor(command, argparse.SUPPRESS)


def _add_changes(commands: Commands) -> None:
    done = (
        "Progress is on standard error. Exit status: 0 done, 1 refused or failed, 2 wrong words, 3 done with a warning."
    )
    deploy = commands.add_parser(
        "deploy",
        help="deploy a slice",
        description=f"Deploy a slice, or leave every host as it was. Ctrl-C rolls back what was done. {done}",
    )
    repair = commands.add_parser(
        "repair",
        help="repair a running slice",
        description=f"Bring back what is missing of a running slice, and leave the rest alone. {done}",
    )
    delete = commands.add_parser(
        "delete",
        help="delete a slice",
        description=f"Delete a slice with its VMs and disks, after a question. {done}",
    )
    for command in (deploy, repair, delete):
        add_slice(command)
        command.add_argument("--dry-run", action="store_true", help="only show the plan")
    deploy.add_argument(
        "--wait",
        type=seconds_to_wait,
        metavar="SECONDS",
        help="return when all VMs are ready, with exit status 3 if they are not after so many seconds",
    )
    delete.add_argument("--yes", action="store_true", help="do not ask; needed without a terminal")
    console = commands.add_parser(
        "console",
        help="open a VM's serial console",
        description="Join this terminal with a VM's serial console. Exit status: 0 left, 1 refused or failed, "
        "2 wrong words.",
    )
    add_slice(console)
    add_vm(console)
    console.add_argument("--watch", action="store_true", help="only read along, from the end of its log on")
    for command in (deploy, repair, delete, console):
        add_actor(command, argparse.SUPPRESS)


def _add_plan(commands: Commands) -> None:
    plan = commands.add_parser(
        "plan",
        help="show what a deployment or an apply does",
        description="Show what a deployment of a slice does, or what applying a slice file does; nothing is changed. "
        "A file's plan begins with `nothing to do`, or with the counts of what differs. Without an "
        "option: a line for each step that makes something. Exit status: 0 shown, 1 refused, 2 wrong words.",
    )
    plan.add_argument("slice", metavar="SLICE|FILE", type=_slice_or_file(plan), help=f"{SLICE_HELP}; or a slice file")
    depth = plan.add_mutually_exclusive_group()
    for each, meaning in (
        (Depth.COMMANDS, "the commands as well, to be read or copied"),
        (Depth.SCRIPTS, "all of it: also what commands read, and the text of each script"),
    ):
        depth.add_argument(f"--{each.value}", action="store_const", const=each.value, dest="depth", help=meaning)
    add_json(
        plan,
        "{counts: {changes, checks, hosts}, differences: [{kind, name, effect, fields}], "
        "steps: [{stage, host, title, objects}]}",
        instead=depth,
    )
    add_actor(plan, argparse.SUPPRESS)
    plan.set_defaults(depth=Depth.TITLES.value, name="")


def _slice_or_file(command: Parser) -> Callable[[str], str]:
    """Return a function that accepts the path of a slice file, or else a word that may name a slice."""
    path = command.path(*SLICE_FILE)
    return lambda word: path(word) if is_file(word) else slice_word(word)
