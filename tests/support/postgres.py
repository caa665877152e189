"""A PostgreSQL server of the tests: started as an ordinary user, in a folder of its own, without a port."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from storage.location import ServerURL

ORDINARY_ID = 65534
PROGRAMS = Path("/usr/lib/postgresql")
"""Debian keeps each version's programs in a folder of its own, outside PATH."""

SETTINGS = (
    *("listen_addresses=", "fsync=off", "full_page_writes=off", "shared_buffers=16MB", "max_connections=200"),
    "dynamic_shared_memory_type=mmap",  # in the server's folder
)
FOLDERS = ("/dev/shm", "/tmp")
SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
DEADLINE_S = 60.0


@dataclass
class PostgresServer:
    """A server. Only local users reach it, by a socket in its folder."""

    folder: Path
    place: tuple[str, ...] = ()
    """The words before the server's own, such as those that enter a namespace."""
    settings: tuple[str, ...] = ()
    numbers: Iterator[int] = field(default_factory=count)
    process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> ServerURL:
        return ServerURL(f"postgresql:///{database}?host={self.folder}&user=tests")

    def new_database(self) -> ServerURL:
        """Return the URL of an empty database."""
        name = f"cloud{next(self.numbers)}"  # each test has its own: locks belong to a database
        with self._connection() as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def remove_database(self, url: ServerURL) -> None:
        """Remove a database and end all its sessions: with many of them a server takes gigabytes."""
        name = conninfo_to_dict(url.text)["dbname"]
        with self._connection() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())

    def newest_connection(self, url: ServerURL) -> float:
        """Return when the newest connection to a database was made, in seconds since 1970."""
        newest = "SELECT extract(epoch FROM max(backend_start))::float FROM pg_stat_activity WHERE datname = %s"
        with self._connection() as connection:
            (moment,) = connection.execute(newest, [conninfo_to_dict(url.text)["dbname"]]).fetchone() or (0.0,)
            return float(moment)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = (*SETTINGS, f"unix_socket_directories={self.folder}", *self.settings)
        options = [word for setting in settings for word in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            words = [*self.place, *ordinary("postgres"), "-D", str(self.folder / "data"), *options]
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                self._connection().close()
            except psycopg.OperationalError:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            else:
                return

    def stop(self, how: str = "fast") -> None:
        if self.process:
            self.process.send_signal(SIGNALS[how])
            self.process.wait(DEADLINE_S)

    def _connection(self) -> psycopg.Connection:
        return psycopg.connect(self.url("postgres").text, autocommit=True)


def ordinary(program: str) -> list[str]:
    """Return the words that run a program of the server as an ordinary user, for it refuses to run as root.

    It ends when this process does.
    """
    newest = max(PROGRAMS.glob(f"*/bin/{program}"), key=lambda path: int(path.parts[-3]), default=None)
    if newest is None:
        raise FileNotFoundError(f"{program} is not installed (`make postgresql` brings it)")
    user = [f"--reuid={ORDINARY_ID}", f"--regid={ORDINARY_ID}", "--clear-groups"] if os.getuid() == 0 else []
    return ["setpriv", "--pdeathsig=QUIT", *user, str(newest)]


@contextmanager
def started(place: Sequence[str] = (), settings: Sequence[str] = (), access: str = "") -> Iterator[PostgresServer]:
    """Yield a server, and remove all of it afterwards. `access` is a further line of its pg_hba.conf."""
    roomy = next(folder for folder in FOLDERS if shutil.disk_usage(folder).free > 500_000_000)
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=roomy))
    server = PostgresServer(folder, (*place,), (*settings,))
    try:
        if os.getuid() == 0:
            os.chown(folder, ORDINARY_ID, ORDINARY_ID)
        folder.chmod(0o711)  # the user at the lab's manager reaches the socket, and the data has a folder of its own
        data = ["--no-sync", "-A", "trust", "-U", "tests", "-E", "UTF8", "--locale=C", "-D", str(folder / "data")]
        subprocess.run([*ordinary("initdb"), *data], check=True, stdout=subprocess.DEVNULL, cwd="/")
        with (folder / "data" / "pg_hba.conf").open("a") as file:
            file.write(f"{access}\n")
        server.start()
        yield server
    finally:
        server.stop("immediate")
        shutil.rmtree(folder)
