"""The size of a long test: `make torture` sets CLOUD_TORTURE and runs all of it, `make test` a bounded part."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")

LONG = bool(os.environ.get("CLOUD_TORTURE"))


def scaled(bounded: T, whole: T) -> T:
    """Return `whole` in the long run, else `bounded`."""
    return whole if LONG else bounded
