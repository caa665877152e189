"""Causes of a failed connection, by the stage that failed, with the host's own words quoted. Pure text.

A connection has these stages: TCP, banner, key exchange, host key, authentication, channel, login shell, sudo, batch.
Each function covers one stage and returns the reason and what to do.
"""

from __future__ import annotations

import enum
import errno
import os
import re
from dataclasses import dataclass

from core.errors import last_line
from core.inventory import SSHSettings, Timeouts

_LONGEST_QUOTE = 200
_NO_WAY = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}

_NO_PROGRAM = {126, 127}
_NO_LOGIN = 254
"""The exit status of sshd(8) where /etc/nologin exists."""

HUNG = "it hangs, or is much too busy"
LOST_IN_BATCH = "the connection was lost in the middle of a command"

_LOGIN_ADVICE = (
    (
        r"password.*(expired|change)|account.*expired|expired",
        "renew the password of {user} there, or let it not expire",
    ),
    (r"not available|nologin|locked|disabled", "give {user} a shell and an account that is not locked"),
    (r"sftp", "{user} may only copy files there; let it run commands"),
    (r"no space|quota|read-only|no such file|permission denied|fork", "correct that there"),
)
_SILENT_LOGIN = "does a start file such as ~/.bashrc end it, or may {user} run no commands there (shell, ForceCommand)?"


def limit(seconds: float, timeouts: Timeouts) -> str:
    """Return a deadline for a sentence: its seconds, and its setting."""
    known = {
        timeouts.connect: "connect",
        timeouts.read_only: "silence",
        timeouts.silence: "silence",
        timeouts.change: "change",
    }
    name = known.get(seconds)
    return f"{seconds:g} s (ssh: timeouts: {name})" if name else f"{seconds:g} s"


def quoted(words: str) -> str:
    """Return the last line of a host's words as a quotation, or an empty string."""
    line = last_line(words)
    return f'"{line[:_LONGEST_QUOTE]}"' if line else ""


def _and_says(words: str) -> str:
    said = quoted(words)
    return f"; it says {said}" if said else ""


class Reached(enum.Enum):
    """The last stage of a connection that succeeded."""

    NOTHING = "nothing"
    TCP = "TCP"
    BANNER = "banner"
    KEYS = "key exchange"
    LOGIN = "login"


@dataclass(frozen=True)
class FailedConnection:
    """A failed connection.

    `words` are the host's; `message` is that of our SSH library.
    """

    reached: Reached
    error: Exception
    late: bool
    closed: bool
    words: str
    message: str


def of_connection(settings: SSHSettings, failure: FailedConnection, *, begun: bool) -> tuple[str, bool]:
    """Return the reason why there is no connection, and whether the host answers all the same."""
    late, words = failure.late, failure.words
    match failure.reached:
        case Reached.NOTHING:
            reason, answers = no_tcp(settings, failure.error), False
        case Reached.TCP:
            reason, answers = no_banner(settings, late=late, words=words), not late
        case Reached.BANNER:
            reason, answers = no_keys(settings, late=late, words=words or failure.message), not late
        case Reached.KEYS:
            late = late and not failure.closed
            reason, answers = not_authenticated(settings, late=late, closed=failure.closed, words=words), True
        case Reached.LOGIN if begun or failure.closed:
            reason = f"it takes connections and does nothing more; {HUNG}" if late else "the connection was lost"
            answers = False
        case _:
            reason, answers = no_channel(settings, late=late, words=words or failure.message), not late
    return reason, answers


def no_tcp(settings: SSHSettings, error: Exception) -> str:
    """Return the reason why there is no TCP connection."""
    port = settings.port
    if isinstance(error, TimeoutError):
        within = limit(settings.timeouts.connect, settings.timeouts)
        return f"no answer on port {port} within {within}; is it up, and does no firewall drop what comes from here?"
    number = error.errno if isinstance(error, OSError) else None
    said = os.strerror(number) if number else last_line(str(error))
    if isinstance(error, ConnectionRefusedError):
        return f"port {port} is closed ({said}); does sshd run there, and on that port?"
    if number in _NO_WAY:
        return f"there is no way to it ({said}); is it up, and on this network?"
    return f"no connection to port {port} ({said or 'no reason given'})"


def no_banner(settings: SSHSettings, *, late: bool, words: str) -> str:
    """Return the reason why the SSH server sent no greeting."""
    if late:
        within = limit(settings.timeouts.connect, settings.timeouts)
        return f"it takes connections on port {settings.port} and sent no greeting within {within}; {HUNG}"
    advice = f"has sshd there too many at once (MaxStartups), or is something else on port {settings.port}?"
    return f"it hangs up before it greets{_and_says(words)}; {advice}"


def no_keys(settings: SSHSettings, *, late: bool, words: str) -> str:
    """Return the reason why the key exchange failed."""
    if late:
        within = limit(settings.timeouts.connect, settings.timeouts)
        return f"it greeted, and the key exchange took more than {within}; {HUNG}"
    return f"the key exchange with it failed: {quoted(words) or 'it hung up'}; see its sshd's log"


def not_authenticated(settings: SSHSettings, *, late: bool, closed: bool, words: str) -> str:
    """Return the reason why the user was not let in; `words` are sshd's message to its user."""
    user = settings.user
    if late:
        within = limit(settings.timeouts.connect, settings.timeouts)
        advice = "let its sshd not wait for a name server (UseDNS no) or for PAM, or raise that setting"
        return f"it has not let user {user} in within {within}; {advice}"
    if closed:
        return f"it ended the connection while user {user} logged in{_and_says(words)}; see its sshd's log"
    advice = f"is its public key in ~{user}/.ssh/authorized_keys there?"
    return f"it refuses user {user} with the key {settings.key_file}{_and_says(words)}; {advice}"


def more_wanted(settings: SSHSettings, methods: list[str]) -> str:
    """Return the reason why a key is not enough."""
    wants = ", ".join(methods)
    return f"it wants more than a key of user {settings.user} ({wants}); let a key be enough there"


def no_channel(settings: SSHSettings, *, late: bool, words: str) -> str:
    """Return the reason why there is no session, though the user was let in."""
    if late:
        within = limit(settings.timeouts.connect, settings.timeouts)
        return f"it let user {settings.user} in, and opened no session within {within}; {HUNG}"
    advice = "see MaxSessions in its sshd_config, and its sshd's log"
    return f"it let user {settings.user} in, and opens no session{_and_says(words)}; {advice}"


def no_login(settings: SSHSettings, status: int, words: str) -> str:
    """Return the reason why the login shell ended before it ran anything."""
    said = last_line(words)
    template = _SILENT_LOGIN
    if said:
        fitting = (advice for pattern, advice in _LOGIN_ADVICE if re.search(pattern, words, re.IGNORECASE))
        template = next(fitting, _SILENT_LOGIN)
    if status == _NO_LOGIN:
        template = "/etc/nologin there keeps users out; remove that file, or wait"
    says = f"and says {quoted(words)}" if said else "and says nothing"
    ended = f"the login shell of {settings.user} there ended with status {status} before it ran a command"
    return f"{ended}, {says}; {template.format(user=settings.user)}"


def silent_login(settings: SSHSettings, seconds: float, words: str) -> str:
    """Return the reason why the login shell sent no output."""
    advice = "do its start files, such as ~/.bashrc, or its home wait for something?"
    within = limit(seconds, settings.timeouts)
    return f"the login shell of {settings.user} ran no command within {within}{_and_says(words)}; {advice}"


def no_sudo(settings: SSHSettings, status: int, words: str) -> str:
    """Return the reason why sudo started no shell: with status 1 it refuses (sudo(8)); others are the shell's."""
    said = last_line(words)
    if status == 1 and said:
        right = f"let {settings.user} run /usr/bin/sh -s as root without a password (docs/install-hosts.md)"
        return f"sudo refuses: {said[:_LONGEST_QUOTE]}; it has to {right}"
    if status in _NO_PROGRAM:
        return f"sudo cannot be run there: {quoted(words)}; install it (docs/install-hosts.md lists the packages)"
    return f"the shell there ended with status {status} before it began: {said or 'with no output'}; try again"


def silent_sudo(settings: SSHSettings, seconds: float, words: str) -> str:
    """Return the reason why sudo sent no output."""
    advice = "does it wait for a name server? Put the host's own name into /etc/hosts there, or raise that setting"
    return f"sudo there started no shell within {limit(seconds, settings.timeouts)}{_and_says(words)}; {advice}"


def silent_batch(settings: SSHSettings, seconds: float) -> str:
    """Return the reason why a batch is given up."""
    return f"silent for {limit(seconds, settings.timeouts)} in the middle of a command"


class LoginShell:
    """The output of a new session before its first command, which prints a `word` of ours."""

    def __init__(self, word: str) -> None:
        self._word = word.encode()
        self._said = b""
        self.has_run = False

    def feed(self, piece: bytes) -> None:
        """Add a piece of standard output."""
        if not self.has_run:
            self._said += piece[: 1 << 16]
            self.has_run = self._word in self._said

    @property
    def said(self) -> str:
        """Return the standard output so far."""
        return self._said.decode(errors="replace")
