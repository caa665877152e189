"""The death of a manager, as an exception for tests in one process."""

from __future__ import annotations


class ManagerDiesError(BaseException):
    """A stand-in for `kill -9`, which no code of ours catches."""
