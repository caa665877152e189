"""The audit log: actor, act, slice, time and result of each act, for the operator. The store keeps its lines."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from core.errors import CloudError
from database import Store
from storage.acts import BEGUN, LONGEST_RESULT, OK, ActLine

BY_OPERATOR = "operator"
UNKNOWN = "(unknown)"
"""The actor of a login with a name that has no account."""


@dataclass
class AuditEntry:
    """One action under way; the code that carries it out fills in ids and result.

    `begun`: the start is written already. `by`: as in `FIELDS`.
    """

    actor: str
    action: str
    slice_id: int | None = None
    vm_id: int | None = None
    result: str = OK
    begun: bool = False
    by: str | None = None


class Audit:
    """The log of one store; a log that cannot be written stops nothing, and `warning` reports it once.

    `by` is written into every further line.
    """

    by: str | None = None

    def __init__(self, store: Store, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store = store
        self._clock = clock
        self._problem = ""
        self._is_reported = False

    @contextmanager
    def noted(self, entry: AuditEntry, *, announced: bool = False) -> Iterator[AuditEntry]:
        """Write how the body ended; with `announced` also that it begins, since the manager may die in between."""
        with self._store.acting(lambda: self._act(entry, BEGUN)):
            if announced:
                self.begin(entry)
            began, refused = time.monotonic(), False
            try:
                yield entry
            except CloudError as error:
                entry.result = str(error)
                refused = not error.begun and not entry.begun
                raise
            except BaseException as error:
                entry.result = f"ended by {type(error).__name__}"
                raise
            finally:
                self._write(self._act(entry, entry.result, time.monotonic() - began, refused=refused), ends=True)

    def begin(self, entry: AuditEntry) -> None:
        """Write once that a long action begins to change hosts."""
        if not entry.begun:
            entry.begun = True
            self.write(entry, BEGUN, 0.0)

    def write(self, entry: AuditEntry, result: str, seconds: float, *, refused: bool = False) -> None:
        """Write one line, or count it in an earlier one; `refused` means that nothing was changed."""
        self._write(self._act(entry, result, seconds, refused=refused))

    def _write(self, act: ActLine, *, ends: bool = False) -> None:
        try:
            self._store.write_act(act, ends=ends)
        except OSError as error:
            self._problem = self._problem or error.strerror or str(error)
        except CloudError as error:
            self._problem = self._problem or str(error)

    def _act(self, entry: AuditEntry, result: str, seconds: float = 0.0, *, refused: bool = False) -> ActLine:
        return ActLine(
            self._clock().strftime("%Y-%m-%dT%H:%M:%SZ"),
            entry.actor,
            self.by,
            entry.action,
            entry.slice_id,
            entry.vm_id,
            result[:LONGEST_RESULT],
            seconds,
            time.time_ns(),
            refused,
            entry.begun,
        )

    def warning(self) -> str:
        """Return a one-time warning that the log cannot be written, or an empty string."""
        if not self._problem or self._is_reported:
            return ""
        self._is_reported = True
        return "The audit log cannot be written; tell the operator to look at the disk and the rights of its folder"


def operator() -> str:
    """Return the actor of the command line: the system's name of this machine's user."""
    try:
        name = getpass.getuser() if os.environ.get("SUDO_USER") is None else os.environ["SUDO_USER"]
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"operator {name}"
