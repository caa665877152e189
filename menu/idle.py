"""End a session without input: warn first, then end it, even if a write hangs.

The main thread waits in the C library. So another thread watches the clock and ends that wait by a signal.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from remote.console import ConsoleSession

NOTICE_SECONDS = 60.0
"""Seconds between the warning and the end, or half of the limit if that is less."""

_AGAIN = 0.1
"""Seconds after which a signal is sent again if the wait goes on; `menu.interrupts` says why that happens."""


class Expired(BaseException):
    """The end of the time. It is no `Exception`, so that no handler goes on after it."""


_EXPIRED = Expired()  # created early: see `menu.endings`
_STATE = {"armed": False, "over": False}


class Idle:
    """The limit of one session in seconds, or None for no limit. `deadline`: a time of `time.monotonic`, or None."""

    def __init__(self, limit: float | None, say: Callable[[str], None], notice: float = NOTICE_SECONDS) -> None:
        self.deadline: float | None = None
        self._limit = limit
        self._say = say
        self._notice = min(notice, (limit or 0) / 2)

    @contextmanager
    def watched(self, say: Callable[[str], None] | None = None) -> Iterator[Callable[[], None]]:
        """Raise `EOFError` in the body at the end of the time, and yield a function that restarts the time.

        `say` shows the warning on a screen in raw mode. Outside the main thread there is no limit.
        """
        if self._limit is None or threading.current_thread() is not threading.main_thread():
            yield lambda: None
            return
        watch = _IdleWatch(self._limit, self.deadline, self._notice, say or self._say)
        try:
            with watch.running():
                yield watch.restart
        except (Expired, SystemError) as end:
            if not _STATE["over"]:
                raise
            with suppress(Exception):  # the session also ends if the terminal is gone
                self._say(self._why())
            raise EOFError from end

    def _why(self) -> str:
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return "No right password came in time: the session ends"
        return f"Nothing was typed for {_duration(self._limit or 0)}: the session ends"


class _IdleWatch:
    """One wait and the thread that ends it."""

    def __init__(self, limit: float, deadline: float | None, notice: float, say: Callable[[str], None]) -> None:
        self._limit = limit
        self._deadline = deadline
        self._notice = notice
        self._say = say
        self._left = threading.Event()
        self._began = time.monotonic()

    def restart(self) -> None:
        """Restart the time."""
        self._began = time.monotonic()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Watch the body by the thread."""
        _STATE.update(armed=True, over=False)
        signal.signal(signal.SIGALRM, _expire)
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._left.set()
            thread.join()  # the thread sends no signal after it
            _STATE["armed"] = False

    def _run(self) -> None:
        warned = 0.0
        while True:
            began, now = self._began, time.monotonic()
            end = began + self._limit
            warn_at = end - self._notice
            if self._deadline is not None and self._deadline < end:
                end = warn_at = self._deadline
            if now >= end:
                break
            if now >= warn_at and warned != began:
                warned = began
                self._warn(end - now)
            if self._left.wait((warn_at if warned != began else end) - now):
                return
        while not self._left.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
            self._left.wait(_AGAIN)

    def _warn(self, seconds: float) -> None:
        """Write the warning from another thread, because a write hangs if the output is not read."""
        sentence = f"Warning: nothing was typed for a while; the session ends in {_duration(seconds)}, Enter keeps it"
        threading.Thread(target=self._try_to_say, args=(sentence,), daemon=True).start()

    def _try_to_say(self, sentence: str) -> None:
        with suppress(Exception):
            self._say(sentence)


class TypedConsole:
    """A console that calls `typed` for each key. Only the user's keys restart the time, not the guest's output."""

    def __init__(self, console: ConsoleSession, typed: Callable[[], None]) -> None:
        self._console = console
        self._typed = typed

    def fileno(self) -> int:
        """Return the descriptor of the console."""
        return self._console.fileno()

    def recv(self, nbytes: int, /) -> bytes:
        """Return bytes that the guest wrote."""
        return self._console.recv(nbytes)

    def send(self, s: bytes, /) -> int:
        """Send bytes to the guest."""
        self._typed()
        return self._console.send(s)

    def close(self) -> None:
        """Leave the console."""
        self._console.close()


def _expire(_number: int, _frame: FrameType | None) -> None:
    if _STATE["armed"]:  # no call is possible here: see `_EXPIRED`
        _STATE["armed"] = False
        _STATE["over"] = True
        raise _EXPIRED


def _duration(seconds: float) -> str:
    return f"{round(seconds / 60)} min" if seconds >= 60 else f"{max(1, round(seconds))} s"
