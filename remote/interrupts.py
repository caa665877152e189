"""Ctrl-C, kept from tearing a change apart: it is noted, and whoever carries out the change asks for it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from remote.events import InterruptNoted, Listener


@contextmanager
def held(listen: Listener) -> Iterator[Callable[[], bool]]:
    """While the body runs, Ctrl-C only sets what the yielded function answers, and tells `listen`.

    Signals reach the main thread alone; elsewhere there is nothing to hold and the answer stays False.
    """
    pressed = threading.Event()

    def note(_signal: int, _frame: object) -> None:
        pressed.set()
        with suppress(Exception):  # as in the runner: what cannot be shown must not end a change half-way
            listen(InterruptNoted())

    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)
