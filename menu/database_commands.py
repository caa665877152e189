"""Carry out the operator's commands for the state as a whole: `python3 cli.py database export` and `import`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import FileFault, Refused
from menu.command_parts import DONE, say
from menu.screen import GOOD, Screen

if TYPE_CHECKING:
    from database import Database, State, Store
    from storage.acts import KeptAct


def carry_out(args: Namespace, screen: Screen) -> int:
    """Export or import the state, and return the exit status. The place may have no state yet."""
    from accounts.audit import Audit, AuditEntry, operator  # noqa: PLC0415 - not needed for the menu's first prompt
    from database import Database, open_store  # noqa: PLC0415

    store = open_store(args.database)
    with Audit(store).noted(AuditEntry(operator(), f"{args.action} database")):
        if args.action == "export":
            _export(store, args.file, screen)
        else:
            _import(Database(args.file), store, args, screen)
    return DONE


def _export(store: Store, file: Path | None, screen: Screen) -> None:
    from database import Database  # noqa: PLC0415
    from storage.version import Version  # noqa: PLC0415

    state = store.load_whole()
    if file is None:
        screen.data(Version.first(state).content.decode())
        say("Left out: the audit log and the counts of wrong passwords, which go beside a file")
        return
    copy = Database(file)
    acts = _acts_of(store)
    copy.create(state)
    _carry(store, copy, acts)
    screen.line(f"Exported {_size(state)} to {file}", GOOD)
    if store.shared_keys:
        say(f"Left out: known keys of hosts that this manager has not reached; its own are in {_known_hosts(state)}")


def _import(source: Database, store: Store, args: Namespace, screen: Screen) -> None:
    state = source.load()
    busy = [slice_id for slice_id in state.slices if source.is_claimed(slice_id)]
    if busy and not args.settings:
        raise Refused(f"Slice {busy[0]} is being worked on by a session at {source.path}; import it when that is done")
    what = "the settings" if args.settings else _size(state)
    if args.dry_run:
        screen.line(f"Would import {what} into {args.database}")
        return
    if args.settings:
        with store.transaction() as present:
            present.take_settings(state)
    else:
        acts = _acts_of(source)
        store.create(state)
        _carry(source, store, acts)
        if store.shared_keys:
            from remote.host_keys import KnownHosts  # noqa: PLC0415

            with store.shared_keys.host_keys() as keys:
                keys.content = KnownHosts.read(_known_hosts(state)).content
            say(
                "If these hosts have had managers on another PostgreSQL database, run cli.py resume --raise-fences "
                "before the first change: else hosts refuse it"
            )
        say(f"Rename {source.path} now: managers that use it, too, would disturb those that use {args.database}")
    screen.line(f"Imported {what} into {args.database}", GOOD)


def _acts_of(source: Store) -> list[KeptAct]:
    try:
        return [*source.acts()]
    except OSError as error:
        raise FileFault(
            f"The audit log of {source.path} cannot be read ({error.strerror}): check its rights"
        ) from error


def _carry(source: Store, target: Store, acts: Iterable[KeptAct]) -> None:
    """Bring what a store has beside its state into a new one: the audit log, and the counts of wrong passwords."""
    from accounts.logins import LOCK_WAIT_S, NOTE  # noqa: PLC0415

    target.keep_acts(acts)
    with source.note(NOTE, LOCK_WAIT_S) as counts, target.note(NOTE, LOCK_WAIT_S) as copied:
        copied.content = counts.content


def _known_hosts(state: State) -> str:
    return state.inventory.ssh.known_hosts


def _size(state: State) -> str:
    """Return how much a state holds."""
    vms = sum(user.used_vms for user in state.users.values())
    return f"{len(state.users)} users, {len(state.slices)} slices and {vms} VMs"
