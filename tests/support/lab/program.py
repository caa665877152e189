"""The program's commands on a lab, each in a process of its own that need not import the program again.

A server in the manager's network imports the program once. For each command it forks a process, which goes on as
`cli.py` does: with these arguments, no input, and an output and exit status of its own.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from functools import cached_property
from pathlib import Path
from typing import IO

from lab import Lab
from lab.topology import MANAGER
from tests.support.paths import ROOT

SECONDS = 60.0
PROGRAM = str(ROOT / "cli.py")


class ProgramServer:
    """A process in the manager's network that carries out one command after the other."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._manager = lab.node(MANAGER).pid

    def serves(self, lab: Lab) -> bool:
        """Return whether this is the server of a lab that was not started again meanwhile."""
        return self._lab is lab and self._manager == lab.node(MANAGER).pid

    @cached_property
    def _process(self) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", __name__]
        return self._lab.popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, words: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
        """Run one command to its end; raise TimeoutExpired where it takes longer than these seconds."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"words": words, "folder": str(Path.cwd()), "seconds": seconds}) + "\n")
        self._process.stdin.flush()
        status, output, errors = json.loads(self._process.stdout.readline())
        if status is None:
            raise subprocess.TimeoutExpired(words, seconds, output, errors)
        return subprocess.CompletedProcess([PROGRAM, *words], status, output, errors)

    def close(self) -> None:
        """End the server."""
        self._process.communicate(timeout=SECONDS)


_SERVERS: list[ProgramServer] = []
"""The servers at rest. A command takes one away, so commands at the same time have a server each."""


def run_program(
    lab: Lab, *words: str, database: Path | None = None, seconds: float = SECONDS
) -> subprocess.CompletedProcess[str]:
    """Run a command of the program in the manager's network as the caller, by default on the lab's own database."""
    server = _at_rest(lab) or ProgramServer(lab)
    done = server.run(["--database", str(database or lab.database), *words], seconds)
    _SERVERS.append(server)
    return done


def _at_rest(lab: Lab) -> ProgramServer | None:
    found = next((server for server in [*_SERVERS] if server.serves(lab)), None)
    if found:
        _SERVERS.remove(found)
    return found


def end_servers() -> None:
    """End all servers."""
    while _SERVERS:
        _SERVERS.pop().close()


def serve() -> None:
    """Carry out the commands that come by standard input, each in a child."""
    import cli  # noqa: PLC0415 - only the server runs it

    for module in ("orchestrator", "inspection.doctor", "remote.ssh"):  # `cli` imports them when it needs hosts
        importlib.import_module(module)
    for line in sys.stdin.buffer:  # the text above it is not yet read, and stays as it is at the start of a program
        request = json.loads(line)
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            child = os.fork()
            if not child:
                _become_program(request["words"], request["folder"], output, errors)
                sys.exit(cli.main(request["words"]))
            status = _awaited(child, request["seconds"])
            said = [_text(file) for file in (output, errors)]
        sys.stdout.write(json.dumps([status, *said]) + "\n")
        sys.stdout.flush()


def _become_program(words: list[str], folder: str, output: IO[bytes], errors: IO[bytes]) -> None:
    sys.argv = [PROGRAM, *words]
    os.chdir(folder)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device, no path
        os.dup2(nothing.fileno(), 0)
    os.dup2(output.fileno(), 1)
    os.dup2(errors.fileno(), 2)


def _awaited(child: int, seconds: float) -> int | None:
    """Return the child's exit status as subprocess gives it; None where it had to be killed in the end."""
    ends = os.pidfd_open(child)
    in_time = bool(select.select([ends], [], [], seconds)[0])
    os.close(ends)
    if not in_time:
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status if in_time else None


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


if __name__ == "__main__":
    serve()
