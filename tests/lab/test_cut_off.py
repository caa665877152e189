"""A manager that is cut off from the PostgreSQL server: its claims become free, though it can say nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE

import pytest

from database import Database, open_store
from storage.location import ServerURL
from tests.support.many import write_file
from tests.support.paths import ROOT
from tests.support.postgres import PostgresServer, started
from tests.unit.storage.test_stores import HOLDER

pytestmark = pytest.mark.lab

SERVER, MANAGER, PREFIX = "192.0.2.1", "192.0.2.2", "24"
MOST_S = 15.0
"""The keepalives give up after 9 s; the rest is for a busy machine."""


@dataclass
class OwnNetwork:
    """A network namespace, which lives as long as the process that was started in it."""

    pid: int

    @property
    def inside(self) -> tuple[str, ...]:
        """Return the words that run a program in it."""
        return ("nsenter", f"--net=/proc/{self.pid}/ns/net")

    def ip(self, *words: str) -> None:
        subprocess.run([*self.inside, "ip", *words], check=True)


@contextmanager
def namespace() -> Iterator[OwnNetwork]:
    """Yield a new namespace without a name, which no other test of this machine sees."""
    script = "echo made; read -r _"
    with subprocess.Popen(["unshare", "--net", "sh", "-c", script], stdin=PIPE, stdout=PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"made\n"
        try:
            yield OwnNetwork(process.pid)
        finally:
            process.kill()


@pytest.fixture
def namespaces() -> Iterator[tuple[OwnNetwork, OwnNetwork]]:
    """Yield a namespace for the server and one for the manager, joined by a cable."""
    with namespace() as server, namespace() as manager:
        server.ip("link", "add", "pg0", "type", "veth", "peer", "name", "pg0", "netns", str(manager.pid))
        for place, address in ((server, SERVER), (manager, MANAGER)):
            place.ip("address", "add", f"{address}/{PREFIX}", "dev", "pg0")
            place.ip("link", "set", "pg0", "up")
        yield server, manager


@pytest.fixture
def server(
    namespaces: tuple[OwnNetwork, OwnNetwork], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PostgresServer]:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with started(namespaces[0].inside, [f"listen_addresses={SERVER}"], f"host all all {MANAGER}/32 trust") as server:
        yield server


def test_a_claim_is_free_when_its_manager_is_cut_off(
    namespaces: tuple[OwnNetwork, OwnNetwork], server: PostgresServer, tmp_path: Path
) -> None:
    write_file(tmp_path / "database.yaml", [2])
    url = server.new_database()
    store = open_store(url)
    store.create(Database(tmp_path / "database.yaml").load())
    database = url.text.partition("?")[0].rpartition("/")[2]
    there = ServerURL(f"postgresql://tests@{SERVER}/{database}")
    words = [*namespaces[1].inside, sys.executable, "-c", HOLDER, str(there), "1000"]
    with subprocess.Popen(words, cwd=ROOT, stdin=PIPE, stdout=PIPE) as holder:
        try:
            assert holder.stdout
            assert holder.stdout.readline() == b"held\n"
            assert store.is_claimed(1000)
            namespaces[1].ip("link", "set", "pg0", "down")
            began = time.monotonic()
            while store.is_claimed(1000):
                assert time.monotonic() < began + MOST_S
                time.sleep(0.1)
            with store.claim(1000):
                assert holder.poll() is None
        finally:
            holder.kill()
