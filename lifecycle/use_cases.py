"""The base of all classes of use-cases that change slices, and the engine that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from accounts import rights
from accounts.audit import Audit
from accounts.use_cases import UseCases
from database import Store
from lifecycle import losses
from lifecycle.changes import Change, Changes
from lifecycle.discovery import Discovery
from models import Slice
from remote.events import Listener
from remote.host import Connected
from remote.runner import Runner


class Engine:
    """The parts that use-cases work with. `connect` returns the host at an address.

    `operators` are the users to whom faults of the file are shown in full.
    """

    def __init__(self, database: Store, audit: Audit, connect: Callable[[str], Connected]) -> None:
        self.database = database
        self.audit = audit
        self.connect = connect
        self.changes = Changes(database, connect)
        self.discovery = Discovery(database, Runner(connect))
        self.operators: set[str] = set()


class SliceUseCases(UseCases):
    """The base of a class with use-cases that change slices."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.database, engine.audit, engine.operators)
        self._engine = engine
        self._connect = engine.connect
        self._changes = engine.changes
        self._discovery = engine.discovery

    @contextmanager
    def _change(self, actor: str, slice_id: int, listen: Listener) -> Iterator[tuple[Change, Slice]]:
        """Claim a slice that the user may work on, and yield its change and the slice as read under the claim.

        Rights are checked before the claim, too: a slice of another user must not be reported as busy.
        """
        slice_ = rights.permitted(self._database.load(), actor, slice_id)
        if losses.has_unplaced(slice_):  # another worker may be back or have room now
            self._discovery.workers()
        with self._changes.of(slice_id, listen) as change:
            yield change, rights.permitted(change.state, actor, slice_id)
