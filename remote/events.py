"""Events of a running plan, sent to a listener: the menu draws them, a test collects them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.errors import CloudError
from remote.plan import Stage, Step


@dataclass(frozen=True)
class StageStarted:
    """The start of a stage on its hosts."""

    stage: Stage


@dataclass(frozen=True)
class StepDone:
    """The success of a step, `seconds` after the one before it on that host.

    `changed` is False where its objects existed already.
    """

    stage: Stage
    step: Step
    seconds: float
    changed: bool


@dataclass(frozen=True)
class StepFailed:
    """The failure of a step."""

    stage: Stage
    step: Step
    error: CloudError


@dataclass(frozen=True)
class Transferred:
    """The progress of a file on its way to a host: `done` of `total` bytes."""

    host: str
    title: str
    done: int
    total: int


@dataclass(frozen=True)
class InterruptNoted:
    """A press of Ctrl-C; the present step is finished first."""


@dataclass(frozen=True)
class EndNoted:
    """The signal `number`, which asks the program to end; it ends after the change."""

    number: int


@dataclass(frozen=True)
class Notice:
    """A sentence for the user about a change, apart from its result."""

    sentence: str


Event = StageStarted | StepDone | StepFailed | Transferred | InterruptNoted | EndNoted | Notice
Listener = Callable[[Event], None]
"""A function that receives events, called from several threads, one call at a time.

A signal handler sends `InterruptNoted` and `EndNoted`, at any moment.
"""


def ignore(_event: Event) -> None:
    """Ignore an event."""
