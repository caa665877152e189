"""A host as its callers see it: over SSH, or a fake in the tests; and the channels of a connection to it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol

from remote.plan import CHANGE_DEADLINE_SECONDS, NO_FENCE, TIMEOUT_SECONDS, Step
from remote.transcript import Outcome, UploadProgress


class Host(Protocol):
    """A host that runs steps."""

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
        """Run the steps in order and yield the outcome of each action.

        It ends after the first failure unless `keep_going`. `lock`, `timeout` and `deadline` are the plan's, `fence` is
        the claim's. Raise `TakenOver` where the host has seen a higher fence with this lock. Raise `HostUnreachable`
        when the connection fails or the host answers nonsense, and another `CloudError` when the batch as a whole is
        refused.
        """

    def expect(self, *, repeatable: bool = False) -> None:
        """Begin a plan: an open shell of an earlier plan is used only once the host has answered in it.

        A `repeatable` plan is sent there at once, and again where no answer comes.
        """


class Channel(Protocol):
    """The streams of a program on a host; paramiko's channel is one."""

    @property
    def eof_received(self) -> int:
        """Return whether the output has ended."""

    @property
    def closed(self) -> bool:
        """Return whether the program or the connection has ended."""

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when there is something to receive."""

    def settimeout(self, timeout: float | None, /) -> None:
        """Bound every call that waits, in seconds."""

    def recv_ready(self) -> bool:
        """Return whether there is output."""

    def recv(self, nbytes: int, /) -> bytes:
        """Wait for output; return b"" at its end."""

    def recv_stderr_ready(self) -> bool:
        """Return whether there is error output."""

    def recv_stderr(self, nbytes: int, /) -> bytes:
        """Wait for error output; return b"" at its end."""

    def close(self) -> None:
        """End the program."""


class ShellChannel(Channel, Protocol):
    """A channel to a shell that reads batches."""

    exit_status: int

    def sendall(self, s: bytes, /) -> None:
        """Send all bytes."""

    def exit_status_ready(self) -> bool:
        """Return whether the program or the channel has ended."""


class TerminalChannel(Channel, Protocol):
    """A channel to a program that a user talks to."""

    def send(self, s: bytes, /) -> int:
        """Send input; return the number of bytes taken."""

    def shutdown_write(self) -> None:
        """End the input."""


class TerminalHost(Protocol):
    """A host that can join a user's streams with a program."""

    def open_terminal(self, argv: tuple[str, ...], script: str) -> TerminalChannel:
        """Run `argv` as the SSH user and give it `script` to read; return its streams."""


class Connected(Host, TerminalHost, Protocol):
    """A host that runs steps and opens consoles."""
