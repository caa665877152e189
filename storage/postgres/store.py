"""The store in a PostgreSQL database."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from core.errors import FileFault, Refused
from core.inventory import Inventory
from core.rule import Broken, Record
from remote.known_hosts import SharedKeys
from storage.acts import ActLine, KeptAct
from storage.location import ServerURL, own_path
from storage.pieces import Changes, Pieces, changes_of
from storage.postgres import acts, rows, tables
from storage.postgres.session import Connection, ServerSession, one
from storage.state import State
from storage.store import Note, Store

HOST_KEYS = "known_hosts"
HOST_KEYS_WAIT_S = 10.0

_POLL_S = 0.02


class PostgresStore(Store):
    """The state in a PostgreSQL database. Several managers may use it."""

    def __init__(self, url: ServerURL) -> None:
        self.url = url
        self.path = own_path(url)
        self._session = ServerSession(url)
        self._known = rows.NOTHING
        self._slices = rows.RowSlices(self._session.reading)
        self._has_tables = False
        self._keys: PostgresStore | None = None
        self._acts = acts.ActRows(self._session, self.path, self._require_tables)
        self._make_own_folder()

    @property
    def inventory(self) -> Inventory:
        """Return hosts and settings of the last read. Running work does not fail when the server is lost meanwhile."""
        return (State.of_kept(self._known.pieces, self._slices) if self._known.pieces else self.load()).inventory

    def load(self) -> State:
        """Return the present state, in objects that only the caller has."""
        self._require_tables()
        with self._session.reading() as connection:
            return State.of_kept(self._refreshed(connection), self._slices)

    def load_whole(self) -> State:
        """Return the present state with all slices, as one and the same change left them."""
        self._require_tables()
        with self._session.reading() as connection:
            pieces: Pieces | None = None
            while (present := self._refreshed(connection)) is not pieces:  # another session has changed something
                pieces = present
                self._slices.read(pieces.get("slices", {}))
            return State.of_kept(present, self._slices)

    @contextmanager
    def transaction(self) -> Iterator[State]:
        """Yield the state under the lock. The changes of the body are saved at its end, and dropped when it raises."""
        self._require_tables()
        with acts.with_change() as write_act, self._session.transaction() as connection:
            revision = int(one(connection.execute("SELECT revision FROM cloud FOR UPDATE")))
            tables.require_newest(connection)  # another manager may have held the lock to bring the tables up
            before = self._refreshed(connection)
            state = State.of_kept(before, self._slices)
            yield state
            in_use = before["in_use"][""].value if "in_use" in before else {}
            if changes := self._changes(before, state, in_use):
                rows.write(connection, changes, state, revision + 1)
                write_act(connection)

    def create(self, state: State) -> None:
        """Make the tables, and save a state as the first one; raise `Refused` where the database has one already."""
        with acts.with_change() as write_act, self._session.transaction() as connection:
            tables.bring_up(connection)
            revision = int(one(connection.execute("SELECT revision FROM cloud FOR UPDATE")))
            if one(connection.execute("SELECT count(*) FROM piece WHERE value IS NOT NULL")):
                raise Refused(f"{self.url} has a cloud already; nothing was changed: name another database")
            rows.write(connection, self._changes({}, state, {}), state, revision + 1)
            write_act(connection)

    @contextmanager
    def lock(self, name: str, wait_s: float, busy: str) -> Iterator[None]:
        """Hold an advisory lock of the session; the server releases it when the process dies."""
        deadline = time.monotonic() + wait_s
        while not self._session.try_lock(name):
            if time.monotonic() >= deadline:
                raise Refused(busy)
            time.sleep(_POLL_S)
        try:
            yield
        finally:
            self._session.unlock(name)

    def is_locked(self, name: str) -> bool:
        """Return whether a session, also this one, holds the lock."""
        return self._session.is_locked(name)

    def next_fence(self, name: str) -> int:
        """Return the fence of a lock that was just taken: higher than all before."""
        self._require_tables()
        return self._session.next_fence(name)

    def raise_fences(self, seen: Mapping[str, int]) -> None:
        """Let the next fence of each lock be higher than the one that hosts have seen."""
        self._require_tables()
        self._session.raise_fences(seen)

    def warning(self) -> str:
        """Return a sentence for operators if the server that writes waits for no standby, or an empty string."""
        if self._session.waits_for_standby():
            return ""
        return (
            f"{self.url} names several servers, but the one that writes waits for none: changes that were saved are "
            "lost if it is; name its standby in synchronous_standby_names"
        )

    @property
    def shared_keys(self) -> SharedKeys:
        """Return the host keys that all managers share, over a connection of their own.

        A thread may meet a host for the first time while another one has the state's lock and waits for it.
        """
        if self._keys is None:
            self._keys = PostgresStore(self.url)
        return self._keys

    def host_keys(self) -> AbstractContextManager[Note]:
        """Yield the shared host keys under their lock, in the format of known_hosts."""
        return self.note(HOST_KEYS, HOST_KEYS_WAIT_S)

    @contextmanager
    def note(self, name: str, wait_s: float) -> Iterator[Note]:
        """Yield a row of the table `note`, locked, and write what the body leaves in it."""
        self._require_tables()
        refusal: Refused | None = None
        try:
            with self._session.transaction(wait_s, needs_locks=False) as connection:
                connection.execute("INSERT INTO note (name) VALUES (%s) ON CONFLICT DO NOTHING", [name])
                note = Note(one(connection.execute("SELECT content FROM note WHERE name = %s FOR UPDATE", [name])))
                try:
                    yield note
                except Refused as error:
                    refusal = error
                connection.execute("UPDATE note SET content = %s WHERE name = %s", [note.content, name])
        except FileFault:
            raise
        except Refused as busy:
            raise FileFault(str(busy)) from busy
        if refusal:
            raise refusal

    def acting(self, begun: Callable[[], ActLine]) -> AbstractContextManager[None]:
        """Run the body as one act, whose line is written together with its first change."""
        return acts.acting(begun)

    def write_act(self, act: ActLine, *, ends: bool = False) -> None:
        """Write a line of the audit log; where the server does not take it, into a file of this manager."""
        self._acts.write(act, ends=ends)

    def acts(self) -> Iterator[KeptAct]:
        """Yield the lines of the database and of this manager's files, oldest first."""
        return self._acts.kept()

    def keep_acts(self, acts: Iterable[KeptAct]) -> None:
        """Write lines that another store has kept."""
        self._acts.keep(acts)

    def beside(self, suffix: str) -> Path:
        """Return the path `<path>.<suffix>` of a file that this manager has for itself."""
        return self.path.with_name(f"{self.path.name}.{suffix}")

    def _refreshed(self, connection: Connection) -> Pieces:
        self._known = rows.refreshed(connection, self._known, self._slices.read)
        return self._known.pieces

    def _changes(self, before: Pieces, state: State, in_use: Record) -> Changes:
        try:
            return changes_of(before, state, in_use)
        except Broken as fault:
            raise FileFault(f"{self.url} was not changed, the new state would be wrong: {fault}") from fault

    def _require_tables(self) -> None:
        """Check at each use that the database has our tables; those of an older program are brought up.

        Another manager may have brought them up further since the last use.
        """
        with self._session.reading() as connection:
            if self._has_tables:
                tables.require_newest(connection)
                return
            present = tables.version(connection)
        tables.require_known(present)
        if present == 0:
            raise FileFault(f"{self.url} has no cloud yet: bring one in with cli.py database import FILE")
        if present < tables.NEWEST:
            with self._session.transaction() as connection:
                tables.bring_up(connection)
        self._has_tables = True

    def _make_own_folder(self) -> None:
        """Make the folder of this manager's own files, whose rights are those of the file `path`."""
        with suppress(OSError):  # the first file in it is reported where it cannot be written
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.touch(mode=0o600)
