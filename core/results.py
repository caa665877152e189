"""The result of a use-case: `(True, value)`, or `(False, sentence)` with the error behind the sentence."""

from __future__ import annotations

from typing import Literal, Protocol, Self, TypeVar, runtime_checkable

from core.errors import CloudError

T = TypeVar("T")


class Failure(str):
    """The sentence about a use-case that failed. The class of `error` is the kind of the failure."""

    __slots__ = ("error",)

    error: CloudError

    def __new__(cls, error: CloudError) -> Self:
        """Return the sentence of an error."""
        failure = super().__new__(cls, error)
        failure.error = error
        return failure


@runtime_checkable
class Noted(Protocol):
    """A value of a use-case with a sentence of its own for the audit log, which is `ok` for others."""

    @property
    def note(self) -> str:
        """Return the sentence."""


Result = tuple[Literal[True], T] | tuple[Literal[False], Failure]


def value_of(result: Result[T]) -> T:
    """Return the value of a use-case; raise the error of one that failed."""
    match result:
        case (True, value):
            return value
        case (False, failure):
            raise failure.error
