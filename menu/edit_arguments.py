"""Define the command lines of the commands that change a design."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from core.links import SERVICES
from menu.words import SLICE_FILE, SLICE_FILE_HELP, add_actor, add_slice, add_vm, number_up_to
from models import MAX_DATA_INTERFACES
from topology.fields import LINK_NAME

if TYPE_CHECKING:
    from menu.words import Commands

_DONE = "Exit status: 0 done, 1 refused or failed, 2 wrong words."


def add_edit_commands(commands: Commands) -> None:
    """Add the commands that change a design: as a whole, or one VM or link."""
    apply = commands.add_parser(
        "apply",
        help="bring a slice to a slice file",
        description="Bring your slice of the file's name to what the file says; without one, create it. The "
        f"differences are said first. It asks before it removes something. {_DONE}",
    )
    apply.set_defaults(name="", json=False)
    apply.add_argument("file", metavar="FILE", type=apply.path(*SLICE_FILE), help=SLICE_FILE_HELP)
    add = commands.add_parser(
        "add-vm", help="add a VM to a slice", description=f"Add a VM to a slice in design, and make its disk. {_DONE}"
    )
    add_slice(add)
    add.add_argument("name", metavar="NAME", help="the VM's name")
    add.add_argument("flavor", metavar="FLAVOR", help="the name of its flavor")
    add.add_argument("--nics", metavar="N", type=_nics, default=1, help="its data interfaces, eth1 and up (default: 1)")
    add.add_argument("--internet", action="store_true", help="eth0 on the internet VLAN")
    remove = commands.add_parser(
        "remove-vm",
        help="remove a VM of a slice",
        description=f"Remove a VM of a slice in design with its disk and its links, after a question. {_DONE}",
    )
    add_slice(remove)
    add_vm(remove)
    link = commands.add_parser(
        "link",
        help="join VMs by a link",
        description="Join VMs of a slice in design by a link; with more than two ends it is a LAN. "
        f"An end is VM, for its next free interface, or VM:eth1. {_DONE}",
    )
    add_slice(link)
    link.add_argument("ends", metavar="END", nargs="+", help="VM, or VM and interface as in r1:eth1; two or more")
    name_help = "the link's name (default: after its VMs)"
    link.add_argument("--name", metavar="NAME", type=_link_name, help=name_help)
    link.add_argument("--services", choices=SERVICES, default=SERVICES[0], help=f"default: {SERVICES[0]}")
    unlink = commands.add_parser(
        "unlink", help="remove a link", description=f"Remove a link of a slice in design. {_DONE}"
    )
    add_slice(unlink)
    unlink.add_argument("link", metavar="LINK", help="its name, its number, or one of its ends such as r1:eth1")
    for command in (apply, remove):
        command.add_argument("--yes", action="store_true", help="do not ask; needed without a terminal")
    for command in (apply, add, remove, link, unlink):
        command.add_argument("--dry-run", action="store_true", help="only show the differences")
        add_actor(command, argparse.SUPPRESS)


def _nics(text: str) -> int:
    return number_up_to(text, MAX_DATA_INTERFACES, f"a VM has 0 to {MAX_DATA_INTERFACES} data interfaces")


def _link_name(text: str) -> str:
    if not LINK_NAME.matches(text):
        raise argparse.ArgumentTypeError(f"this is not {LINK_NAME.rule}")
    return text
