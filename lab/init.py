"""`python -m lab.init FOLDER HOST UNDERLAY`: pid 1 of a host. It mounts files, starts daemons and reaps processes.

Daemons that go into the background become children of pid 1. Without a wait for them, zombies would fill the process
table.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from lab import daemons, hold, node, postgres, root, topology
from lab.command import SYSTEM_ENVIRONMENT, run
from lab.daemons import Daemon
from lab.errors import POLL_SECONDS, wait_until
from lab.topology import LabHost, Role

RESTART_SECONDS = 1.0
DAEMON_SECONDS = 20.0
END_SECONDS = 1.0


class Init:
    """The daemons of one host by pid, each with the time of its start."""

    def __init__(self) -> None:
        self.running: dict[int, tuple[Daemon, float]] = {}

    def start(self, daemon: Daemon) -> None:
        """Start a daemon with its output in /var/log, and with default handlers for signals that Python ignores."""
        log = os.open(f"/var/log/{daemon.name}.console", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        null = os.open(os.devnull, os.O_RDONLY)
        pid = os.posix_spawnp(
            daemon.argv[0],
            daemon.argv,
            SYSTEM_ENVIRONMENT,
            file_actions=[(os.POSIX_SPAWN_DUP2, *pair) for pair in ((null, 0), (log, 1), (log, 2))],
            setsid=True,
            setsigdef=[signal.SIGPIPE, signal.SIGTERM],
        )
        os.close(log)
        os.close(null)
        self.running[pid] = (daemon, time.monotonic())

    def start_and_wait(self, daemon: Daemon) -> None:
        """Start a daemon, wait until it answers and run the commands that follow."""
        self.start(daemon)
        wait_until(daemon.is_answering, DAEMON_SECONDS, f"{daemon.name} answers")
        for command in daemon.then:
            run(command)

    def reap_forever(self) -> NoReturn:
        """Reap every child that ends, and restart an ended daemon that restarts, at most once a second."""
        while True:
            try:
                pid, _ = os.waitpid(-1, 0)
            except ChildProcessError:  # the last daemon was stopped; programs that enter the host may leave orphans
                time.sleep(RESTART_SECONDS)
                continue
            daemon, started = self.running.pop(pid, (None, 0.0))
            if daemon and daemon.restarts:
                time.sleep(max(0.0, started + RESTART_SECONDS - time.monotonic()))
                self.start(daemon)


def wait_for_cable(address: str) -> None:
    """Wait without a limit until the host's management port is plugged in and has its address."""
    while True:
        with socket.socket() as probe:
            try:
                probe.bind((address, 0))
            except OSError:
                time.sleep(POLL_SECONDS)
            else:
                return


def set_up_kernel(host: LabHost) -> None:
    """Set the host's name and network defaults; a namespace would inherit forwarding from a machine with Docker."""
    socket.sethostname(host.name)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
    hold.prepare_network()
    if host.role is Role.INTERNET:
        run(["ip", "address", "add", f"{topology.INTERNET_ADDRESS}/32", "dev", "lo"])


def end(_number: int, _frame: FrameType | None) -> NoReturn:
    """Ask every process of the host to end on SIGTERM, wait a little, and exit; the kernel ends the rest."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.kill(-1, signal.SIGTERM)
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(POLL_SECONDS)
        except ChildProcessError:
            break
    os._exit(0)


def main() -> None:
    """Boot, announce it, and stay."""
    folder, host, underlay = Path(sys.argv[1]), topology.host(sys.argv[2]), sys.argv[3]
    signal.signal(signal.SIGTERM, end)
    set_up_kernel(host)  # before a cable is plugged in
    state = node.claim(folder)
    root.enter(folder, host)
    wait_for_cable(host.address)
    if host.role is Role.DATABASE:
        postgres.prepare(host)
    init = Init()
    for daemon in daemons.of(host, underlay):
        init.start_and_wait(daemon)
    node.announce_ready(state)
    init.reap_forever()


if __name__ == "__main__":
    main()
