"""Carry out entries 9 and 18 of the menu: a VM's console, and the ways to a VM from the user's own machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING

from core.errors import CloudError
from core.results import value_of
from menu import ssh_config
from menu.captures import show_packets
from menu.console import VisitEnd, visit
from menu.exits import Exits
from menu.idle import TypedConsole
from menu.keys import add_key_in_menu, remove_key_in_menu, view_keys
from menu.picking import ask_for_slice_id, ask_for_vm
from menu.screen import WARNING
from menu.terminal import set_echo, without_echo

if TYPE_CHECKING:
    from lifecycle.reach import WaysIn
    from menu.session import Session
    from models import VM, Slice

MANAGER = "cloud@manager"
"""The manager as the documentation writes it, where the settings do not name it."""


def reach_a_vm(session: Session) -> None:
    """Offer the ways to a VM."""
    ways: dict[str, Callable[[Session], None]] = {
        "Open a VM's console": open_console,
        "Reach VMs by ssh from your own machine": _show_ways,
        "Show the text for ~/.ssh/config": _show_config,
        "View my SSH keys": view_keys,
        "Add an SSH key": add_key_in_menu,
        "Remove an SSH key": remove_key_in_menu,
        "Show packets of a VM's interface": show_packets,
    }
    session.ask.pick(f"Choose (1-{len(ways)}): ", ways)(session)


def open_console(session: Session) -> None:
    """Open the serial console of a VM in this terminal."""
    join_console(session, ask_for_vm(session, "VM ID: "))


def join_console(session: Session, vm_id: int) -> bool:
    """Join the terminal with a VM's console until the user leaves it; return False if it stays with its user."""
    with without_echo(session.keyboard.lines.descriptor) if session.screen.terminal else nullcontext():
        return _join_console(session, vm_id)


def _join_console(session: Session, vm_id: int) -> bool:
    exits, answers = Exits(session.api.console_exits), [True]

    def confirm(sentence: str) -> bool:
        session.screen.line(sentence, WARNING)
        with _echo(session):
            answers.append(session.ask.yes("Take it over? (y/n): "))
        return answers[-1]

    answer = session.api.open_console(session.actor, vm_id, confirm)
    if not answers[-1]:
        session.screen.line("Nothing was changed")
        return False
    console, why = value_of(answer), ""
    with closing(console):
        slice_, vm = _found(session, vm_id)
        greeting = f"Connected to {vm.name}. {exits.hint(typed=session.screen.terminal)}"

        def greet() -> None:
            session.say(greeting)
            if session.screen.terminal:
                session.screen.raw(b"\r")  # in raw mode a new line does not begin at the left

        with session.keyboard.idle.watched(session.screen.between) as typed:
            joined = TypedConsole(console, typed)
            ending = visit(joined, session.keyboard.lines, session.screen, exits, greet)
        if ending is VisitEnd.CLOSED:
            why = console.why_closed()
    session.screen.line()
    session.screen.line(f"{ending.value}: {why}" if why else ending.value)
    session.same_as("console", session.word_for(slice_), vm.name)
    return True


@contextmanager
def _echo(session: Session) -> Iterator[None]:
    """Show what is typed at a question while a console is being opened."""
    descriptor = session.keyboard.lines.descriptor
    if session.screen.terminal:
        set_echo(descriptor, on=True)
    try:
        yield
    finally:
        if session.screen.terminal:
            set_echo(descriptor, on=False)


def _show_ways(session: Session) -> None:
    """Show the commands that a user types on their own machine to reach the VMs of a slice."""
    found, manager = _ways(session), MANAGER
    if found.manager:
        manager = found.manager
    else:
        session.screen.line(f"{MANAGER} stands for this manager: write it as you do after ssh")
    slice_ = found.ways[0].slice_
    session.screen.line("Once for the slice, on your own machine:")
    session.screen.line(f"  ssh {manager} ssh-config {slice_} --known-hosts >>{ssh_config.KNOWN_HOSTS}")
    session.screen.line(f"  ssh {manager} ssh-config {slice_} --via {manager} >>~/.ssh/config")
    session.screen.line("Then:")
    for way in found.ways:
        session.screen.line(f"  ssh {way.host}")
    session.screen.line("Another TCP port, joined with standard input and output:")
    session.screen.line(f"  ssh {manager} connect {slice_} {found.ways[0].vm} 80")


def _show_config(session: Session) -> None:
    """Show the blocks of ssh_config(5) for a slice, and the lines of known hosts."""
    found = _ways(session)
    session.screen.line("For ~/.ssh/config:")
    session.screen.data(ssh_config.blocks(found.ways, ("ssh", found.manager or MANAGER)))
    if known := ssh_config.known_hosts(found.ways):
        session.screen.line(f"For {ssh_config.KNOWN_HOSTS}:")
        session.screen.data(known)


def _ways(session: Session) -> WaysIn:
    """Ask for a slice and return the ways to its VMs; raise `CloudError` where there are none."""
    slice_id = ask_for_slice_id(session, "Slice ID: ")
    found = value_of(session.api.reach.ways(session.actor, slice_id))
    for name in found.without:
        session.screen.line(f"Warning: {name} has no address that leads outside; use its console", WARNING)
    if not found.ways:
        raise CloudError(f"Slice {slice_id} has no VM with internet access or a link to a gateway")
    return found


def _found(session: Session, vm_id: int) -> tuple[Slice, VM]:
    for slice_ in value_of(session.api.list_slices(session.actor)):
        vm = slice_.vm(vm_id)
        if vm:
            return slice_, vm
    raise CloudError(f"VM {vm_id} is gone")
