"""The conversation with a host: batches are sent to a shell there, one at a time, and heard out.

The shell that reads the batches stays for a while: each further stage costs one round trip, a further plan one more.
What is particular to SSH, the connection and its channels, is in `remote.ssh`.
"""

from __future__ import annotations

import secrets
import select
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from core.errors import (
    BadAnswer,
    CommandFailed,
    HostUnreachable,
    HostUnusable,
    InvalidAnswer,
    LoginFailed,
    NotBegun,
    SudoRefused,
    last_line,
)
from core.inventory import SSHSettings
from remote import causes
from remote.batch import IDLE_SECONDS, Batch, Outcome, Progress, Transcript, UploadWanted
from remote.causes import LoginShell
from remote.openssh import bring
from remote.plan import CHANGE_DEADLINE_SECONDS, TIMEOUT_SECONDS, Step

RENEW_SECONDS = 1.5
"""A connection on which nothing happens for so long is given up for a new one: a host that is gone costs both waits."""

SHELL = "sudo -n sh -s"
"""The shell that reads batches; the one right that sudo has to grant."""

_BLOCK = 1 << 20
_LEAST_SECONDS = 0.05


class Channel(Protocol):
    """A channel of a connection, with a program at its other end."""

    exit_status: int
    eof_received: int
    closed: bool

    def fileno(self) -> int:
        """A descriptor that becomes readable when there is something to receive."""

    def settimeout(self, timeout: float | None) -> None:
        """Bound what waits."""

    def sendall(self, s: bytes) -> None:
        """Send all of it."""

    def recv_ready(self) -> bool:
        """Return whether there is standard output."""

    def recv(self, nbytes: int) -> bytes:
        """Return a piece of standard output."""

    def recv_stderr_ready(self) -> bool:
        """Return whether there is standard error."""

    def recv_stderr(self, nbytes: int) -> bytes:
        """Return a piece of standard error."""

    def exit_status_ready(self) -> bool:
        """Return whether the program has ended, or the channel."""

    def close(self) -> None:
        """End it."""


class Conversation(ABC):
    """A host that runs steps over a connection, which is made when it is first needed, and again after it was lost."""

    def __init__(self, address: str, settings: SSHSettings) -> None:
        self.address = address
        self._settings = settings
        self._shell: Channel | None = None
        self._login = LoginShell("")
        self._used = 0.0
        self._deadline, self._ends = 0.0, 0.0
        self._has_answered = False
        self._repeatable = False
        self._busy = threading.RLock()
        self.round_trips = 0
        """Return the number of requests whose answers were waited for; those of logging in do not count."""

    # --- the connection, which `remote.ssh` makes ---------------------------------------------------------------------

    @property
    @abstractmethod
    def _is_connected(self) -> bool:
        """Return whether there is a connection, as far as is known here."""

    @abstractmethod
    def _start_shell(self) -> Channel:
        """Connect where that is needed, and start a shell that reads batches; `self._login` hears how it begins."""

    @abstractmethod
    def _sending(self, channel: Channel, seconds: float) -> AbstractContextManager[None]:
        """Bound the sending of a batch; raise why it fails."""

    @abstractmethod
    def _answers(self, channel: Channel) -> bool:
        """Return whether a shell that waits says what it is asked to say. Close the connection where nothing comes."""

    @abstractmethod
    def _end(self, channel: Channel) -> None:
        """Close a channel, whether its connection is lost or not."""

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
    ) -> Generator[Outcome | Progress, None, None]:
        """Run the steps and yield how each action ended; see `remote.runner.Host`."""
        with self._busy:
            batch: Batch | None = Batch(steps, keep_going, lock=lock, timeout=timeout)
            while batch:
                self._begin(deadline)
                wanted = yield from self._run_batch(batch, timeout)
                batch = None
                if wanted:
                    step = steps[wanted.step]
                    yield from bring(self.address, self._settings, step, wanted, timeout, deadline)
                    batch = Batch(steps, keep_going, (wanted.step, wanted.action + 1), lock, timeout)

    def expect(self, *, repeatable: bool = False) -> None:
        """The shell that an earlier plan left is asked before it is used; see `remote.runner.Host`."""
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
        """Send the batch and hear it out; `first_timeout` is for the silence before its first word."""
        wanted = None
        with self._open_shell(timeout) as channel:
            with self._sending(channel, timeout):
                channel.sendall(batch.script(transcript.nonce).encode())
            self.round_trips += 1
            for receive in self._pieces(channel, transcript, timeout, first_timeout):
                for item in self._heard(transcript, receive):
                    if isinstance(item, UploadWanted):
                        wanted = item
                    else:
                        yield item
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
                raise self._invalid("it ends a batch before its last command")
            self._has_answered = True
        return wanted

    def _heard(self, transcript: Transcript, receive: Callable[[], None]) -> list[Outcome | UploadWanted]:
        """Return the part that ended with the next piece of output."""
        try:
            receive()
            return list(transcript.finished())
        except BadAnswer as fault:
            raise self._invalid(str(fault)) from fault

    def _invalid(self, why: str) -> InvalidAnswer:
        self.close()
        return InvalidAnswer(self.address, why, begun=True)

    def _not_begun(self, status: int, transcript: Transcript) -> NotBegun:
        """Return why no batch was begun: the login shell ended, or sudo refuses, or the shell that it started ended."""
        if not self._login.has_run:
            why = causes.no_login(self._settings, status, transcript.rest or self._login.said)
            return LoginFailed(self.address, "login", (SHELL,), status, why)
        said = last_line(transcript.rest)
        kind = SudoRefused if status == 1 and said else NotBegun
        return kind(self.address, SHELL, (SHELL,), status, causes.no_sudo(self._settings, status, said))

    @contextmanager
    def _open_shell(self, timeout: float) -> Iterator[Channel]:
        """The shell that reads batches; unless the body fails, the next one finds it open."""
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

    def _still_reads(self, channel: Channel) -> bool:
        """Return whether the open shell can be reused. A shell left by an earlier plan is pinged first.

        What may be sent again is sent at once: it is a question itself.

        Nothing of a plan is sent before its host has answered, be it to this question or by a new shell: where it hangs
        or was lost meanwhile, nothing was begun. To open another shell takes two round trips, and sudo(8).
        """
        if not self._waits(channel):
            return False
        if not self._has_answered and not self._repeatable:
            self._has_answered = self._answers(channel)
        return self._has_answered or self._repeatable

    def _waits(self, channel: Channel) -> bool:
        """Return whether a shell still waits, as far as is known here, and will not end just now."""
        is_young = time.monotonic() - self._used <= IDLE_SECONDS / 2
        return is_young and not channel.exit_status_ready() and self._is_connected

    def _pieces(
        self, channel: Channel, transcript: Transcript, timeout: float, first_timeout: float
    ) -> Iterator[Callable[[], None]]:
        """Both output streams as they come, to the transcript's end or the channel's; each item hands one piece over.

        Silence is endured for `timeout` seconds, and before the transcript has begun for `first_timeout`; in all, the
        batch may take until its deadline.

        Reading one stream to its end before the other would block for ever once the other fills the channel's window.
        """
        poll = select.poll()
        poll.register(channel.fileno(), select.POLLIN)
        heard = time.monotonic()
        while not transcript.has_ended():
            endured = timeout if transcript.begun else first_timeout
            now, over = time.monotonic(), channel.exit_status_ready() and (channel.eof_received or channel.closed)
            if now > self._ends:
                raise self._too_late(transcript, now - heard, endured, self._deadline)
            if channel.recv_ready():
                yield lambda: self._hear(channel.recv(_BLOCK), transcript)
            elif channel.recv_stderr_ready():
                yield lambda: transcript.stderr(channel.recv_stderr(_BLOCK))
            elif over:  # before the streams were asked: what came meanwhile, with the end, is read first
                self._expect_status(channel)
                return
            elif now - heard > endured:
                raise self._too_late(transcript, endured, endured, endured)
            else:
                poll.poll(200)
                continue
            if transcript.begun:  # what else writes there is no answer
                heard = time.monotonic()

    def _hear(self, piece: bytes, transcript: Transcript) -> None:
        self._login.hear(piece)
        transcript.stdout(piece)

    def _too_late(self, transcript: Transcript, silent: float, endured: float, bound: float) -> HostUnreachable:
        """Give the host up, which was silent at the end, or went on saying something; `bound` is what it exceeded."""
        self.close()
        if silent < endured / 2:
            why = f"it sends on and on, and was not done within {self._deadline:.0f} s; see what keeps it busy"
            return HostUnreachable(self.address, why, begun=True)
        if transcript.begun:
            return HostUnreachable(self.address, causes.silent_batch(self._settings, bound), begun=True)
        cause = causes.silent_sudo if self._login.has_run else causes.silent_login
        return HostUnusable(self.address, cause(self._settings, bound, transcript.rest), begun=True)

    def _begin(self, deadline: float) -> None:
        self._deadline, self._ends = deadline, time.monotonic() + deadline

    def _within(self, seconds: float) -> float:
        """As many seconds, or those that are left of the batch's deadline."""
        return max(min(seconds, self._ends - time.monotonic()), _LEAST_SECONDS)

    def _expect_status(self, channel: Channel) -> None:
        if channel.exit_status < 0:
            self.close()
            raise HostUnreachable(self.address, causes.LOST_IN_BATCH, begun=True)
