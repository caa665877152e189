"""Show and change a user's public keys: the commands `keys add|list|remove`, and their part of entry 18."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from accounts.keys import KeyChange
from core.results import value_of
from core.ssh_keys import MAX_LINE, PublicKey
from menu.command_parts import DONE, say, show_json
from menu.file_commands import read_file
from menu.screen import GOOD, Screen
from menu.words import add_actor, add_json, number_up_to
from models import MAX_KEYS

if TYPE_CHECKING:
    from menu.session import Session
    from menu.words import Commands
    from orchestrator import OrchestratorAPI

NO_KEYS = "You have no keys yet"
HOW_TO_MAKE = "A key pair is made by: ssh-keygen -t ed25519; its public half is in the file that ends in .pub"
_NUMBER_RULE = f"a key is its number in the list, from 1 to {MAX_KEYS}"


# --- the commands -----------------------------------------------------------------------------------------------------


def add_key_commands(commands: Commands) -> None:
    """Add `keys` with its actions."""
    keys = commands.add_parser(
        "keys",
        help="manage your public keys",
        description="Manage your public keys. VMs whose flavor takes a seed accept them from their first boot on.",
    )
    actions = keys.add_subparsers(dest="action", metavar="ACTION", required=True)
    done = "Exit status: 0 done, 1 refused, 2 wrong words"
    add = actions.add_parser(
        "add",
        help="add a public key",
        description="Add a public key: one line of the type ed25519, ecdsa or sk, or RSA with 3,072 bits or more. "
        f"Options before it are refused. A user has at most {MAX_KEYS} keys. {done}.",
    )
    add.add_argument(
        "file", metavar="FILE", type=add.path("a key", ""), help="a file such as id_ed25519.pub; - is standard input"
    )
    listed = actions.add_parser("list", help="list your keys", description=f"List your keys. {done}.")
    add_json(listed, "{keys: [{number, type, fingerprint, comment}]}")
    remove = actions.add_parser("remove", help="remove a key", description=f"Remove a key by its number. {done}.")
    remove.add_argument("number", metavar="N", type=_number, help="its number in the list")
    for action in (add, remove):
        action.add_argument("--dry-run", action="store_true", help="only show what it changes")
    for action in (add, listed, remove):
        add_actor(action, argparse.SUPPRESS)


def _number(text: str) -> int:
    number = number_up_to(text, MAX_KEYS, _NUMBER_RULE)
    if not number:
        raise argparse.ArgumentTypeError(_NUMBER_RULE)
    return number


def manage(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Carry out the action; return the exit status."""
    return _ACTIONS[args.action](api, args, screen)


def add_key(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Add a key, or only check it; return the exit status."""
    text = read_file(args.file)
    if args.dry_run:
        return _say_only(value_of(api.keys.check(args.actor, text)), screen, "added")
    change = value_of(api.keys.add(args.actor, text))
    screen.line(f"Key added! {_line(change.key)}", GOOD)
    say(*_consequences(change))
    return DONE


def list_keys(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """List the keys; return the exit status."""
    keys = value_of(api.keys.list(args.actor))
    if args.json:
        show_json(screen, {"keys": [_record(number, key) for number, key in enumerate(keys, start=1)]})
        return DONE
    for line in _lines(keys):
        screen.line(line)
    if not keys:
        say(NO_KEYS, HOW_TO_MAKE)
    return DONE


def remove_key(api: OrchestratorAPI, args: Namespace, screen: Screen) -> int:
    """Remove a key, or only show which one; return the exit status."""
    if args.dry_run:
        return _say_only(value_of(api.keys.check_removal(args.actor, args.number)), screen, "removed")
    change = value_of(api.keys.remove(args.actor, args.number))
    screen.line(f"Key removed: {_line(change.key)}", GOOD)
    say(*_consequences(change))
    return DONE


def _say_only(change: KeyChange, screen: Screen, done: str) -> int:
    screen.line(_line(change.key))
    say(*_consequences(change), f"Nothing was {done}: --dry-run")
    return DONE


_ACTIONS = {"add": add_key, "list": list_keys, "remove": remove_key}


# --- the menu ---------------------------------------------------------------------------------------------------------


def view_keys(session: Session) -> None:
    """Show the user's keys."""
    keys = value_of(session.api.keys.list(session.actor))
    for line in _lines(keys) if keys else (NO_KEYS, HOW_TO_MAKE):
        session.screen.line(line)
    session.same_as("keys", "list")


def add_key_in_menu(session: Session) -> None:
    """Ask for a public key and add it."""
    text = session.ask.checked(
        lambda: session.ask.text("Public key (one line): ", "A public key", MAX_LINE, explained=HOW_TO_MAKE),
        lambda text: value_of(session.api.keys.check(session.actor, text)),
    )
    change = value_of(session.api.keys.add(session.actor, text))
    session.say(f"Key added! {_line(change.key)}")
    _show_consequences(session, change)


def remove_key_in_menu(session: Session) -> None:
    """Ask for one of the user's keys and remove it."""
    keys = value_of(session.api.keys.list(session.actor))
    if not keys:
        session.screen.line(NO_KEYS)
        return
    numbers = {_line(key): number for number, key in enumerate(keys, start=1)}
    number = session.ask.pick(f"Key to remove (1-{len(keys)}): ", numbers)
    change = value_of(session.api.keys.remove(session.actor, number))
    session.say(f"Key removed: {_line(change.key)}")
    _show_consequences(session, change)
    session.same_as("keys", "remove", str(number))


def _show_consequences(session: Session, change: KeyChange) -> None:
    for line in _consequences(change):
        session.screen.line(line)


# --- texts ------------------------------------------------------------------------------------------------------------


def _lines(keys: Iterable[PublicKey]) -> Iterator[str]:
    return (f"  {number}. {_line(key)}" for number, key in enumerate(keys, start=1))


def _line(key: PublicKey) -> str:
    return " ".join(filter(None, (key.kind, key.fingerprint, key.comment)))


def _record(number: int, key: PublicKey) -> dict[str, object]:
    return {"number": number, "type": key.kind, "fingerprint": key.fingerprint, "comment": key.comment}


def _consequences(change: KeyChange) -> Iterator[str]:
    """Yield which VMs do not follow by themselves."""
    if change.after_reset:
        yield f"These VMs have booted with your earlier keys; a reset changes that: {', '.join(change.after_reset)}"
