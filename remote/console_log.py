"""The log of a guest's serial console, read along while another user has the console, or none."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from core.errors import CloudError, InvalidAnswer
from remote.host import TerminalChannel
from remote.joined import Stream, answer_of
from shell.scripts import load

SHOWN_BYTES = 4096
"""Bytes of the log that are shown at first, about two screens."""

_WATCH_LOG = load("connection/watch-log")


class GuestOffError(CloudError):
    """The guest's QEMU does not run; the sentence for users is in `lifecycle.reach`."""

    begun = False


@dataclass(frozen=True)
class LogVisit:
    """A request to read along: the log, and what proves that the guest runs."""

    log: str
    pid_file: str
    mark: str
    name: str = field(default_factory=lambda: secrets.token_hex(12))

    @property
    def argv(self) -> tuple[str, ...]:
        """Return the program on the worker, run as the SSH user; it reads `script` first."""
        return ("sh", "-s", "--", self.name, self.log, self.pid_file, self.mark, str(SHOWN_BYTES))

    @property
    def script(self) -> str:
        """Return the input of the program."""
        return f"{_WATCH_LOG.text}\n"


class LogStream(Stream):
    """The output of a guest, to which nothing is sent."""

    is_lost = False
    """An end is always that of the guest, or of the connection to its worker."""


def watch(channel: TerminalChannel, visit: LogVisit, host: str) -> LogStream:
    """Return the log's end and all that follows; raise `GuestOffError` where the guest does not run."""
    words, first = answer_of(channel, visit.name, host, "the console's log")
    if words == "ready":
        return LogStream(channel, first)
    channel.close()
    if words == "off":
        raise GuestOffError("the guest is off")
    raise InvalidAnswer(host, "the console's log could not be opened: its answer makes no sense")
