"""The lab's one exception, and the wait that raises it."""

from __future__ import annotations

import time
from collections.abc import Callable

POLL_SECONDS = 0.02


class LabError(Exception):
    """The lab cannot do what was asked; the text is a sentence for whoever runs it."""


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Return as soon as the condition holds; LabError naming `what` when it does not within that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {seconds:g} s")
        time.sleep(POLL_SECONDS)
