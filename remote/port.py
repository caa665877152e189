"""A TCP port of a guest, joined with a user's streams by socat on the network node.

Nothing listens for it anywhere, and sshd forwards nothing. The way leads through the router namespace of the guest's
slice, or for the internet VLAN from the network node itself.
"""

from __future__ import annotations

import re
import secrets
import select
import time
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum

from core.errors import CloudError, InvalidAnswer
from remote.host import TerminalChannel
from remote.joined import ROOTS_SHELL, Stream, answer_of, input_of
from shell.scripts import load

CONNECT_SECONDS = 5
"""Timeout for the guest's answer to a connection."""

IDLE_SECONDS = 1800
"""Seconds without a byte after which a connection ends."""

CHECK_SECONDS = 15.0
"""Interval at which the network node checks that the manager is still there."""

_EXTRA_SECONDS = 3.0
"""Time for the message about a connection to arrive."""

_JOIN_PORT = load("connection/join-port")


class PortAnswer(Enum):
    """The answer of the network node, or of the guest, to a request for a port."""

    READY = "ready"
    NO_SOCAT = "socat"
    """socat is not installed."""
    NO_RULE = "rule"
    """The firewall does not let the guest's answers in."""
    NO_NAMESPACE = "namespace"
    """The slice's router namespace is gone."""
    CLOSED = "closed"
    """The guest refused the connection."""
    SILENT = "silent"
    """The guest did not answer."""


class NotConnected(CloudError):
    """A port that could not be joined; the sentence for users is in `lifecycle.reach`."""

    begun = False

    def __init__(self, answer: PortAnswer) -> None:
        self.answer = answer
        super().__init__(f"not connected: {answer.value}")


@dataclass(frozen=True)
class PortVisit:
    """A request for a port of a guest.

    `namespace` is the router namespace, or empty for the root namespace; `rule` are the words of `iptables -C` for the
    rule that lets answers in there.
    """

    namespace: str
    address: str
    port: int
    rule: tuple[str, ...] = ()
    name: str = field(default_factory=lambda: secrets.token_hex(12))
    connect_seconds: int = CONNECT_SECONDS
    idle_seconds: int = IDLE_SECONDS
    check_seconds: float = CHECK_SECONDS

    argv = ROOTS_SHELL
    """The program on the network node; it reads `script` first."""

    @property
    def script(self) -> str:
        """Return the input of the program before the first byte."""
        seconds = (str(self.connect_seconds), str(self.idle_seconds), f"{self.check_seconds:g}")
        return input_of(_JOIN_PORT, self.name, self.namespace, self.address, str(self.port), *seconds, *self.rule)


class PortStream(Stream):
    """The bytes of a connection with a guest's port."""

    @property
    def is_lost(self) -> bool:
        """Return whether the output ended because the network node was lost: then socat has not said that it ends."""
        return not re.search(rb"^[A-Z] (exit|socket 2 .* is at EOF)", self.messages(), re.MULTILINE)

    def end_input(self) -> None:
        """Tell the guest that there is no further input; its output goes on."""
        with suppress(OSError, EOFError):
            self._channel.shutdown_write()


def join(channel: TerminalChannel, visit: PortVisit, host: str) -> PortStream:
    """Return the stream once the guest has accepted the connection; raise `NotConnected` if it did not."""
    words, first = answer_of(channel, visit.name, host, "the connection")
    stream = PortStream(channel, first)
    try:
        _require_accepted(words, stream, visit, host)
    except CloudError:
        stream.close()
        raise
    channel.settimeout(None)
    return stream


def _require_accepted(words: str, stream: PortStream, visit: PortVisit, host: str) -> None:
    try:
        answer = PortAnswer(words)
    except ValueError as error:
        raise InvalidAnswer(host, "the connection could not be opened: its answer makes no sense") from error
    if answer is PortAnswer.READY:
        answer = _answer_of_guest(stream, visit)
    if answer is not PortAnswer.READY:
        raise NotConnected(answer)


def _answer_of_guest(stream: PortStream, visit: PortVisit) -> PortAnswer:
    """Wait for socat's message about the connection. Where none comes in time and socat goes on, it is connected."""
    deadline = time.monotonic() + visit.connect_seconds + _EXTRA_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        over = stream.is_over
        said = stream.messages().decode("utf-8", "replace")
        if stream.has_output or re.search(r"^N starting data transfer loop", said, re.MULTILINE):
            break
        if over:
            return PortAnswer.CLOSED if "Connection refused" in said else PortAnswer.SILENT
        select.select([stream], [], [], left)
    return PortAnswer.READY
