"""Carry out the operator's commands for the state as a whole: `python3 cli.py database export` and `import`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import Refused
from menu.command_parts import DONE, say
from menu.screen import GOOD, Screen

if TYPE_CHECKING:
    from database import Database, State, Store


def carry_out(args: Namespace, screen: Screen) -> int:
    """Export or import the state, and return the exit status. The place may have no state yet."""
    from accounts.audit import Audit, AuditEntry, operator  # noqa: PLC0415 - not needed for the menu's first prompt
    from database import Database, open_store  # noqa: PLC0415

    store = open_store(args.database)
    with Audit(store.path).noted(AuditEntry(operator(), f"{args.action} database")):
        if args.action == "export":
            _export(store.load(), args.file, screen)
        else:
            _import(Database(args.file), store, args, screen)
    return DONE


def _export(state: State, file: Path | None, screen: Screen) -> None:
    from database import Database  # noqa: PLC0415
    from storage.version import Version  # noqa: PLC0415

    if file is None:
        screen.data(Version.first(state).content.decode())
        return
    Database(file).create(state)
    screen.line(f"Exported {_size(state)} to {file}", GOOD)


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
        store.create(state)
        say(f"Rename {source.path} now: managers that use it, too, would disturb those that use {args.database}")
    screen.line(f"Imported {what} into {args.database}", GOOD)


def _size(state: State) -> str:
    """Return how much a state holds."""
    vms = sum(holdings.vms for holdings in state.slices.holdings.values())
    return f"{len(state.users)} users, {len(state.slices)} slices and {vms} VMs"
