"""Carry out the operator's commands for workers: `python3 cli.py host forget ADDRESS`."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from core.errors import Refused
from menu.keyboard import Keyboard
from menu.prompts import Back, Prompts
from menu.screen import GOOD, WARNING, Screen

if TYPE_CHECKING:
    from lifecycle.hosts import Hosts

DONE, LEFT = 0, 3
"""Exit statuses: done, something is left to do."""

NOT_ASKED = (
    "host forget gives up the disks of all VMs on that worker: on a terminal it asks before, elsewhere it needs --yes"
)
QUESTION = "Is {} switched off for good? VMs that still run there could reach slices to come. Write it off? (y/n): "


def forget(hosts: Hosts, args: Namespace, keyboard: Keyboard, screen: Screen) -> int:
    """Write off a worker after a question, and return the exit status."""
    with screen.waiting(f"Looking for {args.address}"):
        remains = hosts.examine(args.address)
    if not (args.yes or args.dry_run or screen.terminal):
        raise Refused(NOT_ASKED)
    if not args.yes or args.dry_run:
        screen.line(remains.problem)
        for loss in remains.losses:
            screen.line(f"would be written off: {loss.sentence}", WARNING)
        if not remains.losses:
            screen.line(f"No slice has anything on {args.address}")
    if args.dry_run:
        return DONE
    if not args.yes and not _confirm(args.address, keyboard, screen):
        screen.line("Nothing was changed")
        return DONE
    with screen.waiting(f"Writing off {args.address}"):
        outcome = hosts.forget(args.address)
    for sentence in outcome.done:
        screen.line(sentence)
    left = [*outcome.unfinished]
    for sentence in left:
        screen.line(f"still to be done: {sentence}", WARNING)
    screen.line(
        f"{args.address} is written off: take it out of workers_list; if it comes back, doctor --fix clears it", GOOD
    )
    return LEFT if left else DONE


def forget_key(hosts: Hosts, args: Namespace, keyboard: Keyboard, screen: Screen) -> int:  # noqa: ARG001 - as `forget`
    """Forget the key of a host, and return the exit status."""
    hosts.forget_key(args.address)
    screen.line(
        f"The key of {args.address} is forgotten; the next connection remembers a new one: compare it with the host's",
        GOOD,
    )
    return DONE


ACTIONS = {"forget": forget, "forget-key": forget_key}


def _confirm(address: str, keyboard: Keyboard, screen: Screen) -> bool:
    try:
        return Prompts(keyboard, screen, way_back="").yes(QUESTION.format(address))
    except (Back, EOFError):
        return False
