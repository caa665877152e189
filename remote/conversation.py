"""The conversation with a host: batches are sent to a shell there, one at a time, and their output is read to its end.

The shell that reads the batches stays open for a while: each further stage costs one round trip, a further plan one
more. The connection and its channels, which are particular to SSH, are in `remote.ssh`.
"""

from __future__ import annotations

import secrets
import select
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from core.errors import (
    BadAnswer,
    CommandFailed,
    HostUnreachable,
    HostUnusable,
    InvalidAnswer,
    LoginFailed,
    NotBegun,
    SudoRefused,
    TakenOver,
    last_line,
)
from core.inventory import SSHSettings
from remote import causes
from remote.batch import IDLE_SECONDS, Batch
from remote.causes import LoginShell
from remote.host import ShellChannel
from remote.openssh import bring
from remote.plan import CHANGE_DEADLINE_SECONDS, NO_FENCE, TIMEOUT_SECONDS, Step
from remote.root import SHELL
from remote.transcript import Outcome, Transcript, UploadProgress, UploadWanted

RENEW_SECONDS = 1.5
"""Seconds of silence after which an idle connection is replaced; for a dead host this adds to the new one's wait."""

LATE = (
    "{} refuses this change, because another manager has begun a later one, and ends it: this one stops. After a "
    "database was restored, an operator runs: cli.py resume --raise-fences"
)

_BLOCK = 1 << 20
_LEAST_SECONDS = 0.05


class Conversation(ABC):
    """A host that runs steps over a connection, which is made at the first use, and again after a loss."""

    def __init__(self, address: str, settings: SSHSettings) -> None:
        self.address = address
        self._settings = self._wanted = settings
        self._shell: ShellChannel | None = None
        self._login = LoginShell("")
        self._used = 0.0
        self._deadline, self._ends = 0.0, 0.0
        self._has_answered = False
        self._repeatable = False
        self._busy = threading.RLock()
        self.round_trips = 0
        """The number of requests whose answers were waited for, without those of logging in."""

    # --- the connection, which `remote.ssh` makes ---------------------------------------------------------------------

    @property
    @abstractmethod
    def _is_connected(self) -> bool:
        """Return whether there is a connection, as far as this side knows."""

    @abstractmethod
    def _start_shell(self) -> ShellChannel:
        """Connect where that is needed, and start a shell that reads batches; `self._login` gets its first output."""

    @abstractmethod
    def _sending(self, channel: ShellChannel, seconds: float) -> AbstractContextManager[None]:
        """Bound the sending of a batch, and raise the cause where it fails."""

    @abstractmethod
    def _answers(self, channel: ShellChannel) -> bool:
        """Return whether a waiting shell answers a question; close the connection where no answer comes."""

    @abstractmethod
    def _end(self, channel: ShellChannel) -> None:
        """Close a channel, also one whose connection is lost."""

    @abstractmethod
    def close(self) -> None:
        """End the connection."""

    # --- batches ------------------------------------------------------------------------------------------------------

    def run(
        self,
        steps: Sequence[Step],
        *,
        keep_going: bool = False,
        lock: str = "",
        timeout: float = TIMEOUT_SECONDS,
        deadline: float = CHANGE_DEADLINE_SECONDS,
        fence: int = NO_FENCE,
    ) -> Generator[Outcome | UploadProgress, None, None]:
        """Run the steps and yield the outcome of each action; see `remote.host.Host`."""
        with self._busy:
            batch: Batch | None = Batch(steps, keep_going, lock=lock, timeout=timeout, fence=fence)
            while batch:
                self._begin(deadline)
                wanted = yield from self._run_batch(batch, timeout)
                batch = None
                if wanted:
                    step = steps[wanted.step]
                    yield from bring(self.address, self._settings, step, wanted, timeout, deadline)
                    batch = Batch(steps, keep_going, (wanted.step, wanted.action + 1), lock, timeout, fence)

    def use(self, settings: SSHSettings) -> None:
        """Use other settings from the next batch on. A connection that works stays, unless it is another user's."""
        self._wanted = settings

    def expect(self, *, repeatable: bool = False) -> None:
        """Require an answer from a shell of an earlier plan before its reuse; see `remote.host.Host`."""
        self._has_answered = False
        self._repeatable = repeatable

    def _run_batch(self, batch: Batch, timeout: float) -> Generator[Outcome, None, UploadWanted | None]:
        if batch.is_empty:
            return None
        if self._repeatable and not self._has_answered and self._shell and self._waits(self._shell):
            transcript = Transcript(batch, secrets.token_hex(12))
            try:  # the batch itself is the question
                return (yield from self._converse(batch, transcript, timeout, RENEW_SECONDS))
            except (HostUnreachable, NotBegun):
                if transcript.begun:
                    raise
        return (yield from self._converse(batch, Transcript(batch, secrets.token_hex(12)), timeout, timeout))

    def _converse(
        self, batch: Batch, transcript: Transcript, timeout: float, first_timeout: float
    ) -> Generator[Outcome, None, UploadWanted | None]:
        """Send the batch and read its output to the end; `first_timeout` bounds the silence before the first output."""
        wanted = None
        with self._open_shell(timeout) as channel:
            with self._sending(channel, timeout):
                channel.sendall(batch.script(transcript.nonce).encode())
            self.round_trips += 1
            for receive in self._pieces(channel, transcript, timeout, first_timeout):
                for item in self._receive(transcript, receive):
                    if isinstance(item, UploadWanted):
                        wanted = item
                    else:
                        yield item
            if transcript.is_late:
                raise TakenOver(LATE.format(self.address))
            if transcript.busy:
                raise NotBegun(self.address, "busy", (SHELL,), 1, transcript.busy)
            if not transcript.begun:
                raise self._not_begun(channel.exit_status, transcript)
            if not transcript.has_ended():
                raise CommandFailed(self.address, SHELL, (SHELL,), channel.exit_status, transcript.rest)
            # A batch ends with status 0, whatever became of its commands.
            if transcript.status:
                raise CommandFailed(self.address, SHELL, (SHELL,), transcript.status, transcript.rest)
            if not transcript.is_whole:
                raise self._invalid("it ended a batch before its last command")
            self._has_answered = True
        return wanted

    def _receive(self, transcript: Transcript, receive: Callable[[], None]) -> list[Outcome | UploadWanted]:
        """Read the next piece of output and return the parts that ended with it."""
        try:
            receive()
            return list(transcript.finished())
        except BadAnswer as fault:
            raise self._invalid(str(fault)) from fault

    def _invalid(self, why: str) -> InvalidAnswer:
        self.close()
        return InvalidAnswer(self.address, why, begun=True)

    def _not_begun(self, status: int, transcript: Transcript) -> NotBegun:
        """Return the error of a batch that was not begun: login shell, sudo or its shell ended."""
        if not self._login.has_run:
            why = causes.no_login(self._settings, status, transcript.rest or self._login.said)
            return LoginFailed(self.address, "login", (SHELL,), status, why)
        said = last_line(transcript.rest)
        kind = SudoRefused if status == 1 and said else NotBegun
        return kind(self.address, SHELL, (SHELL,), status, causes.no_sudo(self._settings, status, said))

    @contextmanager
    def _open_shell(self, timeout: float) -> Iterator[ShellChannel]:
        """Yield the shell that reads batches; it stays open for the next batch unless the body fails."""
        channel, self._shell = self._shell, None
        if channel and not self._still_reads(channel):
            self._end(channel)
            channel = None
        if channel is None:
            channel = self._start_shell()
            self._has_answered = True
        channel.settimeout(timeout)
        try:
            yield channel
        except BaseException:
            self._end(channel)
            raise
        self._shell, self._used = channel, time.monotonic()

    def _still_reads(self, channel: ShellChannel) -> bool:
        """Return whether the open shell can be reused. A shell left by an earlier plan is pinged first.

        A repeatable plan needs no ping: its batch is sent at once and serves as the question.

        No part of another plan is sent before its host has answered, by this ping or by a new shell. So where the host
        hangs or was lost meanwhile, nothing was begun. A new shell would cost two round trips and sudo(8).
        """
        if not self._waits(channel):
            return False
        if not self._has_answered and not self._repeatable:
            self._has_answered = self._answers(channel)
        return self._has_answered or self._repeatable

    def _waits(self, channel: ShellChannel) -> bool:
        """Return whether a shell still waits, as far as this side knows, and has time left."""
        is_young = time.monotonic() - self._used <= IDLE_SECONDS / 2
        return is_young and not channel.exit_status_ready() and self._is_connected

    def _pieces(
        self, channel: ShellChannel, transcript: Transcript, timeout: float, first_timeout: float
    ) -> Iterator[Callable[[], None]]:
        """Yield calls that read one piece each from the two output streams, until transcript or channel ends.

        Silence may last `timeout` seconds, and `first_timeout` before the transcript has begun; the batch as a whole
        ends by its deadline.

        Reading one stream to its end before the other would block for ever once the other fills the channel's window.
        """
        poll = select.poll()
        poll.register(channel.fileno(), select.POLLIN)
        last_output = time.monotonic()
        while not transcript.has_ended():
            limit = timeout if transcript.begun else first_timeout
            now, over = time.monotonic(), channel.exit_status_ready() and (channel.eof_received or channel.closed)
            if now > self._ends:
                raise self._too_late(transcript, now - last_output, limit, self._deadline)
            if channel.recv_ready():
                yield lambda: self._feed(channel.recv(_BLOCK), transcript)
            elif channel.recv_stderr_ready():
                yield lambda: transcript.stderr(channel.recv_stderr(_BLOCK))
            elif over:  # `over` was read before the streams: output that arrived with the end is read first
                self._expect_status(channel)
                return
            elif now - last_output > limit:
                raise self._too_late(transcript, limit, limit, limit)
            else:
                poll.poll(200)
                continue
            if transcript.begun:  # output before the begin is no answer
                last_output = time.monotonic()

    def _feed(self, piece: bytes, transcript: Transcript) -> None:
        self._login.feed(piece)
        transcript.stdout(piece)

    def _too_late(self, transcript: Transcript, silent: float, limit: float, bound: float) -> HostUnreachable:
        """Close the connection and return the error, for silence or endless output; `bound` is the exceeded limit."""
        self.close()
        if silent < limit / 2:
            why = f"it kept sending output and was not done within {self._deadline:.0f} s; check the load of that host"
            return HostUnreachable(self.address, why, begun=True)
        if transcript.begun:
            return HostUnreachable(self.address, causes.silent_batch(self._settings, bound), begun=True)
        cause = causes.silent_sudo if self._login.has_run else causes.silent_login
        return HostUnusable(self.address, cause(self._settings, bound, transcript.rest), begun=True)

    def _begin(self, deadline: float) -> None:
        if self._wanted.user != self._settings.user:
            self.close()
        self._settings = self._wanted
        self._deadline, self._ends = deadline, time.monotonic() + deadline

    def _within(self, seconds: float) -> float:
        """Return `seconds`, or the time left to the batch's deadline if that is less."""
        return max(min(seconds, self._ends - time.monotonic()), _LEAST_SECONDS)

    def _expect_status(self, channel: ShellChannel) -> None:
        if channel.exit_status < 0:
            self.close()
            raise HostUnreachable(self.address, causes.LOST_IN_BATCH, begun=True)
