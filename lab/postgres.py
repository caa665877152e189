"""PostgreSQL on two hosts of the lab: one server writes, and the other one is its synchronous standby.

A server runs as the ordinary user that Debian's package brings. A host that comes back becomes the standby of the
server that writes meanwhile.
"""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Sequence
from pathlib import Path

from lab.command import run
from lab.errors import LabError, wait_until
from lab.topology import DATABASE_PORT, DATABASES, MANAGERS, LabHost

CLOUD = "cloud"
"""The name of the database and of the user who owns it."""

URL = f"postgresql://{CLOUD}@{','.join(host.address for host in DATABASES)}/{CLOUD}?target_session_attrs=read-write"
USER = "postgres"
PROGRAMS = Path("/usr/lib/postgresql")
"""Debian keeps each version's programs in a folder of its own, outside PATH."""

MACHINES_OWN = ("etc/postgresql", "var/lib/postgresql")
"""Folders of the machine's own servers, which a host of the lab does not see."""

DATA = Path("/var/lib/postgresql/data")
SOCKETS = Path("/run/postgresql")
COPY_SECONDS = 45.0

# A power cut of the lab ends processes only, so the disk need not be waited for.
SETTINGS = {
    "unix_socket_directories": str(SOCKETS),
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "200",
    "dynamic_shared_memory_type": "mmap",
}
ACCESS = (
    "local all all trust",
    *(f"host all {CLOUD} {host.address}/32 trust" for host in MANAGERS),
    *(f"host {base} {USER} {host.address}/32 trust" for host in DATABASES for base in ("replication", USER)),
)


def require_installed() -> None:
    """Raise LabError where Debian's package is missing."""
    if not any(PROGRAMS.glob("*/bin/postgres")):
        raise LabError("several managers need PostgreSQL, which is not installed (apt-get install postgresql)")


def argv(host: LabHost) -> tuple[str, ...]:
    """Return the words that run the server of a host in the foreground."""
    own = {"listen_addresses": host.address, "port": str(DATABASE_PORT), "cluster_name": host.name}
    options = (word for name, value in own.items() for word in ("-c", f"{name}={value}"))
    return (*_as_user("postgres"), "-D", str(DATA), *options)


def prepare(host: LabHost) -> None:
    """Make the files of the host's server, unless they are there and no other server writes meanwhile."""
    (other,) = (each for each in DATABASES if each != host)
    account = pwd.getpwnam(USER)
    for folder in (DATA.parent, SOCKETS):
        folder.mkdir(exist_ok=True)
        os.chown(folder, account.pw_uid, account.pw_gid)
    if DATA.exists():
        if _writes(other):
            _copy(host, other)
    elif host == DATABASES[0]:
        _make(other)
    else:
        wait_until(lambda: _writes(other), COPY_SECONDS, f"the server of {other.name} writes")
        _copy(host, other)
    # A number in it, from before the host's end, may be that of another process by now.
    (DATA / "postmaster.pid").unlink(missing_ok=True)


def _make(standby: LabHost) -> None:
    """Make the files of a new server; a change is saved once the standby has it, too."""
    new = _new_folder()
    locale = ("-E", "UTF8", "--locale=C")
    run([*_as_user("initdb"), "--no-sync", "-A", "trust", "-U", USER, *locale, "-D", new], cwd=DATA.parent)
    statements = f"CREATE ROLE {CLOUD} LOGIN\nCREATE DATABASE {CLOUD} OWNER {CLOUD}\n"
    run([*_as_user("postgres"), "--single", "-D", new, USER], stdin=statements, cwd=DATA.parent)
    _configure(new, {"synchronous_standby_names": standby.name})
    new.rename(DATA)


def _copy(host: LabHost, source: LabHost) -> None:
    """Make the files of a standby. When it writes one day, it waits for no other server."""
    new = _new_folder()
    connection = f"host={source.address} user={USER} application_name={host.name}"
    words = ("-d", connection, "-D", new, "--write-recovery-conf", "--checkpoint=fast", "--no-sync")
    run([*_as_user("pg_basebackup"), *words], cwd=DATA.parent)
    _configure(new, {})
    shutil.rmtree(DATA, ignore_errors=True)
    new.rename(DATA)


def _new_folder() -> Path:
    """Return the folder that becomes `DATA` once it is whole."""
    new = DATA.with_name("new")
    shutil.rmtree(new, ignore_errors=True)
    return new


def _configure(folder: Path, more: dict[str, str]) -> None:
    lines = (f"{name} = '{value}'\n" for name, value in (SETTINGS | more).items())
    (folder / "postgresql.conf").write_text("".join(lines))
    (folder / "pg_hba.conf").write_text("".join(f"{line}\n" for line in ACCESS))


def _writes(host: LabHost) -> bool:
    """Return whether the server of a host answers and is no standby."""
    connection = f"host={host.address} user={USER} dbname={USER} connect_timeout=2"
    question = ("-d", connection, "-Atc", "SELECT pg_is_in_recovery()")
    return run([*_as_user("psql"), *question], cwd=DATA.parent, check=False) == "f\n"


def _as_user(program: str) -> Sequence[str]:
    newest = max(PROGRAMS.glob(f"*/bin/{program}"), key=lambda path: int(path.parts[-3]))
    return ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", "--reset-env", "--", str(newest))
