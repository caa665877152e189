"""Hosts over SSH: one connection each, reused, and its channels. The only file with paramiko."""

from __future__ import annotations

import copy
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from core.errors import CloudError, HostUnreachable, HostUnusable, last_line
from core.inventory import SSHSettings
from remote import causes, host_keys, known_hosts
from remote.batch import echo
from remote.causes import FailedConnection, LoginShell, Reached
from remote.conversation import RENEW_SECONDS, Conversation
from remote.host import ShellChannel
from remote.host_keys import HostKey, KeyRefused, KnownHosts
from remote.known_hosts import SharedKeys
from remote.openssh import key_fault
from remote.plan import shell
from remote.root import SHELL

# paramiko takes invoke, a third of its import, for `Match exec` of files that we do not read.
sys.modules.setdefault("invoke", None)  # type: ignore[arg-type]

import paramiko  # noqa: E402
from paramiko.pkey import UnknownKeyType  # noqa: E402

LOST_SECONDS = 10
"""Seconds after which a host that acknowledges no packet is lost."""

_SOON_SECONDS = 0.1
_ALMOST = 0.95
"""The share of a deadline that counts as late: paramiko's own clocks start a little later."""

_BLOCK = 1 << 20


class SSHHost(Conversation):
    """A host that runs steps over one SSH connection.

    Batches are text: `compress` reduces them to a tenth, and few take more than one round trip. Files have a separate
    connection without compression.
    """

    def __init__(self, address: str, settings: SSHSettings, shared: SharedKeys | None = None) -> None:
        super().__init__(address, settings)
        self._shared = shared
        self._transport: _Transport | None = None
        self._connection: socket.socket | None = None

    def open_terminal(self, argv: tuple[str, ...], script: str = "") -> paramiko.Channel:
        """Run `argv` as the SSH user with `script` as input; return its channel, open until the program ends."""
        with self._busy, self._translated():
            self._begin(self._settings.timeouts.read_only)
            channel = self._open_channel()
            with self._bounded(self._connect_seconds), _unless_ended(channel):
                channel.exec_command(shell(argv))
                channel.sendall(script.encode())
            return channel

    def close(self) -> None:
        """End the connection."""
        self._shell = None
        if self._transport:
            self._transport.close()
            self._transport = None

    # --- the shell ----------------------------------------------------------------------------------------------------

    def _start_shell(self) -> paramiko.Channel:
        """Start sudo after a line of output from the login shell, which separates the failures of the two."""
        word = secrets.token_hex(12)
        self._login = LoginShell(word)
        with self._translated():
            channel = self._open_channel()
            with self._bounded(self._connect_seconds):
                channel.exec_command(f"echo {word}; exec {SHELL}")
            self.round_trips += 2
            return channel

    @contextmanager
    def _sending(self, channel: ShellChannel, seconds: float) -> Iterator[None]:
        with self._translated(begun=True), self._bounded(seconds), _unless_ended(channel):
            yield

    def _answers(self, channel: ShellChannel) -> bool:
        """Return whether a waiting shell answers a question; close the connection where no answer comes."""
        seconds, word, said = (
            self._within(min(RENEW_SECONDS, self._connect_seconds)),
            secrets.token_hex(12).encode(),
            b"",
        )
        deadline = time.monotonic() + seconds
        channel.settimeout(seconds)
        try:
            with self._bounded(seconds):
                channel.sendall(echo(word.decode()).encode())
            self.round_trips += 1
            while word not in said and time.monotonic() < deadline and (piece := channel.recv(_BLOCK)):
                said = (said + piece)[-_BLOCK:]
        except TimeoutError:
            self.close()
        except (OSError, EOFError, paramiko.SSHException):  # this shell has ended, the connection may still work
            return False
        return word in said

    def _end(self, channel: ShellChannel) -> None:
        """Close the channel; the failure of a lost connection is ignored."""
        with suppress(OSError, EOFError, paramiko.SSHException):
            channel.close()

    # --- the connection -----------------------------------------------------------------------------------------------

    @contextmanager
    def _bounded(self, seconds: float) -> Iterator[None]:
        """Close the connection when the body takes longer: paramiko waits for a hung host without a limit.

        The kernel of such a host goes on acknowledging packets, so the loss would never be noticed.
        """
        connection, late = self._connection, threading.Event()

        def end() -> None:
            late.set()
            with suppress(OSError):  # it has ended meanwhile
                if connection:
                    connection.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self._within(seconds), end)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (OSError, EOFError, paramiko.SSHException):
            if late.is_set():
                raise TimeoutError from None
            raise
        finally:
            timer.cancel()

    def _open_channel(self) -> paramiko.Channel:
        if self._transport:
            # The idle connection may have been lost; nothing was sent yet, so a new one can replace it.
            with suppress(OSError, EOFError, paramiko.SSHException):
                return self._connected().open_session(timeout=self._within(min(RENEW_SECONDS, self._connect_seconds)))
            self.close()
        return self._connected().open_session(timeout=self._within(self._connect_seconds))

    @property
    def _connect_seconds(self) -> float:
        return self._settings.timeouts.connect

    @property
    def _is_connected(self) -> bool:
        return self._transport is not None and self._transport.is_active()

    def _connected(self) -> paramiko.Transport:
        """Return the connection; make it again after a loss.

        sshd hangs up on some of many simultaneous clients (sshd_config(5), MaxStartups); those try again.
        """
        if self._transport and self._transport.is_active():
            return self._transport
        deadline = time.monotonic() + self._within(self._connect_seconds)
        while True:
            self.close()
            try:
                return self._log_in()
            except (OSError, EOFError, paramiko.SSHException):
                if not self._was_hung_up_on or time.monotonic() > deadline:
                    raise
            time.sleep(_SOON_SECONDS * (1 + secrets.randbelow(1000) / 1000))

    @property
    def _was_hung_up_on(self) -> bool:
        """Return whether sshd hung up before its greeting; after a late greeting there is no second attempt."""
        return bool(self._transport and not self._transport.remote_version and not self._transport.is_late)

    def _log_in(self) -> paramiko.Transport:
        """Make a connection; after a failure the transport is kept, because its stage tells the cause."""
        settings = self._settings
        keys = self._keys()
        known_hosts.fetch(self._shared, settings.known_hosts, self.address, settings.port)
        known = KnownHosts.read(settings.known_hosts)
        connection = socket.create_connection((self.address, settings.port), self._within(self._connect_seconds))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LOST_SECONDS * 1000)
        self._connection = connection
        name = host_keys.named(self.address, settings.port)
        order = [*known.order(name)]
        if known.revokes(name):
            order = [*(f"{kind}{host_keys.CERTIFIED}" for kind in order), *order]
        self._transport = transport = _Transport(connection, order, self._connect_seconds)
        transport.begin()
        accept_new = settings.host_keys == "accept-new"
        presented = _presented(transport.get_remote_server_key())
        path, port = settings.known_hosts, settings.port
        known_hosts.check(path, self.address, port, presented, accept_new=accept_new, shared=self._shared)
        for number, each in enumerate(keys, start=1):
            try:
                if methods := transport.auth_publickey(settings.user, each):
                    raise self._unusable(causes.more_wanted(settings, methods))
                break
            except paramiko.AuthenticationException:
                if number == len(keys) or not transport.is_active():
                    raise
        # The kernel notices a lost host only when a packet is not acknowledged, so packets have to be sent.
        transport.set_keepalive(3)
        return transport

    def _keys(self) -> list[paramiko.PKey]:
        """Return the key, and the same key with its certificate if it has one, in the order of ssh(1).

        The key is opened by descriptor, because paramiko would load the certificate with a key that it opens by name.
        """
        key_file = self._settings.key_file
        try:
            path = Path(key_file).expanduser()
            with path.open("rb") as file:
                if fault := key_fault(os.fstat(file.fileno()), key_file):
                    raise self._unusable(fault)
                key = paramiko.PKey.from_path(f"/proc/self/fd/{file.fileno()}")
            return [key, *_certified(key, path.with_name(f"{path.name}-cert.pub"))]
        except FileNotFoundError as error:
            why = "is not there; see ssh: key_file in the database"
            raise self._unusable(f"the SSH key {key_file} {why}") from error
        except paramiko.PasswordRequiredException as error:
            why = "has a passphrase, which cannot be typed here; use a key without one"
            raise self._unusable(f"the SSH key {key_file} {why}") from error
        except (OSError, ValueError, TypeError, RuntimeError, paramiko.SSHException, UnknownKeyType) as error:
            why = f"cannot be read as a private key ({last_line(str(error)) or type(error).__name__})"
            raise self._unusable(f"the SSH key {key_file} {why}") from error

    @contextmanager
    def _translated(self, *, begun: bool = False) -> Iterator[None]:
        """Raise a failure of the connection as `HostUnreachable`, with its cause and what to do."""
        try:
            yield
        except CloudError:
            self.close()
            raise
        except KeyRefused as error:
            self.close()
            raise self._unusable(str(error)) from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            found = self._cause(error, begun=begun)
            self.close()
            raise found from error

    def _cause(self, error: Exception, *, begun: bool) -> HostUnreachable:
        """Return the error for a failed connection, by the stage that it reached."""
        transport = self._transport
        late = isinstance(error, TimeoutError) or "timeout" in str(error).lower()
        said = last_line(error.text if isinstance(error, paramiko.ChannelException) else str(error))
        if transport is None:
            reached = Reached.NOTHING
        elif not transport.remote_version:
            reached = Reached.TCP
        elif not transport.initial_kex_done:
            reached = Reached.BANNER
        elif not transport.is_authenticated():
            reached = Reached.KEYS
        else:
            reached = Reached.LOGIN
        failure = FailedConnection(
            reached,
            error,
            late=late or (transport is not None and transport.is_late),
            closed=transport is not None and not transport.is_active(),
            words=transport.words if transport else "",
            message=said,
        )
        reason, answers = causes.of_connection(self._settings, failure, begun=begun)
        return (HostUnusable if answers else HostUnreachable)(self.address, reason, begun=begun)

    def _unusable(self, reason: str) -> HostUnusable:
        return HostUnusable(self.address, reason)


@contextmanager
def _unless_ended(channel: ShellChannel) -> Iterator[None]:
    """Ignore the failure of sending to a shell that ended early, for example refused by sudo: its output says why."""
    try:
        yield
    except OSError:
        if channel.exit_status < 0:
            raise


class Connections:
    """The hosts of one process, each with one connection. `shared` are the host keys that managers share."""

    def __init__(self, settings: SSHSettings, shared: SharedKeys | None = None) -> None:
        self._settings = settings
        self._shared = shared
        self._hosts: dict[str, SSHHost] = {}
        self._adding = threading.Lock()

    def host(self, address: str) -> SSHHost:
        """Return the host at `address`, without sending anything to it."""
        with self._adding:
            return self._hosts.setdefault(address, SSHHost(address, self._settings, self._shared))

    def use(self, settings: SSHSettings) -> None:
        """Reach all hosts by these settings from now on."""
        with self._adding:
            if settings != self._settings:
                self._settings = settings
                for host in self._hosts.values():
                    host.use(settings)

    def close(self) -> None:
        """End all connections."""
        for host in self._hosts.values():
            host.close()


class _Transport(paramiko.Transport):
    """An SSH connection being made, with host key kinds in this `order`; it keeps the host's messages."""

    def __init__(self, connection: socket.socket, order: Sequence[str], seconds: float) -> None:
        super().__init__(connection)
        self.use_compression(compress=True)
        self.banner_timeout = self.handshake_timeout = self.auth_timeout = seconds
        self._seconds = seconds
        self._said = ""
        self.is_late = False
        packets: Any = self.packetizer
        self._readline, packets.readline = packets.readline, self._read_greeting
        options = self.get_security_options()
        # AES-GCM first: a cipher without a separate digest costs half the time.
        options.ciphers = sorted(options.ciphers, key=lambda name: "-gcm" not in name)
        rsa = [f"rsa-sha2-{bits}{end}" for end in (host_keys.CERTIFIED, "") for bits in (512, 256)]
        algorithms = {kind: [kind] for kind in order} | {"ssh-rsa": rsa[2:], f"ssh-rsa{host_keys.CERTIFIED}": rsa[:2]}
        options.key_types = [name for kind in order for name in algorithms[kind]]

    def begin(self) -> None:
        """Exchange greetings and keys."""
        began = time.monotonic()
        try:
            self.start_client(timeout=self._seconds)
            if not self.initial_kex_done:
                raise TimeoutError
        finally:
            self.is_late = not self.initial_kex_done and time.monotonic() - began >= self._seconds * _ALMOST

    @property
    def words(self) -> str:
        """Return the host's message to its user, or its last words at the end of the connection."""
        banner = getattr(self.auth_handler, "banner", None) or b""
        return self._said or banner.decode(errors="replace")

    def _read_greeting(self, timeout: float) -> str:
        """Read a line of the greeting; a line before SSH's own is kept, because it says why there is none."""
        line: str = self._readline(timeout)
        self._said = "" if line.startswith("SSH-") else line
        return line

    def _parse_disconnect(self, message: paramiko.Message) -> None:
        message.get_int()
        self._said = message.get_text()


def _presented(key: paramiko.PKey) -> HostKey:
    """Return a host's key, with the authority of its certificate if it came with one."""
    authority = host_keys.authority_of(key.public_blob.key_blob) if key.public_blob else b""
    return HostKey(key.get_name(), key.asbytes(), key.get_bits(), authority)


def _certified(key: paramiko.PKey, certificate: Path) -> list[paramiko.PKey]:
    """Return the key with its certificate, or an empty list where none can be read; ssh(1) goes on without, too."""
    certified = copy.copy(key)
    try:
        certified.load_certificate(str(certificate))
    except (OSError, ValueError, IndexError, paramiko.SSHException):
        return []
    return [certified]
