"""A lab of three managers whose cloud is in a PostgreSQL database, with views from outside."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from database import Store, open_store
from lab import Lab, paths, postgres, topology
from lab.errors import wait_until
from storage.location import ServerURL
from storage.postgres import tables
from tests.support.lab.visitor import HOSTS
from tests.support.paths import ROOT

SUPPORT = ROOT / "tests/support/lab"
SECONDS = 120.0
MANAGERS = 3
NOT_COPIED = (".*", "tests", "docs", "bench", "lab", "database.yaml*")


@dataclass
class ManagersLab:
    """The lab. Programs run on its managers; `local` is for the tests, which have no network to the lab."""

    lab: Lab
    checkouts: dict[int, Path] = field(default_factory=dict)
    """The program of each manager that has another one than this checkout."""

    @property
    def url(self) -> str:
        assert self.lab.database_url
        return self.lab.database_url

    def local(self, name: str = postgres.CLOUD, server: str = topology.DATABASES[0].name) -> ServerURL:
        """Return the URL of a database by the socket of its server."""
        folder = f"/proc/{self.lab.node(server).pid}/root{postgres.SOCKETS}"
        return ServerURL(f"postgresql:///{name}?host={folder}&user={postgres.CLOUD}")

    def store(self, server: str = topology.DATABASES[0].name) -> Store:
        return open_store(self.local(server=server))

    def on_server(self, server: str, *words: str) -> str:
        """Return the output of a command that succeeds as the servers' user."""
        return self.lab.exec(server, ["sudo", "-u", postgres.USER, *words]).stdout

    def asked(self, server: str, query: str) -> str:
        return self.on_server(server, "psql", "-Atc", query).strip()

    def ended(self, manager: int, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the program at a manager to its end."""
        argv = [sys.executable, str(self.checkouts.get(manager, ROOT) / "cli.py"), *words]
        return self.lab.run(argv, check=False, manager=manager, timeout=SECONDS)

    def run(self, manager: int, *words: str) -> str:
        """Return the output of a command that succeeds at a manager."""
        done = self.ended(manager, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def create(self, name: str, template: str = "ring:4") -> int:
        """Create VMs with internet, so that every stage has work for each host; return the slice's id."""
        made = self.run(1, "create", "--template", template, "--internet", "all", "--name", name, "--json")
        return int(json.loads(made)["slice_id"])

    def newer_checkout(self) -> Path:
        """Return a copy of the program that knows one more version of the tables."""
        copy = self.lab.folder / "newer"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_COPIED))
        step = copy / "storage/postgres/tables" / f"{tables.NEWEST + 1}.sql"
        step.write_text("ALTER TABLE piece ADD COLUMN later text;\n", encoding="utf-8")
        return copy

    def processes(self, slice_id: int) -> list[str]:
        """Return the pids of a slice's VMs, each with its worker."""
        argv = ["pgrep", "-f", f"^qemu-system.* -name slice{slice_id}-vm"]
        workers = [host for host in HOSTS.values() if host.startswith("worker")]
        return [f"{host} {pid}" for host in workers for pid in self.lab.exec(host, argv, check=False).stdout.split()]

    def fences(self, slice_id: int) -> dict[str, int]:
        """Return the highest fence of a slice that each host has seen."""
        argv = ["cat", f"/run/cloud-repositorio-slice-{slice_id}.fence"]
        return {host: int(self.lab.exec(host, argv).stdout) for host in HOSTS.values()}

    @contextmanager
    def started(self, manager: int, script: str, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Run a program of the tests at a manager, and end it afterwards."""
        argv = [sys.executable, str(SUPPORT / script), *words]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with self.lab.popen(argv, manager=manager, cwd=ROOT, **pipes) as process:
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def stopped_in(self, manager: int, action: str, slice_id: int, *moment: str) -> Iterator[subprocess.Popen[str]]:
        """Run a use-case at a manager, which waits for SIGCONT in its middle."""
        words = (self.url, action, str(slice_id), *moment, "SIGSTOP")
        with self.started(manager, "mortal.py", *words) as process:
            wait_until(lambda: is_stopped(process), SECONDS, f"manager {manager} is in the middle of {action}")
            yield process


def is_stopped(process: subprocess.Popen[str]) -> bool:
    assert process.poll() is None, "it ended before that moment"
    return (Path("/proc") / str(process.pid) / "stat").read_text().rpartition(")")[2].split()[0] == "T"


def go_on(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Let a manager that waits go on; return its answer."""
    os.kill(process.pid, signal.SIGCONT)
    answer = json.loads(process.communicate(timeout=SECONDS)[0])
    assert isinstance(answer, dict)
    return answer


@contextmanager
def managers_lab(name: str) -> Iterator[ManagersLab]:
    """Bring up a lab whose guests have empty disks, with a cloud in its database; remove all of it afterwards."""
    lab = Lab(name, managers=MANAGERS, has_debian=False)
    lab.down()
    try:
        lab.up()
        empty = lab.folder / "empty.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(empty), "1M"], check=True)
        paths.caller().own(empty)
        settings = lab.database.read_text(encoding="utf-8").replace(str(lab.image), str(empty))
        settings = settings.replace(f'"{lab.files.known_hosts}"', "~/known_hosts")  # each manager has its own
        lab.database.write_text(settings, encoding="utf-8")
        cloud = ManagersLab(lab)
        cloud.run(1, "database", "import", str(lab.database))
        yield cloud
    finally:
        lab.down()
