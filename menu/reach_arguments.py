"""Define the command lines of the commands that reach a VM from outside."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from core.captures import MOST_BYTES, MOST_PACKETS, MOST_SECONDS
from core.formats import INTERFACE_NAME, is_manager
from core.rule import Broken
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
    _add_capture(commands)


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


def _add_capture(commands: Commands) -> None:
    capture = commands.add_parser(
        "capture",
        help="write packets of a VM's interface as pcap",
        description="Write the next packets of an interface of a running VM to standard output, as a file of pcap for "
        "wireshark, tshark or tcpdump. The first 256 bytes of each packet are kept. It ends when its reader does, or "
        f"after {MOST_PACKETS} packets, {MOST_BYTES >> 20} MiB or {MOST_SECONDS // 60} minutes. An interface has one "
        "capture at a time. Exit status: 0 ended, 1 refused or failed, 2 wrong words, 3 ended by a bound, or packets "
        "are missing.",
    )
    capture.text_after_dashes = "filter"
    add_slice(capture)
    add_vm(capture)
    capture.add_argument("nic", metavar="NIC", type=_nic, help="its interface, such as eth1")
    capture.add_argument("--count", metavar="N", type=_count, help=f"end after N packets, at most {MOST_PACKETS}")
    add_actor(capture, argparse.SUPPRESS)
    capture.add_argument(
        "filter",
        metavar="-- FILTER",
        nargs="*",
        type=_without_dashes,
        default=(),
        help="only these packets, in the words of pcap-filter(7), such as -- icmp and host 10.0.0.1",
    )


def _nic(text: str) -> str:
    try:
        INTERFACE_NAME(text)
    except Broken as error:
        raise argparse.ArgumentTypeError(f"an interface is {INTERFACE_NAME.words}") from error
    return text


def _count(text: str) -> int:
    return _from_one(text, MOST_PACKETS, f"a number of packets is a whole number from 1 to {MOST_PACKETS}")


def _without_dashes(_text: str) -> str:
    raise argparse.ArgumentTypeError("write -- before the filter, as in -- icmp")


def _manager(text: str) -> str:
    if not is_manager(text):
        raise argparse.ArgumentTypeError("the manager is written as after ssh, such as cloud@manager")
    return text


def _port(text: str) -> int:
    return _from_one(text, _MAX_PORT, f"a port is a whole number from 1 to {_MAX_PORT}")


def _from_one(text: str, high: int, rule: str) -> int:
    number = number_up_to(text, high, rule)
    if number == 0:
        raise argparse.ArgumentTypeError(rule)
    return number
