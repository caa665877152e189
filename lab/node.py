"""Nodes: processes that hold namespaces; a node is alive as long as it holds the lock on its state file.

The kernel drops the lock however the process ends, so it cannot become stale like a pid in a file. F_GETLK names the
holder, so a pid that another process has taken over is never signalled.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.command import SYSTEM_ENVIRONMENT
from lab.errors import LabError
from lab.paths import ROOT

READY = "ready"
NSENTER = "/usr/bin/nsenter"
# struct flock on 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid (fcntl(2)), padded to its alignment.
FLOCK = "hhqqi0q"
TERM_SECONDS = 3.0


def claim(folder: Path) -> int:
    """Make this process the node of this folder; raise BlockingIOError when the folder has one already."""
    descriptor = os.open(folder / "state", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.ftruncate(descriptor, 0)
    return descriptor


def announce_ready(descriptor: int) -> None:
    """Record in the state file that the node is ready for use."""
    os.pwrite(descriptor, READY.encode(), 0)


class Node:
    """One node, seen from outside through its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name

    @property
    def pid(self) -> int | None:
        """Return the node's pid on the machine, or None when it is dead."""
        try:
            descriptor = os.open(self.folder / "state", os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            question = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = struct.unpack(FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
        finally:
            os.close(descriptor)
        return None if kind == fcntl.F_UNLCK else int(pid)

    @property
    def ready(self) -> bool:
        """Return whether the node is alive and has announced that it is ready."""
        return self.pid is not None and (self.folder / "state").read_text() == READY

    def start(self, namespaces: Sequence[str], program: Sequence[str], inside: Node | None = None) -> None:
        """Start `python -m PROGRAM` in new namespaces (arguments of unshare(1)) without waiting for it.

        With `inside`, the namespaces are that node's (arguments of nsenter(1)). `setsid --fork` detaches the process:
        it outlives this one and leaves no zombie.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        door = inside.enter(*namespaces) if inside else ["unshare", *namespaces, "--"]
        argv = ["setsid", "--fork", *door, sys.executable, "-B", "-m", *program]
        with (self.folder / "console.log").open("ab") as console:
            subprocess.run(
                argv,
                cwd=ROOT,
                env=SYSTEM_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                check=True,
            )

    def enter(self, *namespaces: str) -> list[str]:
        """Return the argv prefix that runs a command in these namespaces of the node (options of nsenter(1))."""
        pid = self.pid
        if pid is None:
            raise LabError(f"{self.name} is down")
        return [NSENTER, f"--target={pid}", *namespaces, "--"]

    def kill(self, *, gently: bool = False) -> None:
        """End the node and everything in its PID namespace, and return when all of it has ended.

        The lock is dropped a moment before the kernel has ended the rest of the namespace, so the pidfd is awaited.
        """
        pid = self.pid
        if pid is None:
            return
        try:
            process = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            if self.pid == pid:  # the descriptor now pins the holder, so no other process can be signalled
                self._signal(process, gently=gently)
        finally:
            os.close(process)

    def _signal(self, process: int, *, gently: bool) -> None:
        steps = [(signal.SIGTERM, TERM_SECONDS)] if gently else []
        for number, seconds in [*steps, (signal.SIGKILL, 10.0)]:
            try:
                signal.pidfd_send_signal(process, number)
            except ProcessLookupError:
                return
            if select.select([process], [], [], seconds)[0]:
                return
        raise LabError(f"{self.name} does not end, not even by SIGKILL")

    def last_words(self) -> str:
        """Return the end of the node's console output, for an error message."""
        console = self.folder / "console.log"
        lines = console.read_text(errors="replace").splitlines() if console.exists() else []
        return "\n".join(lines[-5:]) or "nothing"
