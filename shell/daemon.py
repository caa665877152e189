"""Background processes on a host: known by a pid file *and* by a mark on their own command line, never by a pattern.

Each function returns an argv. The scripts are files; what varies comes to them as positional arguments, so nothing
is ever put together to be read by a shell. `mark` is one whole argument of the process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Literal, NamedTuple

from shell.scripts import load

Argv = tuple[str, ...]
Process = tuple[str, str]
"""A pid file and a mark."""

_SOME_RUN = load("processes/some-run")
_LAUNCH_PROCESS = load("processes/launch-process")
_START_PROCESS = load("processes/start-process")
_STOP_PROCESSES = load("processes/stop-processes")
_AWAIT_PORTS = load("processes/await-ports")
_IS_RUNNING = load("processes/is-running")
_RUNS_ON_ITS_TAPS = load("processes/runs-on-its-taps")


LOG_DEVICE = "/dev/fd/9"
"""Where a process that is started writes its log, by this name: opened anew it can be written only."""


class Server(NamedTuple):
    """A process that listens on a TCP port; `label` is printed with its pid."""

    pid_file: str
    mark: str
    port: int
    messages: str
    label: str


def is_running(pid_file: str, mark: str) -> Argv:
    """Succeeds while the process lives."""
    return _IS_RUNNING.argv(pid_file, mark)


def some_run(processes: Iterable[Process]) -> Argv:
    """Succeeds while one of the processes lives."""
    return _SOME_RUN.argv(*chain.from_iterable(processes))


def runs_on_its_taps(pid_file: str, mark: str, taps: Sequence[str]) -> Argv:
    """Succeeds while the process lives and each of its `taps` is the one that it opened."""
    return _RUNS_ON_ITS_TAPS.argv(pid_file, mark, *taps)


def start(process: Process, messages: str, log: str, argv: Argv, *, secret: str = "", cores: int = 0) -> Argv:
    """Starts `argv` in the background, in a session of its own, and prints its pid file's name; an older one is ended.

    The beginning of what it says goes to the file `messages`, and the beginning of what it writes to `LOG_DEVICE` to
    the file `log`. What the script is given to read, a line, goes to the file `secret` before; the files are its user's
    only. All its threads together run on as many CPUs as `cores` says, 0: on all.
    """
    launch = _LAUNCH_PROCESS.argv(process[0], messages, log, *argv)
    return _START_PROCESS.argv(*process, secret, str(cores), *launch)


def stop(signal: Literal["TERM", "KILL"], *processes: Process) -> Argv:
    """Sends `signal` to those that are ours and waits until all are gone; KILL follows after 3 s, failure after 6 s."""
    return _STOP_PROCESSES.argv(signal, *chain.from_iterable(processes))


def await_ports(servers: Iterable[Server]) -> Argv:
    """Waits until all listen, prints label and pid of each; fails at once when one has ended, with its last words."""
    words = (str(word) for server in servers for word in server)
    return _AWAIT_PORTS.argv(*words)
