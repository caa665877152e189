"""Signals during a change: they are recorded, and the code that carries out the change asks for them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from remote.events import EndNoted, InterruptNoted, Listener


@contextmanager
def held(listen: Listener) -> Iterator[Callable[[], bool]]:
    """Hold signals back while the body runs: Ctrl-C sets the answer of the yielded function and notifies `listen`.

    SIGTERM does the same. SIGHUP, which no user sends on purpose, lets the change finish. `listen` gets both, so that
    the program ends afterwards. Signals reach the main thread alone; other threads have nothing to hold.
    """
    pressed = threading.Event()

    def note(number: int, _frame: object) -> None:
        if number != signal.SIGHUP:
            pressed.set()
        with suppress(Exception):  # a failing display must not end a change half-way
            if number != signal.SIGINT:
                listen(EndNoted(number))
            if number != signal.SIGHUP:
                listen(InterruptNoted())

    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return
    signals = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    before = {number: signal.getsignal(number) for number in signals}
    for number in signals:
        if number == signal.SIGINT or before[number] is not signal.SIG_IGN:
            signal.signal(number, note)
    try:
        yield pressed.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
