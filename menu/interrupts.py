"""Ctrl-C at a prompt, made reliable."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_AGAIN = 0.1
"""Seconds after which a Ctrl-C that did not end the prompt is sent once more."""


@contextmanager
def heeded() -> Iterator[None]:
    """While the body waits in the C library, Ctrl-C raises `KeyboardInterrupt`, once, whenever it comes.

    A signal that arrives between the display of a prompt and the call that waits for a key is only noted by Python, and
    the wait goes on until the next key: the readline module has that gap. So a thread sees each signal, by way of
    Python's wakeup descriptor, and repeats it until the prompt is left.
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
    """A handler that raises the first time only, so that a repeated signal does not strike whoever cleans up."""

    def __init__(self) -> None:
        self._raised = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        if not self._raised:
            self._raised = True
            raise KeyboardInterrupt


def _repeat(reading: int, left: threading.Event) -> None:
    """Each signal is seen here, the repeated one too: so it is repeated until the prompt is left."""
    while number := os.read(reading, 1):
        if number[0] == signal.SIGALRM:  # `menu.idle` repeats its own
            continue
        if not left.wait(_AGAIN):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
