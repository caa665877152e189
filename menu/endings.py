"""End a session by a signal: the connection is lost, or the operator ends the program.

At a prompt the session ends at once. During a change of hosts `remote.interrupts` holds the signal back, and
`menu.progress` raises it after the change is recorded. SIGHUP lets the change finish; SIGTERM rolls it back, as Ctrl-C
does.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import threading
from types import FrameType

KEPT = ("HOME", "LANG", "LOGNAME", "PATH", "TERM", "USER")
"""The variables that a restricted session keeps: the user's end of the connection may have set the others."""

_TERM = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,63}")
_PR_SET_DUMPABLE = 4  # prctl(2)


class Ended(BaseException):
    """A signal that ends the program. It is no `Exception`, so that no handler goes on after it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number
        """The status that a shell shows for a program ended by this signal."""


_ENDS: dict[int, Ended] = {number: Ended(number) for number in (signal.SIGHUP, signal.SIGTERM)}
"""Created early: readline runs handlers while an exception is set, and then each call in them is a SystemError."""

_NOTED: dict[int, bool] = {}


def install_signal_handlers() -> None:
    """Raise `Ended` in the main thread for SIGHUP and SIGTERM. Ignore SIGTSTP and SIGQUIT, and dump no core."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # this memory holds passwords
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTSTP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a parent may have ignored it, and then no child has an exit status
    for number in (signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores it on purpose
            signal.signal(number, _end)


def restrict_session() -> None:
    """Drop the environment that the user's end of the connection may have set, and close this process to debuggers."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the forced command ignores it until Python has started
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    if not _TERM.fullmatch(kept.get("TERM", "dumb")):
        kept["TERM"] = "dumb"
    os.environ.clear()
    os.environ.update(kept, INPUTRC=os.devnull)  # the account's own file must not redefine keys
    os.umask(0o077)
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def noted() -> Ended | None:
    """Return the end that a signal asked for, or None. readline may have turned it into a SystemError."""
    return next((_ENDS[number] for number in _NOTED), None)


def _end(number: int, _frame: FrameType | None) -> None:
    _NOTED[number] = True  # no call: see `_ENDS`
    raise _ENDS[number]
