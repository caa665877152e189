"""The open sessions of an account: each holds one of the account's places, which is a lock of the store.

So a session that is killed frees its place at once, and no count can become wrong.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, ExitStack, suppress

from accounts.audit import Audit, AuditEntry
from core.errors import Refused
from database import Store

_WAIT_S = 0.2
"""Long enough for a session that is just closing to free its place."""


class OpenSession:
    """An open session; its place is free after `close`, or when its process ends."""

    def __init__(self, place: AbstractContextManager[object]) -> None:
        self._held = ExitStack()
        self._held.enter_context(place)

    def close(self) -> None:
        """Free the place."""
        self._held.close()


class Sessions:
    """The places of all accounts of one store: its locks `session-<user>-<number>`."""

    def __init__(self, database: Store, audit: Audit) -> None:
        self._database = database
        self._audit = audit

    def open(self, username: str) -> OpenSession:
        """Take a place of the account; raise `Refused` where all are taken or the account is unknown."""
        settings = self._database.load().inventory.login
        deadline = time.monotonic() + _WAIT_S
        while True:
            for number in range(settings.sessions):
                with suppress(Refused):
                    return OpenSession(self._place(username, number))
            if time.monotonic() >= deadline:
                break
            time.sleep(_WAIT_S / 10)
        with self._audit.noted(AuditEntry(username, "open session")):
            raise Refused(
                f"{username} has {settings.sessions} sessions open, which is the limit: leave one of them, or wait: "
                f"a session without input ends after {settings.idle}"
            )

    def _place(self, username: str, number: int) -> AbstractContextManager[object]:
        return self._database.lock(f"session-{username}-{number}", 0.0, "taken")
