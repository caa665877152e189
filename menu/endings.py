"""How a session ends from outside: the connection is lost, or the operator ends the program.

At a prompt it ends at once. While hosts are being changed `remote.interrupts` holds it back, and `menu.progress`
hands it on when the change is done and recorded: SIGHUP lets it come to its end, SIGTERM has it taken back as Ctrl-C
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
"""What is kept of the environment at a student's seat: the rest may come from the other end of the connection."""

_TERM = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,63}")
_PR_SET_DUMPABLE = 4  # prctl(2)


class Ended(BaseException):
    """A signal ended the program; no `Exception`, as nobody is to go on after it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number
        """As a shell sees a program that the signal ended."""


_ENDS: dict[int, Ended] = {number: Ended(number) for number in (signal.SIGHUP, signal.SIGTERM)}
"""Made beforehand: readline runs handlers while an exception is set, and then every call in one is a SystemError."""

_NOTED: dict[int, bool] = {}


def heed() -> None:
    """From now on: no core dump, no way into the background, and an end by signal is `Ended` in the main thread."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # passwords have been in this memory
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTSTP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored, no child's exit status is ever told
    for number in (signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_DFL:  # who starts it with nohup means that
            signal.signal(number, _end)


def sit_down() -> None:
    """Trust nothing that a student's end of the connection has sent along, and let nobody look into this process."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the forced command ignores it until Python is up
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    if not _TERM.fullmatch(kept.get("TERM", "dumb")):
        kept["TERM"] = "dumb"
    os.environ.clear()
    os.environ.update(kept, INPUTRC=os.devnull)  # what keys do is not the account's to say either
    os.umask(0o077)
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def noted() -> Ended | None:
    """The end that a signal asked for, also where Python made a SystemError of it on the way out of readline."""
    return next((_ENDS[number] for number in _NOTED), None)


def _end(number: int, _frame: FrameType | None) -> None:
    _NOTED[number] = True  # no call: see `_ENDS`
    raise _ENDS[number]
