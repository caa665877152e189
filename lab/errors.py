"""The exception of the lab, and the wait that raises it."""

from __future__ import annotations

import time
from collections.abc import Callable

POLL_SECONDS = 0.02


class LabError(Exception):
    """A failure of the lab; the text is a sentence for the user of the lab."""


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Return as soon as the condition holds; raise LabError, which names `what`, after that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {seconds:g} s")
        time.sleep(POLL_SECONDS)
