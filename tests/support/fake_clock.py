"""A clock that stands still until a test sets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class FakeClock(Generic[T]):
    """A clock that returns `now`: seconds or a date, as its reader wants."""

    now: T

    def __call__(self) -> T:
        return self.now
