"""A session with a PostgreSQL server: one connection, its transactions, and its advisory locks.

A connection that was lost is made again before the next transaction, and takes the locks of the lost one again.
"""

from __future__ import annotations

import hashlib
import select
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, LiteralString

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from core.errors import FileFault, Refused, TakenOver, printable
from remote.plan import NO_FENCE
from storage.location import ServerURL

KEEPALIVES = {"keepalives_idle": 3, "keepalives_interval": 2, "keepalives_count": 3}
"""Seconds, seconds and number: either side notices within 9 s that the other one is cut off."""

CUT_OFF_MS = 9000
SERVER_OPTIONS = {
    **{f"tcp_{name}": str(value) for name, value in KEEPALIVES.items()},
    "tcp_user_timeout": str(CUT_OFF_MS),
    "client_connection_check_interval": "50",  # in ms: a manager that dies while it waits frees its locks, too
}
"""Settings of our sessions on the server (runtime-config-connection.html in PostgreSQL's manual)."""

LOCK_WAIT_S = 60.0
CONNECT_S = 5
RECONNECT_S = 15.0
"""Longer than a server needs to restart, or a standby to take over."""

_FRESH_S = 1.0
"""A connection that answered so many seconds ago still works, unless the server says otherwise."""

_POLL_S = 0.1
_TIMELINE: LiteralString = "left(pg_walfile_name(pg_current_wal_lsn()), 8)"
"""The number of the server's history, which begins the names of its WAL files."""

Connection = psycopg.Connection[tuple[Any, ...]]


class ServerSession:
    """One connection that the threads of a process share."""

    def __init__(self, url: ServerURL) -> None:
        self._url = url
        self._guard = threading.RLock()
        self._connection: Connection | None = None
        self._in_transaction = False
        self._answered = 0.0
        self._held: dict[str, int] = {}
        self._lost: set[str] = set()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield the connection for single statements."""
        with self._guard, self._as_faults():
            yield self._ready()
            self._answered = time.monotonic()

    @contextmanager
    def transaction(
        self, wait_s: float = LOCK_WAIT_S, *, needs_locks: bool = True, waits: bool = True
    ) -> Iterator[Connection]:
        """Yield the connection in a transaction, which is committed when the body ends, and rolled back on an error.

        A statement waits at most `wait_s` seconds for a row that another session has locked. `needs_locks`: raise
        `TakenOver` where a lock of this session was lost. `waits`: a server that was lost has time to come back.
        """
        with self._guard, self._as_faults():
            if self._in_transaction:
                message = "a transaction inside a transaction would end the outer one"
                raise RuntimeError(message)
            connection = self._ready(waits=waits)
            if needs_locks:
                self._require_locks()
            connection.execute("BEGIN")
            connection.execute("SELECT set_config('lock_timeout', %s, true)", [f"{wait_s * 1000:.0f}ms"])
            self._in_transaction = True
            try:
                yield connection
            except BaseException:
                with suppress(psycopg.Error):
                    connection.execute("ROLLBACK")
                raise
            else:
                self._commit(connection)
                self._answered = time.monotonic()
            finally:
                self._in_transaction = False

    def try_lock(self, name: str) -> bool:
        """Take a lock if it is free; return whether this session has it now."""
        with self.reading() as connection:
            if name in self._held or not _try_lock(connection, name):
                return False
            self._held[name] = NO_FENCE
            return True

    def next_fence(self, name: str) -> int:
        """Return the next number of a lock that this session has: later ones are higher.

        An open transaction of this session takes it along.
        """
        query = """INSERT INTO fence (lock, number) VALUES (%s, 1)
            ON CONFLICT (lock) DO UPDATE SET number = fence.number + 1 RETURNING number"""
        with self.reading() if self._in_transaction else self.transaction() as connection:
            number = int(one(connection.execute(query, [name])))
        self._held[name] = number
        return number

    def raise_fences(self, seen: Mapping[str, int]) -> None:
        """Let the next number of each lock be higher than this one."""
        query = """INSERT INTO fence (lock, number) SELECT * FROM unnest(%s::text[], %s::bigint[])
            ON CONFLICT (lock) DO UPDATE SET number = greatest(fence.number, excluded.number)"""
        with self.transaction() as connection:
            connection.execute(query, [[*seen], [*seen.values()]])

    def unlock(self, name: str) -> None:
        """Release a lock. One of a lost connection is free already."""
        with self._guard:
            self._held.pop(name, None)
            self._lost.discard(name)
            with suppress(psycopg.Error):
                if self._connection:
                    self._connection.execute("SELECT pg_advisory_unlock(%s)", [_key(name)])

    def is_locked(self, name: str) -> bool:
        """Return whether a session, also this one, has the lock."""
        query = """SELECT count(*) FROM pg_locks
            WHERE locktype = 'advisory' AND objsubid = 1 AND granted
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND (classid::bigint << 32 | objid::bigint) = %s"""
        with self.reading() as connection:
            return bool(one(connection.execute(query, [_key(name)])))

    def waits_for_standby(self) -> bool:
        """Return whether the server saves a change on a standby, too; true where no other server is named."""
        with self.reading() as connection:
            of_service = next((each.val for each in connection.pgconn.info if each.keyword == b"host"), None) or b""
            if "," not in f"{self._words().get('host')}{of_service.decode()}":
                return True
            return bool(one(connection.execute("SHOW synchronous_standby_names")))

    def _ready(self, *, waits: bool = True) -> Connection:
        """Return a connection that works; one that was lost is made again, and takes the locks again."""
        connection = self._connection
        if connection and self._in_transaction:
            return connection
        if connection:
            with suppress(psycopg.OperationalError):
                # A server says nothing unasked, but that it ends the connection. One that is cut off does not say that.
                if _has_news(connection) or time.monotonic() - self._answered > _FRESH_S:
                    connection.execute("")
                return connection
            connection.close()
        self._connection = fresh = self._connected(RECONNECT_S if connection and waits else 0.0)
        deadline = time.monotonic() + RECONNECT_S
        self._lost |= {name for name, fence in self._held.items() if not _takes_again(fresh, name, fence, deadline)}
        return fresh

    def _connected(self, wait_s: float) -> Connection:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                return psycopg.connect(**self._words(), autocommit=True)
            except psycopg.Error as error:
                if time.monotonic() >= deadline or not isinstance(error, psycopg.OperationalError):
                    raise FileFault(
                        f"The database {self._url} cannot be used ({_reason(error)}): check that its server runs and "
                        "accepts this manager and its user"
                    ) from error
            time.sleep(_POLL_S)

    def _words(self) -> dict[str, Any]:
        """Return the words of the URL, and those of ours that it leaves open."""
        given = conninfo_to_dict(self._url.text)
        if given.get("password"):
            raise Refused("A URL has no password: put it into a password file (PGPASSFILE) or a service file")
        options = " ".join(f"-c {name}={value}" for name, value in SERVER_OPTIONS.items())
        usual = {"connect_timeout": CONNECT_S, **KEEPALIVES, "tcp_user_timeout": CUT_OFF_MS}
        name = {"application_name": "cloud-repositorio"}
        return usual | name | given | {"options": f"{options} {given.get('options') or ''}".strip()}

    def _require_locks(self) -> None:
        if self._lost:
            raise TakenOver(
                "The connection to the database was lost, and another session has begun to change the same "
                f"({', '.join(sorted(self._lost))}); this one stops, and has saved nothing since"
            )

    def _commit(self, connection: Connection) -> None:
        """Commit. Where the connection is lost meanwhile, ask the server afterwards whether it did."""
        number, timeline = connection.execute(
            f"SELECT pg_current_xact_id_if_assigned()::text, {_TIMELINE}"
        ).fetchone() or ("", "")
        try:
            ended = connection.execute("COMMIT").statusmessage
        except psycopg.OperationalError:
            if number is not None and not self._was_committed(number, timeline):
                raise
        else:
            if ended != "COMMIT":  # a statement had failed before
                raise FileFault(f"The database {self._url} dropped the change; nothing was saved, try again")

    def _was_committed(self, number: str, timeline: str) -> bool:
        """Return whether a transaction was committed; raise `FileFault` where that cannot be known.

        A standby that took over begins a new timeline, and gives numbers again that it had not heard of.
        """
        deadline = time.monotonic() + RECONNECT_S
        self._in_transaction = False
        while True:
            try:
                connection = self._ready()
                status = one(connection.execute("SELECT pg_xact_status(%s::xid8)", [number]))
                is_same = one(connection.execute(f"SELECT {_TIMELINE}")) == timeline
            except errors.InvalidParameterValue:  # not given yet
                return False
            except (FileFault, psycopg.Error) as error:
                raise self._unknown() from error
            if status == "committed" and not is_same:
                raise self._unknown()
            if status != "in progress" or time.monotonic() >= deadline:
                return bool(status == "committed")
            time.sleep(_POLL_S)

    def _unknown(self) -> FileFault:
        return FileFault(
            f"The connection to {self._url} was lost while a change was saved; it is not known whether it was saved, "
            "look at the state again"
        )

    @contextmanager
    def _as_faults(self) -> Iterator[None]:
        try:
            yield
        except errors.LockNotAvailable as error:
            raise Refused(
                "The database has been locked by another session for 60 s; try again when it is done"
            ) from error
        except errors.UniqueViolation as error:
            raise FileFault(
                f"{self._url} was not changed, the new state would be wrong: {error.diag.message_detail or error}"
            ) from error
        except psycopg.Error as error:
            raise FileFault(
                f"The database {self._url} failed ({_reason(error)}); nothing was saved, try again"
            ) from error


def one(cursor: psycopg.Cursor[tuple[Any, ...]]) -> Any:
    """Return the only value of the only row, or None without a row."""
    row = cursor.fetchone()
    return row[0] if row else None


def _has_news(connection: Connection) -> bool:
    """Return whether the server has sent something, or has closed the connection."""
    polled = select.poll()  # `select` takes no file descriptor above 1023
    polled.register(connection, select.POLLIN)
    return bool(polled.poll(0))


def _key(name: str) -> int:
    """Return the number of a lock: PostgreSQL has 64 bits for it."""
    digest = hashlib.blake2b(f"cloud-repositorio {name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def _try_lock(connection: Connection, name: str) -> bool:
    return bool(one(connection.execute("SELECT pg_try_advisory_lock(%s)", [_key(name)])))


def _takes_again(connection: Connection, name: str, fence: int, deadline: float) -> bool:
    """Take a lock of a lost connection again; return whether no other session had it meanwhile.

    The server may notice the loss later than we do, and keep the lock for the lost connection until then.
    """
    if fence == NO_FENCE:
        return _try_lock(connection, name)
    while fence == _fence(connection, name):
        if _try_lock(connection, name):
            return fence == _fence(connection, name)
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return False


def _fence(connection: Connection, name: str) -> int:
    return int(one(connection.execute("SELECT number FROM fence WHERE lock = %s", [name])) or NO_FENCE)


def _reason(error: psycopg.Error) -> str:
    """Return the first line of an error, which has the reason; hints follow it."""
    return printable(str(error).strip().partition("\n")[0]) or type(error).__name__
