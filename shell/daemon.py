"""Background processes on a host, known by a pid file *and* a mark on their command line, never by a pattern.

Each function returns an argv. The scripts are files; values come as positional arguments, so no shell text is ever
composed. `mark` is one whole argument of the process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Literal, NamedTuple

from shell.scripts import load

Argv = tuple[str, ...]
Process = tuple[str, str]
"""A pid file and a mark."""

_LAUNCH_PROCESS = load("processes/launch-process")
_START_PROCESS = load("processes/start-process")
_STOP_PROCESSES = load("processes/stop-processes")
_AWAIT_PORTS = load("processes/await-ports")
_IS_RUNNING = load("processes/is-running")
_RUNS_ON_ITS_TAPS = load("processes/runs-on-its-taps")


LOG_DEVICE = "/dev/fd/9"
"""The name of the log inside a started process, which can only write to it."""


class ListeningProcess(NamedTuple):
    """A process that listens on a TCP port; `label` is printed with its pid."""

    pid_file: str
    mark: str
    port: int
    messages: str
    label: str


def is_running(pid_file: str, mark: str) -> Argv:
    """Check, read-only, that the process runs."""
    return _IS_RUNNING.argv(pid_file, mark)


def runs_on_its_taps(pid_file: str, mark: str, taps: Sequence[str]) -> Argv:
    """Check, read-only, that the process runs and its open `taps` are the present devices."""
    return _RUNS_ON_ITS_TAPS.argv(pid_file, mark, *taps)


def start(process: Process, messages: str, log: str, argv: Argv, *, secret: str = "", cores: int = 0) -> Argv:
    """Start `argv` in the background, in its own session, and print its pid file's name. End an older process first.

    The file `messages` keeps the beginning of the process's output. The file `log` keeps the beginning of its output to
    `LOG_DEVICE`, and two files beside it the end (`VMFiles.log_end`). The script reads one line of input and writes it
    to the file `secret` before the process starts. Only the user can read these files. The threads of the process share
    `cores` CPUs; 0 means all CPUs.
    """
    launch = _LAUNCH_PROCESS.argv(process[0], messages, log, *argv)
    return _START_PROCESS.argv(*process, secret, str(cores), *launch)


def stop(signal: Literal["TERM", "KILL"], *processes: Process) -> Argv:
    """Send `signal` to our processes and wait for their end; KILL follows after 3 s, failure after 6 s."""
    return _STOP_PROCESSES.argv(signal, *chain.from_iterable(processes))


def await_ports(servers: Iterable[ListeningProcess]) -> Argv:
    """Wait until all processes listen, and print label and pid of each. Fail with the last output of an ended one."""
    words = (str(word) for server in servers for word in server)
    return _AWAIT_PORTS.argv(*words)
