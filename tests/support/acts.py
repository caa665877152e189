"""The audit log as the operator reads it, and its files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from accounts.audit import Audit
from database import Database
from storage import act_files
from storage.acts import ActLine, Entry


def read_log(path: Path) -> Iterator[Entry]:
    """Yield the entries of a file's log, oldest first."""
    return (act.entry for act in Database(path).acts())


def path_of(log: Audit) -> Path:
    """Return the path of a log's database."""
    return log._store.path


def ring_of_acts(path: Path, actor: str) -> act_files._Ring:
    """Return the files of an actor's acts."""
    return act_files.ring_of(path, ActLine("", actor, None, "", None, None, "", 0.0, 0))
