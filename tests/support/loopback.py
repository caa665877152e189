"""An SSH server on the loopback interface, in this process: real protocol, real shell, and misbehaviour on request."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import paramiko
from paramiko import common

from core.inventory import SSHSettings
from tests.support.paths import PROGRAMS

DISK_FULL = 1 << 22
"""Number of bytes of a file that still fit on the full disk."""


@dataclass
class LoopbackHost:
    """The server's behaviour.

    `home` is where commands run and files arrive; `sudo` replaces `sudo -n`, and `login` runs before it.
    """

    home: Path
    user_key: paramiko.PKey
    host_key: paramiko.PKey = field(default_factory=paramiko.ECDSAKey.generate)
    login_shell: str = "sh"
    more_host_keys: list[paramiko.PKey] = field(default_factory=list)
    sudo: str = "sh -s"
    login: str = ""
    accepts: bool = True
    login_seconds: float = 0
    turns_away: int = 0
    hangs_up: bool = False
    hangs: bool = False
    damages_files: bool = False
    silent_files: bool = False
    disk_full: bool = False
    programs: Path = PROGRAMS
    connections: int = 0
    _listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))
    _transports: list[paramiko.Transport] = field(default_factory=list)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def settings(self, tmp_path: Path, **changes: Any) -> SSHSettings:
        """Return the settings for it: its port, the user's key and a `known_hosts` in `tmp_path`."""
        key_file = tmp_path / "key"
        if not key_file.exists():
            self.user_key.write_private_key_file(str(key_file))
        known_hosts = changes.pop("known_hosts", str(tmp_path / "ssh" / "known_hosts"))
        return SSHSettings("ubuntu", self.port, str(key_file), known_hosts, **changes)

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.turns_away:  # as sshd does with some of many simultaneous clients
                self.turns_away -= 1
                connection.sendall(b"Exceeded MaxStartups\r\n")
                connection.close()
                continue
            transport = _ServerTransport(connection)
            for key in (self.host_key, *self.more_host_keys):
                transport.add_server_key(key)
            self._transports.append(transport)
            transport.start_server(event=threading.Event(), server=_Session(self, transport.programs))

    def cut(self) -> None:
        """End every connection, as in a power loss of the host."""
        for transport in self._transports:
            transport.close()

    def close(self) -> None:
        self.hangs = False
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for process in self.processes:
            with suppress(ProcessLookupError):  # it has ended with all its children
                os.killpg(process.pid, signal.SIGKILL)


class _ServerTransport(paramiko.Transport):
    """A transport that starts a program after the reply to its request, as sshd does: some end at once."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        self.programs: SimpleQueue[threading.Thread] = SimpleQueue()

    def _send_user_message(self, data: paramiko.Message) -> None:
        super()._send_user_message(data)  # type: ignore[misc]
        if data.asbytes().startswith(common.cMSG_CHANNEL_SUCCESS) and not self.programs.empty():
            self.programs.get().start()


class _Session(paramiko.ServerInterface):
    def __init__(self, host: LoopbackHost, programs: SimpleQueue[threading.Thread]) -> None:
        self._host = host
        self._programs = programs

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        time.sleep(self._host.login_seconds)
        known = self._host.accepts and username == "ubuntu" and key == self._host.user_key
        return common.AUTH_SUCCESSFUL if known else common.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        assert username
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        assert chanid >= 0
        while self._host.hangs:
            time.sleep(0.05)
        return common.OPEN_SUCCEEDED if kind == "session" else common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        words = command.decode()
        login, shell, _ = words.partition("exec sudo -n sh -s")
        words = f"{self._host.login}{login}{self._host.sudo}" if shell else words
        program = threading.Thread(target=self._serve, args=(channel, words), daemon=True)
        self._programs.put(program)
        return True

    def _serve(self, channel: paramiko.Channel, words: str) -> None:
        if self._host.hangs_up:
            self._host.cut()
            return
        path = f"{self._host.programs}:{PROGRAMS}:{os.environ['PATH']}"
        takes_file = words == "exec sh -s"
        damages = takes_file and self._host.damages_files
        if takes_file and self._host.silent_files:
            words = f"sleep 3; {words}"
        if takes_file and self._host.disk_full:
            words = f"trap '' XFSZ; ulimit -f {DISK_FULL // 512}; {words}"
        process = subprocess.Popen(
            [self._host.login_shell, "-c", words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            cwd=self._host.home,
            env=os.environ | {"PATH": path},
        )
        assert process.stdin
        assert process.stdout
        assert process.stderr
        self._host.processes.append(process)
        stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
        _in_background(
            channel.recv,
            lambda data: stdin.write(data[::-1] if damages and b"take_in()" not in data else data),
            stdin.close,
        )
        outputs = [
            _in_background(lambda size: os.read(stdout.fileno(), size), channel.sendall),
            _in_background(lambda size: os.read(stderr.fileno(), size), channel.sendall_stderr),
        ]
        for output in outputs:
            output.join()
        with suppress(OSError, EOFError):  # the client may be gone
            channel.send_exit_status(process.wait() % 256)  # a killed one has a negative status
            channel.close()
        stdout.close()
        stderr.close()


def _in_background(
    read: Callable[[int], bytes], write: Callable[[bytes], object], end: Callable[[], None] = lambda: None
) -> threading.Thread:
    """Copy from `read` to `write` until either ends: a program need not read all its input."""

    def copy() -> None:
        with suppress(OSError, EOFError):  # the connection was lost
            while data := read(1 << 16):
                write(data)
            end()

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    return thread


@contextmanager
def loopback_host(home: Path) -> Iterator[LoopbackHost]:
    """Run the server for the body."""
    home.mkdir(exist_ok=True)
    host = LoopbackHost(home, paramiko.ECDSAKey.generate())
    thread = threading.Thread(target=host.serve, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        host.close()
        thread.join(timeout=10)
