"""The failures a user can meet: three kinds, because each asks something else of them.

`str()` of every one of them is a finished sentence for the menu, without a full stop and without the word "Error".
"""

from __future__ import annotations

import re

LONGEST_WORDS = 300
"""Characters of a host's or program's own words that are quoted: they may come without an end."""

_READ = 1 << 16

UNUSABLE = "cannot be used"
"""Said of a host that is there, for another cause than its silence."""

INVALID = "gives an invalid answer"
"""Said of a host that answers what no host of ours can."""


class CloudError(Exception):
    """Anything that went wrong in a way we foresaw.

    `begun` is False when it is certain that nothing was done on a host.
    """

    begun = True


class Refused(CloudError):
    """Nothing was done: the wish breaks a rule, and the sentence says which and what is allowed."""

    begun = False


class FileFault(Refused):
    """A fault in the cloud's own files: what `str()` says of them is for whoever owns them, others get `public`.

    `begun` is True where the fault was met after hosts had been changed; then `public` says what was done.
    """

    PUBLIC = "The cloud's own files have a fault, nothing was done: tell the operator (the audit log says more)"

    def __init__(self, detail: str, public: str = PUBLIC, *, begun: bool = False) -> None:
        self.public = public
        self.begun = begun
        super().__init__(detail)


class Interrupted(CloudError):
    """The user pressed Ctrl-C while hosts were being changed."""


class CommandFailed(CloudError):
    """A program on a host ended with a status that its step does not accept.

    `status` is the exit status, `stderr` everything the program said; the sentence quotes its last line.
    """

    def __init__(self, host: str, title: str, argv: tuple[str, ...], status: int, stderr: str) -> None:
        self.host = host
        self.title = title
        self.argv = argv
        self.status = status
        self.stderr = stderr
        super().__init__(f"{host}: {title}: {last_line(stderr) or f'{argv[0]} ended with status {status}'}")


class NotBegun(CommandFailed):
    """The shell that a host was to run commands in did not begin: nothing was run."""

    begun = False


class BadAnswer(ValueError):
    """The words of a host that are no answer to the question; `str()` says what is wrong with them."""


class LoginFailed(NotBegun):
    """There was no such shell, because the login shell of the SSH user ended before it ran anything."""


class SudoRefused(NotBegun):
    """There was no such shell, because `sudo` refused it."""


class Unforeseen(CloudError):
    """A fault of ours while hosts were being changed: kept as a failure, so that what was done can be taken back."""

    def __init__(self, host: str, title: str, fault: Exception) -> None:
        super().__init__(f"{host}: {title}: an unexpected {type(fault).__name__}: {last_line(str(fault)) or 'no word'}")


class HostUnreachable(CloudError):
    """A host could not be connected to (`begun` False), or stopped answering while it worked."""

    PREDICATE = "does not answer"

    def __init__(self, host: str, reason: str, *, begun: bool = False) -> None:
        self.host = host
        self.reason = printable(reason)
        self.begun = begun
        super().__init__(f"{host} {self.PREDICATE}: {self.reason}")

    @property
    def problem(self) -> str:
        """The sentence about a host that is said not to answer."""
        return self.reason


class HostUnusable(HostUnreachable):
    """A host is there, and the cause is another one: a key, an account, a setting, on its side or on ours."""

    PREDICATE = UNUSABLE

    @property
    def problem(self) -> str:
        """The sentence about a host that is there."""
        return f"{UNUSABLE}: {self.reason}"


class InvalidAnswer(HostUnreachable):
    """A host answered what no host of ours can answer; like one that is lost, it cannot be worked with."""

    PREDICATE = INVALID

    @property
    def problem(self) -> str:
        """The sentence about a host that answers."""
        return f"{INVALID}: {self.reason}"


def figure(word: str, what: str, low: int, high: int) -> int:
    """Return a host's figure; `BadAnswer` where it is none, or none that can be true."""
    if not re.fullmatch(r"[0-9]{1,18}", word) or not low <= int(word) <= high:
        raise BadAnswer(f"{printable(word)[:40]} {what}")
    return int(word)


def printable(text: str) -> str:
    """Return `text` on one line, without control characters and at most `LONGEST_WORDS` long."""
    if len(text) <= LONGEST_WORDS and text.isprintable():
        return text.strip()
    words = "".join(character for character in text[:_READ] if character.isprintable()).strip()
    return words if len(words) <= LONGEST_WORDS else f"{words[: LONGEST_WORDS - 3]}..."


def last_line(text: str) -> str:
    """Return the last line of `text` that says something, as `printable` (it came from a foreign program)."""
    lines = (printable(line) for line in reversed(text[-_READ:].splitlines()))
    return next(filter(None, lines), "")
