"""Talks to a guest through its serial console, as a person at that console would."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from types import TracebackType
from typing import IO, Self, cast

from lab.entry import Entry
from lab.errors import LabError

NUDGE_SECONDS = 1.0
PROMPT = re.compile(r"# $")
LOGIN = re.compile(r"login: $")
# Carriage returns, and the question for the cursor's place that busybox's shell puts behind every prompt.
NOISE = re.compile("\r|\x1b\\[[0-9;]*[A-Za-z]")


class GuestConsole:
    """A guest's serial console, reached through the UNIX socket that QEMU offers on its worker.

    QEMU serves one client at a time and keeps nothing for later: what the guest said before is not heard here.
    """

    def __init__(self, lab: Entry, worker: str, socket: str) -> None:
        self.heard = ""
        self._count = 0
        self._process = lab.popen_in(
            worker,
            ["socat", "-", f"UNIX-CONNECT:{socket},retry=50,interval=0.1"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._input = cast("IO[bytes]", self._process.stdin)
        self._output = cast("IO[bytes]", self._process.stdout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; the guest stays logged in."""
        self._input.close()
        self._output.close()
        self._process.wait(timeout=10)

    def login(self, seconds: float = 60) -> None:
        """Get to a shell prompt, from wherever the guest is: booting, asking for a name, or logged in already."""
        deadline = time.monotonic() + seconds
        heard_before = len(self.heard)
        while True:
            self._send("\n")
            # A key pressed while the guest boots is lost, so another follows.
            nudge = min(deadline, time.monotonic() + NUDGE_SECONDS)
            while self._hear(nudge):
                recent = self.heard[heard_before:]
                if PROMPT.search(recent):
                    return
                if LOGIN.search(recent):
                    heard_before = len(self.heard)
                    self._send("root\n")
            if time.monotonic() > deadline:
                raise self._silent("no prompt", seconds)

    def run(self, command: str, seconds: float = 30) -> tuple[str, int]:
        """Run a shell command in the guest and return its output and exit status.

        The marks around the output are spelled differently in what is typed, so that the echo is not taken for them.
        """
        self._count += 1
        mark = f"mark{self._count}"
        start = len(self.heard)
        quoted = command.replace("'", "'\\''")
        self._send(f"echo {mark}'':; eval '{quoted}'; echo {mark}''=$?\n")
        pattern = re.compile(rf"^{mark}:\n(.*?)^{mark}=(\d+)$", re.DOTALL | re.MULTILINE)
        deadline = time.monotonic() + seconds
        while not (found := pattern.search(self.heard, start)):
            if not self._hear(deadline):
                raise self._silent(f"`{command}` did not end", seconds)
        return found[1], int(found[2])

    def wait_for(self, pattern: str, seconds: float = 30) -> re.Match[str]:
        """Wait until something matching has been heard since this console was opened."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.heard)):
            if not self._hear(deadline):
                raise self._silent(f"nothing like {pattern!r}", seconds)
        return found

    def _send(self, text: str) -> None:
        os.write(self._input.fileno(), text.encode())

    def _hear(self, deadline: float) -> bool:
        """Take in what comes next; False when nothing came before the deadline."""
        left = max(0.0, deadline - time.monotonic())
        if not select.select([self._output], [], [], left)[0]:
            return False
        piece = os.read(self._output.fileno(), 65536)
        if not piece:
            raise LabError(f"the console was closed at the other end; last heard: {self.heard[-500:]!r}")
        self.heard = NOISE.sub("", self.heard + piece.decode(errors="replace"))
        return True

    def _silent(self, what: str, seconds: float) -> LabError:
        return LabError(f"guest console: {what} within {seconds:g} s; last heard: {self.heard[-500:]!r}")
