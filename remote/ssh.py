"""Hosts over SSH: one connection each, reused, and one batch of commands at a time. The only file with paramiko.

The shell that reads the batches stays for a while: each further stage costs one round trip, a further plan one more.
"""

from __future__ import annotations

import os
import secrets
import select
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import paramiko
from paramiko.hostkeys import InvalidHostKey
from paramiko.pkey import UnknownKeyType

from errors import (
    BadAnswer,
    CloudError,
    CommandFailed,
    HostUnreachable,
    InvalidAnswer,
    NotBegun,
    SudoRefused,
    last_line,
)
from inventory import SSHSettings
from remote.batch import IDLE_SECONDS, Batch, Outcome, Progress, Transcript, UploadWanted, echo
from remote.openssh import CONNECT_SECONDS, Copy
from remote.plan import CHANGE_DEADLINE_SECONDS, LOOK_SECONDS, PATIENCE_SECONDS, Step, Upload, shell
from remote.upload import IS_THERE

RENEW_SECONDS = 1.5
"""A connection on which nothing happens for so long is given up for a new one: a host that is gone costs both waits."""

_SOON_SECONDS = 0.1

LOST_SECONDS = 10
"""A host that does not even acknowledge packets for so long is gone."""

SHELL = "sudo -n sh -s"
"""What batches are sent to; the one right that sudo has to grant."""

_HUNG = "it takes connections and does nothing more; it hangs, or is much too busy"
_BLOCK = 1 << 20
_LEAST_SECONDS = 0.05


class SSHHost:
    """A host that runs steps over one SSH connection, made when it is first needed, and again after it was lost.

    Batches are text: `compress` leaves a tenth of them, and few take more than one round trip. Files have a connection
    of their own, without it.
    """

    def __init__(self, address: str, settings: SSHSettings) -> None:
        self.address = address
        self._settings = settings
        self._client: paramiko.SSHClient | None = None
        self._connection: socket.socket | None = None
        self._shell: paramiko.Channel | None = None
        self._used = 0.0
        self._deadline, self._ends = 0.0, 0.0
        self._has_answered = False
        self._repeatable = False
        self._busy = threading.RLock()
        self.round_trips = 0
        """What was sent, so far, and its answer waited for; of what logging in takes, nothing."""

    def run(
        self,
        steps: Sequence[Step],
        *,
        keep_going: bool = False,
        lock: str = "",
        patience: float = PATIENCE_SECONDS,
        deadline: float = CHANGE_DEADLINE_SECONDS,
    ) -> Generator[Outcome | Progress, None, None]:
        """Run the steps and yield how each action ended; see `remote.runner.Host`."""
        with self._busy:
            batch: Batch | None = Batch(steps, keep_going, lock=lock, patience=patience)
            while batch:
                self._begin(deadline)
                wanted = yield from self._run_batch(batch, patience)
                batch = None
                if wanted:
                    yield from self._upload(steps[wanted.step], wanted, patience, deadline)
                    batch = Batch(steps, keep_going, (wanted.step, wanted.action + 1), lock, patience)

    def open_terminal(self, argv: tuple[str, ...]) -> paramiko.Channel:
        """Run `argv` as the SSH user and give its channel: bytes both ways, until it ends."""
        with self._busy, self._translated():
            self._begin(LOOK_SECONDS)
            channel = self._open_channel()
            channel.set_combine_stderr(True)
            with self._bounded(CONNECT_SECONDS):
                channel.exec_command(shell(argv))
            return channel

    def expect(self, *, repeatable: bool = False) -> None:
        """The shell that an earlier plan left is asked before it is used; see `remote.runner.Host`."""
        self._has_answered = False
        self._repeatable = repeatable

    def close(self) -> None:
        """End the connection."""
        self._shell = None
        if self._client:
            self._client.close()
            self._client = None

    def _run_batch(self, batch: Batch, patience: float) -> Generator[Outcome, None, UploadWanted | None]:
        if batch.is_empty:
            return None
        if self._repeatable and not self._has_answered and self._shell and self._waits(self._shell):
            transcript = Transcript(batch, secrets.token_hex(12))
            try:  # the batch itself is the question
                return (yield from self._converse(batch, transcript, patience, RENEW_SECONDS))
            except (HostUnreachable, NotBegun):
                if transcript.begun:
                    raise
        return (yield from self._converse(batch, Transcript(batch, secrets.token_hex(12)), patience, patience))

    def _converse(
        self, batch: Batch, transcript: Transcript, patience: float, first_patience: float
    ) -> Generator[Outcome, None, UploadWanted | None]:
        """Send the batch and hear it out; `first_patience` is for the silence before its first word."""
        wanted = None
        with self._open_shell(patience) as channel:
            with self._translated(begun=True), self._bounded(patience), _unless_ended(channel):
                channel.sendall(batch.script(transcript.nonce).encode())
            self.round_trips += 1
            for receive in self._pieces(channel, transcript, patience, first_patience):
                for item in self._heard(transcript, receive):
                    if isinstance(item, UploadWanted):
                        wanted = item
                    else:
                        yield item
            if transcript.busy:
                raise NotBegun(self.address, "busy", (SHELL,), 1, transcript.busy)
            if not transcript.begun:
                raise self._not_begun(channel.exit_status, last_line(transcript.rest))
            if not transcript.has_ended():
                raise CommandFailed(self.address, SHELL, (SHELL,), channel.exit_status, transcript.rest)
            # A batch ends with status 0, whatever became of its commands.
            if transcript.status:
                raise CommandFailed(self.address, SHELL, (SHELL,), transcript.status, transcript.rest)
            if not transcript.is_whole:
                raise self._invalid("it ends a batch before its last command")
            self._has_answered = True
        return wanted

    def _heard(self, transcript: Transcript, receive: Callable[[], None]) -> list[Outcome | UploadWanted]:
        """What ended with the next piece of output."""
        try:
            receive()
            return list(transcript.finished())
        except BadAnswer as fault:
            raise self._invalid(str(fault)) from fault

    def _invalid(self, why: str) -> InvalidAnswer:
        self.close()
        return InvalidAnswer(self.address, why, begun=True)

    def _not_begun(self, status: int, said: str) -> NotBegun:
        """sudo(8) says why it refuses, and ends with 1; what else a shell may end of does not, or with another one."""
        if status == 1 and said:
            right = f"let {self._settings.user} run /usr/bin/sh -s as root without a password (see README)"
            return SudoRefused(self.address, SHELL, (SHELL,), status, f"sudo refuses: {said}; it has to {right}")
        why = f"the shell there ended with status {status} before it began: {said or 'without a word'}; try again"
        return NotBegun(self.address, SHELL, (SHELL,), status, why)

    @contextmanager
    def _open_shell(self, patience: float) -> Iterator[paramiko.Channel]:
        """The shell that reads batches; unless the body fails, the next one finds it open."""
        channel, self._shell = self._shell, None
        if channel and not self._still_reads(channel):
            _close(channel)
            channel = None
        if channel is None:
            channel = self._execute(SHELL)
            self._has_answered = True
        channel.settimeout(patience)
        try:
            yield channel
        except BaseException:
            _close(channel)
            raise
        self._shell, self._used = channel, time.monotonic()

    def _still_reads(self, channel: paramiko.Channel) -> bool:
        """Whether the shell will read another batch. One that a plan before this one left is asked.

        What may be sent again is sent at once: it is a question itself.

        Nothing of a plan is sent before its host has answered, be it to this question or by a new shell: where it hangs
        or was lost meanwhile, nothing was begun. To open another shell takes two round trips, and sudo(8).
        """
        if not self._waits(channel):
            return False
        if not self._has_answered and not self._repeatable:
            self._has_answered = self._answers(channel)
        return self._has_answered or self._repeatable

    def _waits(self, channel: paramiko.Channel) -> bool:
        """Whether a shell still waits, as far as is known here, and not for so long that it might end just now."""
        is_young = time.monotonic() - self._used <= IDLE_SECONDS / 2
        return is_young and not channel.exit_status_ready() and self._is_connected

    def _answers(self, channel: paramiko.Channel) -> bool:
        """Whether a shell that waits says what it is asked to say. Where nothing comes, the connection is lost, too."""
        seconds, word, said = self._within(min(RENEW_SECONDS, CONNECT_SECONDS)), secrets.token_hex(12).encode(), b""
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
        except (OSError, EOFError, paramiko.SSHException):  # this shell has ended, the connection may be a good one
            return False
        return word in said

    def _execute(self, command: str) -> paramiko.Channel:
        with self._translated():
            channel = self._open_channel()
            with self._bounded(CONNECT_SECONDS):
                channel.exec_command(command)
            self.round_trips += 2
            return channel

    def _pieces(
        self, channel: paramiko.Channel, transcript: Transcript, patience: float, first_patience: float
    ) -> Iterator[Callable[[], None]]:
        """Both output streams as they come, to the transcript's end or the channel's; each item hands one piece over.

        Silence is endured for `patience` seconds, and before the transcript has begun for `first_patience`; in all, the
        batch may take until its deadline.

        Reading one stream to its end before the other would block for ever once the other fills the channel's window.
        """
        poll = select.poll()
        poll.register(channel.fileno(), select.POLLIN)
        heard = time.monotonic()
        while not transcript.has_ended():
            endured = patience if transcript.begun else first_patience
            now, over = time.monotonic(), channel.exit_status_ready() and (channel.eof_received or channel.closed)
            if now > self._ends:
                raise self._too_late(now - heard, endured)
            if channel.recv_ready():
                yield lambda: transcript.stdout(channel.recv(_BLOCK))
            elif channel.recv_stderr_ready():
                yield lambda: transcript.stderr(channel.recv_stderr(_BLOCK))
            elif over:  # before the streams were asked: what came meanwhile, with the end, is read first
                self._expect_status(channel)
                return
            elif now - heard > endured:
                raise self._too_late(endured, endured)
            else:
                poll.poll(200)
                continue
            if transcript.begun:  # what else writes there is no answer
                heard = time.monotonic()

    def _too_late(self, silent: float, endured: float) -> HostUnreachable:
        """Give the host up, which was silent at the end, or went on saying something."""
        self.close()
        why = f"silent for {silent:.0f} s in the middle of a command"
        if silent < endured / 2:
            why = f"it sends on and on, and was not done within {self._deadline:.0f} s; see what keeps it busy"
        return HostUnreachable(self.address, why, begun=True)

    def _begin(self, deadline: float) -> None:
        self._deadline, self._ends = deadline, time.monotonic() + deadline

    def _within(self, seconds: float) -> float:
        """As many seconds, or those that are left of the batch's deadline."""
        return max(min(seconds, self._ends - time.monotonic()), _LEAST_SECONDS)

    def _expect_status(self, channel: paramiko.Channel) -> None:
        if channel.exit_status < 0:
            self.close()
            raise HostUnreachable(self.address, "the connection was lost in the middle of a command", begun=True)

    def _upload(
        self, step: Step, wanted: UploadWanted, patience: float, deadline: float
    ) -> Iterator[Outcome | Progress]:
        """Copy a file to the host."""
        upload = step.do[wanted.action]
        assert isinstance(upload, Upload)  # noqa: S101  (for the type checker: only uploads are ever wanted)
        copy = Copy(self.address, self._settings, upload, patience, deadline)
        with closing(copy.news()) as news:
            for done in news:
                yield Progress(wanted.step, wanted.action, done, copy.size)
        if copy.status not in {0, IS_THERE}:
            why = f"cannot copy {upload.source} to {upload.target}: {copy.complaint}"
            raise CommandFailed(self.address, step.title, ("copy", upload.target), copy.status, why)
        yield Outcome(wanted.step, wanted.action, None if copy.status else 0)

    # --- the connection -----------------------------------------------------------------------------------------------

    @contextmanager
    def _bounded(self, seconds: float) -> Iterator[None]:
        """End the connection when the body takes longer: paramiko waits without an end where a host is hung.

        Its kernel goes on acknowledging packets, so nothing else would ever notice.
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
        if self._client:
            # The connection may have been lost while nobody used it; nothing was sent yet, so another one will do.
            with suppress(OSError, EOFError, paramiko.SSHException):
                return self._transport().open_session(timeout=self._within(min(RENEW_SECONDS, CONNECT_SECONDS)))
            self.close()
        return self._transport().open_session(timeout=self._within(CONNECT_SECONDS))

    @property
    def _is_connected(self) -> bool:
        transport = self._client.get_transport() if self._client else None
        return transport is not None and transport.is_active()

    def _transport(self) -> paramiko.Transport:
        transport = self._client.get_transport() if self._client else None
        if transport is None or not transport.is_active():
            self.close()
            self._client = self._connect()
            transport = self._client.get_transport()
        if transport is None:
            raise HostUnreachable(self.address, "the connection was lost")
        return transport

    def _connect(self) -> paramiko.SSHClient:
        """Connect; of many that come at once sshd hangs up on some (sshd_config(5), MaxStartups), which try again."""
        deadline = time.monotonic() + self._within(CONNECT_SECONDS)
        while True:
            try:
                return self._log_in()
            except (paramiko.SSHException, ConnectionResetError, BrokenPipeError, EOFError) as error:
                if not _was_hung_up_on(error) or time.monotonic() > deadline:
                    raise
            time.sleep(_SOON_SECONDS * (1 + secrets.randbelow(1000) / 1000))

    def _log_in(self) -> paramiko.SSHClient:
        settings = self._settings
        key = self._key()
        client = paramiko.SSHClient()
        known_hosts = self._known_hosts(client)
        client.set_missing_host_key_policy(_UnknownHostKey(known_hosts, accept=settings.host_keys == "accept-new"))
        connection = socket.create_connection((self.address, settings.port), self._within(CONNECT_SECONDS))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LOST_SECONDS * 1000)
        self._connection = connection
        try:
            with self._bounded(self._deadline):
                client.connect(
                    self.address,
                    settings.port,
                    settings.user,
                    pkey=key,
                    sock=connection,
                    timeout=CONNECT_SECONDS,
                    banner_timeout=CONNECT_SECONDS,
                    auth_timeout=CONNECT_SECONDS,
                    allow_agent=False,
                    look_for_keys=False,
                    compress=True,
                    transport_factory=_fast_transport,
                )
        except BaseException:  # sshd would go on waiting for somebody to log in, and takes a few of those only
            client.close()
            raise
        transport = client.get_transport()
        if transport:
            # Something has to be sent for the kernel to notice that nobody acknowledges it.
            transport.set_keepalive(3)
        return client

    def _known_hosts(self, client: paramiko.SSHClient) -> Path:
        """Load the known host keys, if there are any yet; one line that is none makes paramiko give up the file."""
        try:
            known_hosts = Path(self._settings.known_hosts).expanduser()
            if known_hosts.exists():
                client.load_host_keys(str(known_hosts))
        except (OSError, ValueError, RuntimeError, paramiko.SSHException, InvalidHostKey) as error:
            why = f"{self._settings.known_hosts} cannot be read ({last_line(str(error)) or type(error).__name__})"
            raise HostUnreachable(self.address, f"{why}; mend it or name another file in ssh: known_hosts") from error
        return known_hosts

    def _key(self) -> paramiko.PKey:
        key_file = self._settings.key_file
        try:
            return paramiko.PKey.from_path(Path(key_file).expanduser())
        except FileNotFoundError as error:
            why = "is not there; see ssh: key_file in the database"
            raise HostUnreachable(self.address, f"the SSH key {key_file} {why}") from error
        except paramiko.PasswordRequiredException as error:
            why = "has a passphrase, and nobody is there to type it; use one without"
            raise HostUnreachable(self.address, f"the SSH key {key_file} {why}") from error
        except (OSError, ValueError, TypeError, RuntimeError, paramiko.SSHException, UnknownKeyType) as error:
            why = f"cannot be read as a private key ({last_line(str(error)) or type(error).__name__})"
            raise HostUnreachable(self.address, f"the SSH key {key_file} {why}") from error

    @contextmanager
    def _translated(self, *, begun: bool = False) -> Iterator[None]:
        """What goes wrong with the connection, as `HostUnreachable` with a reason that says what to do."""
        try:
            yield
        except CloudError:
            raise
        except paramiko.BadHostKeyException as error:
            reason = (
                f"its host key is not the one in {self._settings.known_hosts} "
                f"(now {error.key.get_name()} {error.key.fingerprint}); if it was reinstalled, remove that line"
            )
            raise self._lost(reason) from error
        except paramiko.AuthenticationException as error:
            reason = f"it refuses user {self._settings.user} with the key {self._settings.key_file}"
            raise self._lost(reason) from error
        except paramiko.SSHException as error:
            if "banner" not in str(error) and "Timeout" not in str(error):
                raise self._lost(last_line(str(error)) or "the connection was lost", begun=begun) from error
            raise self._lost(_HUNG, begun=begun) from error
        except TimeoutError as error:
            is_connected = self._client is not None
            reason = _HUNG if is_connected else f"no answer on port {self._settings.port} in time"
            raise self._lost(reason, begun=begun) from error
        except (OSError, EOFError) as error:
            raise self._lost(last_line(str(error)) or "the connection was lost", begun=begun) from error

    def _lost(self, reason: str, *, begun: bool = False) -> HostUnreachable:
        self.close()
        return HostUnreachable(self.address, reason, begun=begun)


@contextmanager
def _unless_ended(channel: paramiko.Channel) -> Iterator[None]:
    """Where a shell ends before it has taken everything, as one that sudo refuses does, its last words tell why."""
    try:
        yield
    except OSError:
        if channel.exit_status < 0:
            raise


def _close(channel: paramiko.Channel) -> None:
    """Closing says goodbye, and fails where the connection was lost just now: what has to be told is known by then."""
    with suppress(OSError, EOFError, paramiko.SSHException):
        channel.close()


class Connections:
    """The hosts of one process, each with its one connection."""

    def __init__(self, settings: SSHSettings) -> None:
        self._settings = settings
        self._hosts: dict[str, SSHHost] = {}
        self._adding = threading.Lock()

    def host(self, address: str) -> SSHHost:
        """The host at `address`; nothing is sent to it yet."""
        with self._adding:
            return self._hosts.setdefault(address, SSHHost(address, self._settings))

    def close(self) -> None:
        """End all connections."""
        for host in self._hosts.values():
            host.close()


class _UnknownHostKey(paramiko.MissingHostKeyPolicy):
    """A host that `known_hosts` does not name: remembered at first sight, or refused."""

    def __init__(self, known_hosts: Path, *, accept: bool) -> None:
        self._known_hosts = known_hosts
        self._accept = accept

    def missing_host_key(self, _client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        if not self._accept:
            raise paramiko.SSHException("its host key is unknown and ssh: host_keys is strict; add it with ssh-keyscan")
        self._known_hosts.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Appended in one write: other processes may be adding their hosts at the same time. A last line that somebody
        # left without its end would swallow the new one.
        with self._known_hosts.open("a+b") as file:
            unended = file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
            line = f"{hostname} {key.get_name()} {key.get_base64()}\n"
            file.write((b"\n" if unended else b"") + line.encode("ascii"))


def _fast_transport(connection: Any, /, **settings: Any) -> paramiko.Transport:
    """AES-GCM first: a cipher that needs no digest beside it costs half the time."""
    transport = paramiko.Transport(connection, **settings)
    options = transport.get_security_options()
    options.ciphers = sorted(options.ciphers, key=lambda name: "-gcm" not in name)
    return transport


def _was_hung_up_on(error: Exception) -> bool:
    """Whether the other end hung up before it greeted; if it did not greet in time, there is none left to try again."""
    return not isinstance(error, paramiko.SSHException) or "protocol banner" in str(error)
