"""Commands inside a lab: in a host as one of its users, or in a manager's network as the caller."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab import paths, postgres, topology
from lab.command import SYSTEM_ENVIRONMENT
from lab.errors import LabError
from lab.node import Node

Result = subprocess.CompletedProcess[str]


class LabEntry:
    """The entry into one lab's namespaces."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes_folder = folder / "hosts"

    def node(self, name: str) -> Node:
        """Return the process of a host or of the switch."""
        return Node(self.nodes_folder / name)

    def host_argv(self, host: str, argv: Sequence[str], user: str | None = None) -> list[str]:
        """Return the argv that runs a command inside a host, as root or as the user; no shell reads it on the way."""
        door = self.node(host).enter("--mount", "--net", "--uts", "--ipc", "--pid")
        become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--reset-env", "--"]
        return [*door, *(become if user else []), *argv]

    def home(self, manager: int = 1) -> Path:
        """Return the home of a manager that shares a database with others."""
        return self.folder / "homes" / topology.manager(manager).name

    @property
    def database_url(self) -> str | None:
        """Return the URL of the database that the managers share; None where there is one manager."""
        return postgres.URL if self.node(topology.DATABASES[0].name).folder.exists() else None

    def environment(self, manager: int = 1) -> dict[str, str]:
        """Return the environment of commands on a manager: the caller's, and what several managers need."""
        shared = self.database_url
        several = {"HOME": str(self.home(manager)), "CLOUD_DATABASE": shared} if shared else {}
        return paths.caller().environment() | several

    def manager_argv(self, argv: Sequence[str], manager: int = 1) -> list[str]:
        """Return the argv that runs a command in a manager's network, as the user behind sudo."""
        caller = paths.caller()
        become = ["setpriv", f"--reuid={caller.uid}", f"--regid={caller.gid}", "--init-groups", "--"]
        return [*self.node(topology.manager(manager).name).enter("--net"), *(become if caller.uid else []), *argv]

    def exec(
        self,
        host: str,
        argv: Sequence[str],
        *,
        input: str | None = None,  # noqa: A002 - the name subprocess.run gives it
        check: bool = True,
        timeout: float = 60,
        user: str | None = None,
    ) -> Result:
        """Run a command inside a host to its end; with `check`, raise LabError with its last words if it fails."""
        done = _finish(self.host_argv(host, argv, user), SYSTEM_ENVIRONMENT, "/", input, timeout)
        return _checked(done, host, argv) if check else done

    def run(
        self,
        argv: Sequence[str],
        *,
        input: str | None = None,  # noqa: A002 - as above
        check: bool = True,
        timeout: float = 60,
        manager: int = 1,
    ) -> Result:
        """Run a command in a manager's network to its end; errors are those of `exec`."""
        done = _finish(self.manager_argv(argv, manager), self.environment(manager), None, input, timeout)
        return _checked(done, topology.manager(manager).name, argv) if check else done

    def popen(self, argv: Sequence[str], *, manager: int = 1, **options: Any) -> subprocess.Popen[Any]:
        """Start a command in a manager's network; `options` are those of subprocess.Popen."""
        environment = options.pop("env", self.environment(manager))
        return subprocess.Popen(self.manager_argv(argv, manager), env=environment, **options)

    def popen_in(self, host: str, argv: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a command inside a host, as root."""
        return subprocess.Popen(self.host_argv(host, argv), env=SYSTEM_ENVIRONMENT, cwd="/", **options)


def _finish(argv: list[str], env: Mapping[str, str], cwd: str | None, text: str | None, timeout: float) -> Result:
    # A command in a test reads the test's text, never the terminal.
    source: dict[str, Any] = {"stdin": subprocess.DEVNULL} if text is None else {"input": text}
    return subprocess.run(
        argv, env=env, cwd=cwd, timeout=timeout, capture_output=True, text=True, errors="replace", check=False, **source
    )


def _checked(done: Result, where: str, argv: Sequence[str]) -> Result:
    if done.returncode:
        said = (done.stderr or done.stdout).strip() or "nothing"
        raise LabError(f"{where}: {' '.join(argv)}: exit {done.returncode}, said: {said}")
    return done
