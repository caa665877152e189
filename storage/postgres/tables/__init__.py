"""The tables, as numbered steps: `N.sql` leads from version N - 1 to version N. A step that was released stays.

A key of the state that older programs do not know needs a step, too. It has no statement where no table changes.
"""

from __future__ import annotations

from pathlib import Path

from core.errors import FileFault
from storage.postgres.session import Connection, one

STEPS = sorted(Path(__file__).parent.glob("*.sql"), key=lambda path: int(path.stem))
NEWEST = len(STEPS)


def version(connection: Connection) -> int:
    """Return the version of the tables, or 0 where there are none."""
    if one(connection.execute("SELECT to_regclass('schema_version')")) is None:
        return 0
    return int(one(connection.execute("SELECT max(number) FROM schema_version")) or 0)


def bring_up(connection: Connection) -> None:
    """Bring the tables to the newest version, in the transaction that is open; raise `FileFault` for a newer one."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('cloud-repositorio tables', 0))")
    connection.execute("CREATE TABLE IF NOT EXISTS schema_version (number int NOT NULL PRIMARY KEY)")
    present = version(connection)
    require_known(present)
    if 0 < present < NEWEST:
        connection.execute("SELECT revision FROM cloud FOR UPDATE")  # changes that were begun end before
    for number, step in enumerate(STEPS, 1):
        if number > present:
            connection.execute(step.read_bytes())
            connection.execute("INSERT INTO schema_version VALUES (%s)", [number])


def require_newest(connection: Connection) -> None:
    """Raise `FileFault` where a newer program brought the tables up since this one read their version."""
    require_known(int(one(connection.execute("SELECT max(number) FROM schema_version")) or 0))


def require_known(present: int) -> None:
    """Raise `FileFault` where a newer program made the tables."""
    if present > NEWEST:
        raise FileFault(
            f"The tables have version {present}, and this program knows versions up to {NEWEST}: update this manager",
            "The cloud is being updated, nothing was done: log out, and log in again later",
        )
