"""A host of one test: namespaces of the real kernel, entered without root, with programs of the test before others.

The user is root in there and owns its network: scripts change real devices, namespaces, rules and tables.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from shell.scripts import load

_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
_PROGRAMS = ("ip", "iptables", "iptables-restore", "nft", "nsenter", "sysctl", "unshare")
_SETTLE = "mount -t tmpfs tmpfs /run && mkdir /run/netns && mount -t sysfs sysfs /sys && echo ready && exec sleep 600"
_ENTER = ("--user", "--net", "--mount", "--preserve-credentials")


class OwnHost:
    """The namespaces of a process; `programs` is a folder for programs that stand in for others."""

    def __init__(self, pid: int, folder: Path) -> None:
        self._pid = pid
        self.programs, self.called = folder / "bin", folder / "calls"
        self.programs.mkdir()

    def program(self, name: str, *lines: str) -> None:
        """Put a program of these lines before the one of that name; it leaves its name and words in `calls`."""
        path = self.programs / name
        path.write_text("\n".join(("#!/bin/sh", f"echo \"{name} $*\" >>'{self.called}'", *lines, "")))
        path.chmod(0o755)

    def calls(self) -> list[str]:
        """Return what was called since the last time."""
        said = self.called.read_text().splitlines() if self.called.exists() else []
        self.called.unlink(missing_ok=True)
        return said

    def run(self, argv: tuple[str, ...], stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in the namespaces."""
        enter = (shutil.which("nsenter", path=_PATH) or "nsenter", f"--target={self._pid}", *_ENTER, "--", *argv)
        env = os.environ | {"PATH": f"{self.programs}:{_PATH}", "LC_ALL": "C"}
        return subprocess.run(
            enter, input=stdin, env=env, capture_output=True, text=True, check=False, timeout=30, cwd="/"
        )

    def script(self, path: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a script with these words."""
        return self.run(load(path).argv(*words))

    def do(self, text: str) -> str:
        """Return what a shell prints; it has to succeed."""
        done = self.run(("sh", "-c", f"set -e; {text}"))
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def own_host(folder: Path) -> Iterator[OwnHost]:
    """Yield a host for one test, or skip the test where the kernel or a program does not allow it."""
    if lacking := [name for name in _PROGRAMS if not shutil.which(name, path=_PATH)]:
        pytest.skip(f"not installed: {' '.join(lacking)}")
    argv = ("unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c", _SETTLE)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=os.environ | {"PATH": _PATH}, text=True) as process:
        try:
            assert process.stdout
            if process.stdout.readline() != "ready\n":
                pytest.skip("this kernel gives a user no namespaces of their own")
            yield OwnHost(process.pid, folder)
        finally:
            for pid in _inside(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.kill()


def _inside(pid: int) -> list[int]:
    """Return the processes in the user namespace of another one, which a test may have left in the background."""
    own = _user_namespace(pid)
    if own in {"", _user_namespace(os.getpid())}:  # it has not got one of its own
        return []
    found = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())
    return [each for each in found if each != pid and _user_namespace(each) == own]


def _user_namespace(pid: int) -> str:
    """Return the name of a process's user namespace, or an empty string where the process is gone or foreign."""
    try:
        return str(Path(f"/proc/{pid}/ns/user").readlink())
    except OSError:
        return ""
