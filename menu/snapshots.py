"""Carry out the part of entry 15 about snapshots: take, list, restore and delete them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from core.errors import Refused
from core.formats import is_snapshot_name
from core.results import value_of
from menu.screen import clean
from menu.texts import slice_title

if TYPE_CHECKING:
    from lifecycle.snapshots import Listed
    from menu.session import Session
    from models import Slice

_NAME_RULE = "The name of a snapshot is a small letter, then at most 31 small letters, digits and hyphens"


def snapshot_lines(listed: Iterable[Listed]) -> Iterator[str]:
    """Yield a line for each snapshot, with its time on this machine and its size."""
    for each in listed:
        taken = time.strftime("%Y-%m-%d %H:%M", time.localtime(each.taken))
        size = f"{each.size_mib} MiB" if each.complete else "not finished: repeat or delete it"
        yield f"{clean(each.vm)}  {clean(each.name)}  {taken}  {size}"


def restore_question(slice_: Slice, name: str) -> str:
    """Return the question before disks are brought back."""
    return f"Bring disks of {slice_title(slice_)} back to {name}? What was written since is lost. (y/n): "


def list_snapshots(session: Session, slice_: Slice) -> None:
    """Show the snapshots of a slice."""
    listed = value_of(session.api.snapshots.list(session.actor, slice_.slice_id))
    for line in snapshot_lines(listed):
        session.screen.line(f"  {line}")
    if not listed:
        session.screen.line("There are no snapshots yet")


def ask_for_name(session: Session) -> str:
    """Ask for the name of a snapshot."""
    return session.ask.checked(
        lambda: session.ask.text("Snapshot: ", "The name of a snapshot", explained=_NAME_RULE), _check_name
    )


def _check_name(name: str) -> None:
    if not is_snapshot_name(name):
        raise Refused(_NAME_RULE)
