"""The failures that a user can meet.

The class says what happened: nothing was done, a command failed, or a host was lost. `Interrupted` and `Unforeseen` end
a change.

`str()` of each is a finished sentence for the menu, without a full stop and without the word "Error".
"""

from __future__ import annotations

import re
from typing import Self

LONGEST_WORDS = 300
"""Maximum length, in characters, of a quotation from a host or a program: its output may be endless."""

_READ = 1 << 16

UNUSABLE = "cannot be used"
"""The predicate for a host that answers, and fails for another reason than silence."""

INVALID = "gives an invalid answer"
"""The predicate for a host whose answer no host of this cloud can give."""


class CloudError(Exception):
    """A failure that the program foresees.

    `begun` is False when it is certain that nothing was done on a host.
    """

    begun = True

    def within(self, sentence: str) -> Self:
        """Return the same kind of error for a change that it ended, with the sentence about that change."""
        error = type(self).__new__(type(self), sentence)
        error.__dict__.update(self.__dict__, begun=True)
        return error


class Refused(CloudError):
    """A refusal of a request that breaks a rule; nothing was done. The sentence names the rule and what is allowed."""

    begun = False


class FileFault(Refused):
    """A fault in the cloud's own files.

    `str()` is for the owner of the files; other users read `public`. `begun` is True where hosts were changed before
    the fault was found; then `public` says what was done.
    """

    PUBLIC = "The cloud's own files have a fault, nothing was done: tell the operator (the audit log says more)"

    def __init__(self, detail: str, public: str = PUBLIC, *, begun: bool = False) -> None:
        self.public = public
        self.begun = begun
        super().__init__(detail)

    def for_users(self) -> FileFault:
        """Return the same fault without its detail."""
        return FileFault(self.public, self.public, begun=self.begun)


class TakenOver(CloudError):
    """Another manager has begun to change the same slice: this change stops, and the other manager ends it."""


class Interrupted(CloudError):
    """The user pressed Ctrl-C while hosts were being changed."""


class CommandFailed(CloudError):
    """A program on a host ended with a status that its step does not accept.

    `status` is the exit status, `stderr` all of the program's error output; the sentence quotes its last line.
    """

    def __init__(self, host: str, title: str, argv: tuple[str, ...], status: int, stderr: str) -> None:
        self.host = host
        self.title = title
        self.argv = argv
        self.status = status
        self.stderr = stderr
        super().__init__(f"{host}: {title}: {last_line(stderr) or f'{argv[0]} ended with status {status}'}")


class NotBegun(CommandFailed):
    """The shell for the commands did not start on the host: nothing was run."""

    begun = False


class BadAnswer(ValueError):
    """The output of a host does not answer the question; `str()` says what is wrong with it."""


class LoginFailed(NotBegun):
    """The login shell of the SSH user ended before the shell for the commands started."""


class SudoRefused(NotBegun):
    """`sudo` refused to start the shell for the commands."""


class Unforeseen(CloudError):
    """A bug of this program, raised while hosts were being changed.

    It is kept as a failure, so that the change can be rolled back.
    """

    def __init__(self, host: str, title: str, fault: Exception) -> None:
        super().__init__(
            f"{host}: {title}: an unexpected {type(fault).__name__}: {last_line(str(fault)) or 'no message'}"
        )


class HostUnreachable(CloudError):
    """A host refused the connection (`begun` False), or stopped answering while it worked."""

    PREDICATE = "does not answer"

    def __init__(self, host: str, reason: str, *, begun: bool = False) -> None:
        self.host = host
        self.reason = printable(reason)
        self.begun = begun
        super().__init__(f"{host} {self.PREDICATE}: {self.reason}")

    @property
    def problem(self) -> str:
        """Return the sentence about a host that does not answer."""
        return self.reason


class HostUnusable(HostUnreachable):
    """A host answers, and a key, an account or a setting on either side prevents its use."""

    PREDICATE = UNUSABLE

    @property
    def problem(self) -> str:
        """Return the sentence about a host that answers and cannot be used."""
        return f"{UNUSABLE}: {self.reason}"


class InvalidAnswer(HostUnreachable):
    """A host gave an answer that no host of this cloud can give; like a lost host, it cannot be used."""

    PREDICATE = INVALID

    @property
    def problem(self) -> str:
        """Return the sentence about a host that gave an invalid answer."""
        return f"{INVALID}: {self.reason}"


def figure(word: str, complaint: str, low: int, high: int) -> int:
    """Return the number in a host's answer; raise `BadAnswer` for another word or a number out of range."""
    if not re.fullmatch(r"[0-9]{1,18}", word) or not low <= int(word) <= high:
        raise BadAnswer(f"{printable(word)[:40]} {complaint}")
    return int(word)


def printable(text: str) -> str:
    """Return `text` on one line, without control characters and at most `LONGEST_WORDS` long."""
    if len(text) <= LONGEST_WORDS and text.isprintable():
        return text.strip()
    words = "".join(character for character in text[:_READ] if character.isprintable()).strip()
    return words if len(words) <= LONGEST_WORDS else f"{words[: LONGEST_WORDS - 3]}..."


def last_line(text: str) -> str:
    """Return the last line of `text` that is not blank, cleaned by `printable`: foreign programs write it."""
    lines = (printable(line) for line in reversed(text[-_READ:].splitlines()))
    return next(filter(None, lines), "")
