"""A conversation with a guest through its serial console, as a person would have it."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from types import TracebackType
from typing import IO, Self, cast

from lab.entry import LabEntry
from lab.errors import LabError

NUDGE_SECONDS = 1.0
PROMPT = re.compile(r"# $")
LOGIN = re.compile(r"login: $")
# Carriage returns, and the query for the cursor position that busybox's shell prints after every prompt.
NOISE = re.compile("\r|\x1b\\[[0-9;]*[A-Za-z]")


class GuestConsole:
    """A guest's serial console, reached through the UNIX socket of QEMU on its worker.

    QEMU serves one client at a time and stores nothing: earlier output of the guest is not available here.
    """

    def __init__(self, lab: LabEntry, worker: str, socket: str) -> None:
        self.output = ""
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
        """Reach a shell prompt from any state of the guest: booting, asking for a name, or logged in."""
        deadline = time.monotonic() + seconds
        output_before = len(self.output)
        while True:
            self._send("\n")
            # A key pressed while the guest boots is lost, so the key is pressed again.
            nudge = min(deadline, time.monotonic() + NUDGE_SECONDS)
            while self._receive(nudge):
                recent = self.output[output_before:]
                if PROMPT.search(recent):
                    return
                if LOGIN.search(recent):
                    output_before = len(self.output)
                    self._send("root\n")
            if time.monotonic() > deadline:
                raise self._silent("no prompt", seconds)

    def run(self, command: str, seconds: float = 30) -> tuple[str, int]:
        """Run a shell command in the guest and return its output and exit status.

        The marks around the output are spelled differently in the typed command, so that its echo does not match them.
        """
        self._count += 1
        mark = f"mark{self._count}"
        start = len(self.output)
        quoted = command.replace("'", "'\\''")
        self._send(f"echo {mark}'':; eval '{quoted}'; echo {mark}''=$?\n")
        pattern = re.compile(rf"^{mark}:\n(.*?)^{mark}=(\d+)$", re.DOTALL | re.MULTILINE)
        deadline = time.monotonic() + seconds
        while not (found := pattern.search(self.output, start)):
            if not self._receive(deadline):
                raise self._silent(f"`{command}` did not end", seconds)
        return found[1], int(found[2])

    def wait_for(self, pattern: str, seconds: float = 30) -> re.Match[str]:
        """Wait until the output since the opening of this console matches the pattern."""
        deadline = time.monotonic() + seconds
        while not (found := re.search(pattern, self.output)):
            if not self._receive(deadline):
                raise self._silent(f"nothing like {pattern!r}", seconds)
        return found

    def _send(self, text: str) -> None:
        os.write(self._input.fileno(), text.encode())

    def _receive(self, deadline: float) -> bool:
        """Read the next output; return False when none came before the deadline."""
        left = max(0.0, deadline - time.monotonic())
        if not select.select([self._output], [], [], left)[0]:
            return False
        piece = os.read(self._output.fileno(), 65536)
        if not piece:
            raise LabError(f"the console was closed at the other end; last heard: {self.output[-500:]!r}")
        self.output = NOISE.sub("", self.output + piece.decode(errors="replace"))
        return True

    def _silent(self, what: str, seconds: float) -> LabError:
        return LabError(f"guest console: {what} within {seconds:g} s; last heard: {self.output[-500:]!r}")
