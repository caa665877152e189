"""Make Ctrl-C reliable at a prompt."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_AGAIN = 0.1
"""Seconds after which Ctrl-C is sent again if the prompt is still open."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `KeyboardInterrupt` once for Ctrl-C, even while the body waits in the C library.

    readline has a gap between the display of a prompt and its wait for a key. Python only notes a signal in this gap,
    and the wait goes on until the next key. So a thread reads each signal from Python's wakeup descriptor and repeats
    it until the prompt is left.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    left = threading.Event()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    watcher = threading.Thread(target=_repeat, args=(reading, left), daemon=True)
    handler = signal.signal(signal.SIGINT, _Once())
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watcher.start()
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGINT, handler)
        os.close(writing)
        watcher.join()
        os.close(reading)


class _Once:
    """A handler that raises only the first time, so that a repeated signal does not disturb the cleanup."""

    def __init__(self) -> None:
        self._raised = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        if not self._raised:
            self._raised = True
            raise KeyboardInterrupt


def _repeat(reading: int, left: threading.Event) -> None:
    """Repeat each signal until the prompt is left. The repeated signal arrives here too."""
    while number := os.read(reading, 1):
        if number[0] == signal.SIGALRM:  # `menu.idle` repeats this one
            continue
        if not left.wait(_AGAIN):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
