"""Define the command lines of the commands that change a design."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from core.links import SERVICES
from menu.words import SLICE_FILE, SLICE_FILE_HELP, add_actor, add_slice, add_vm, number_up_to
from models import MAX_DATA_INTERFACES
from topology.design import STATES
from topology.document import Text
from topology.faults import FoundFaults
from topology.fields import DURATION, LINK_NAME, PERCENT, PROFILE, RATE
from topology.kinds import Kind

if TYPE_CHECKING:
    from menu.words import Commands, Parser

NO_VALUE = "none"
_LINK_HELP = "its name, its number, or one of its ends such as r1:eth1"

_DONE = "Exit status: 0 done, 1 refused or failed, 2 wrong words."


def add_edit_commands(commands: Commands) -> None:
    """Add the commands that change a design: as a whole, or one VM or link."""
    apply = commands.add_parser(
        "apply",
        help="bring a slice to a slice file",
        description="Bring your slice of the file's name to what the file says; without one, create it. The "
        f"differences are said first. It asks before it removes something or restarts a VM. {_DONE}",
    )
    apply.set_defaults(name="", json=False)
    apply.add_argument("file", metavar="FILE", type=apply.path(*SLICE_FILE), help=SLICE_FILE_HELP)
    add = commands.add_parser(
        "add-vm",
        help="add a VM to a slice",
        description=f"Add a VM to a slice, and make its disk; in a running slice it starts. {_DONE}",
    )
    add_slice(add)
    add.add_argument("name", metavar="NAME", help="the VM's name")
    add.add_argument("flavor", metavar="FLAVOR", help="the name of its flavor")
    add.add_argument("--nics", metavar="N", type=_nics, default=1, help="its data interfaces, eth1 and up (default: 1)")
    add.add_argument("--internet", action="store_true", help="eth0 on the internet VLAN")
    remove = commands.add_parser(
        "remove-vm",
        help="remove a VM of a slice",
        description=f"Remove a VM of a slice with its disk and its links, after a question. {_DONE}",
    )
    add_slice(remove)
    add_vm(remove)
    link = commands.add_parser(
        "link",
        help="join VMs by a link",
        description="Join VMs of a slice by a link, also while they run; with more than two ends it is a LAN. "
        f"An end is VM, for its next free interface, or VM:eth1. {_DONE}",
    )
    add_slice(link)
    link.add_argument("ends", metavar="END", nargs="+", help="VM, or VM and interface as in r1:eth1; two or more")
    name_help = "the link's name (default: after its VMs)"
    link.add_argument("--name", metavar="NAME", type=_link_name, help=name_help)
    link.add_argument("--services", choices=SERVICES, default=SERVICES[0], help=f"default: {SERVICES[0]}")
    unlink = commands.add_parser(
        "unlink", help="remove a link", description=f"Remove a link of a slice, also while its VMs run. {_DONE}"
    )
    add_slice(unlink)
    unlink.add_argument("link", metavar="LINK", help=_LINK_HELP)
    change = _add_set_link(commands)
    for command in (apply, remove):
        command.add_argument("--yes", action="store_true", help="do not ask; needed without a terminal")
    for command in (apply, add, remove, link, unlink, change):
        command.add_argument("--dry-run", action="store_true", help="only show the differences")
        add_actor(command, argparse.SUPPRESS)


def _add_set_link(commands: Commands) -> Parser:
    change = commands.add_parser(
        "set-link",
        help="change the state or the quality of a link",
        description="Change a link, also while its VMs run. A value holds for what all ends receive, or for one end: "
        f"--rate r1=1mbit. `none` removes it. {_DONE}",
    )
    add_slice(change)
    change.add_argument("link", metavar="LINK", help=_LINK_HELP)
    state = "up, down (no carrier) or silent (a carrier, and no frames)"
    change.add_argument("--state", choices=STATES, default="", help=state)
    for kind, (_, example, meaning) in _RECEIVED.items():
        help_ = f"{meaning}, such as {example}".replace("%", "%%")
        change.add_argument(f"--{kind}", metavar="VALUE", type=_received(kind), action="append", default=[], help=help_)
    return change


_RECEIVED: dict[str, tuple[Kind, str, str]] = {
    "rate": (RATE, "10mbit", "bits per second that an end receives"),
    "delay": (DURATION, "20ms", "delay of frames that an end receives"),
    "jitter": (DURATION, "2ms", "variation of that delay"),
    "loss": (PERCENT, "1%", "share of frames that an end does not receive"),
    "profile": (PROFILE, "dsl", "a named set of these"),
}
"""The kinds of impairments: how a value is read, an example, and the meaning."""


def read_received(kind: str, text: str) -> tuple[str, str]:
    """Return the VM of `VM=VALUE`, or "" for all ends, and the value, or "" for `none`.

    Raise `ValueError`, with what to write instead, for another text.
    """
    vm, _, value = text.rpartition("=")
    if value == NO_VALUE:
        return vm, ""
    faults = FoundFaults()
    _RECEIVED[kind][0].read(Text(0, value), faults)
    if faults.faults:
        raise ValueError(f"{faults.faults[0].sentence}, or {NO_VALUE}")
    return vm, value


def _received(kind: str) -> Callable[[str], tuple[str, str]]:
    def read(text: str) -> tuple[str, str]:
        try:
            return read_received(kind, text)
        except ValueError as fault:
            raise argparse.ArgumentTypeError(str(fault)) from fault

    return read


def _nics(text: str) -> int:
    return number_up_to(text, MAX_DATA_INTERFACES, f"a VM has 0 to {MAX_DATA_INTERFACES} data interfaces")


def _link_name(text: str) -> str:
    if not LINK_NAME.matches(text):
        raise argparse.ArgumentTypeError(f"this is not {LINK_NAME.rule}")
    return text
