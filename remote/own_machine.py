"""Run a program on the manager's own machine, not on a host of the cloud, and return its output."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

from core.errors import Refused, last_line

SECONDS = 30
_STACK = 1 << 20
"""Bytes for the stack of a thread. With 8 MiB, and 64 MiB of malloc(3) each, few threads reach the bound of memory."""


@dataclass(frozen=True)
class Bounds:
    """The limits of a program that reads files of unknown origin: see prlimit(1).

    `seconds` bounds its time, and its CPU time as well. `memory` and `file` are bytes: of its address space, and of a
    file that it writes.
    """

    seconds: int
    memory: int
    file: int

    def around(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Return the argv that runs `argv` within these limits."""
        limits = {"as": self.memory, "cpu": self.seconds, "fsize": self.file, "stack": _STACK, "core": 0}
        options = (f"--{name}={most}" for name, most in limits.items())
        return ("prlimit", *options, "--", "env", "MALLOC_ARENA_MAX=1", *argv)


def output_of(
    argv: tuple[str, ...], text: str, package: str, *, ok: tuple[int, ...] = (0,), bounds: Bounds | None = None
) -> str:
    """Return the output of a program that reads `text`; raise `Refused` with what to do.

    `package` is the Debian package that has the program; `ok` are the exit statuses of success.
    """
    program = argv[0]
    if not shutil.which(program):
        raise Refused(f"{program} is not installed on this machine; run apt-get install {package}")
    seconds, command = (bounds.seconds, bounds.around(argv)) if bounds else (SECONDS, argv)
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired as fault:
        raise Refused(f"{program} did not end within {seconds} s on this machine, and was stopped") from fault
    except (OSError, UnicodeDecodeError) as fault:
        raise Refused(f"{program} did not run on this machine ({type(fault).__name__}); try again") from fault
    if done.returncode not in ok:
        raise Refused(f"{program} {_ending(done.returncode)}: {last_line(done.stderr) or 'no output'}")
    return done.stdout


def _ending(status: int) -> str:
    return f"failed with status {status}" if status >= 0 else f"was ended by signal {-status}, a limit of its own"
