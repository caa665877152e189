"""What happens while a plan runs, told to whoever listens: the menu draws it, a test collects it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.errors import CloudError
from remote.plan import Stage, Step


@dataclass(frozen=True)
class StageStarted:
    """A stage begins on its hosts."""

    stage: Stage


@dataclass(frozen=True)
class StepDone:
    """A step ended well, `seconds` after the one before it on that host; `changed` False: all of it was there."""

    stage: Stage
    step: Step
    seconds: float
    changed: bool


@dataclass(frozen=True)
class StepFailed:
    """A step ended badly."""

    stage: Stage
    step: Step
    error: CloudError


@dataclass(frozen=True)
class Transferred:
    """A file on its way to a host: `done` of `total` bytes."""

    host: str
    title: str
    done: int
    total: int


@dataclass(frozen=True)
class InterruptNoted:
    """Ctrl-C was pressed; what is under way is brought to its end first."""


@dataclass(frozen=True)
class EndNoted:
    """The program was told to end, by the signal `number`; it does when the change is done."""

    number: int


@dataclass(frozen=True)
class Notice:
    """Something of a change that its user has to know besides how it ended, as a sentence."""

    sentence: str


Event = StageStarted | StepDone | StepFailed | Transferred | InterruptNoted | EndNoted | Notice
Listener = Callable[[Event], None]
"""Called from several threads, one call at a time; what is noted comes from a signal handler, whenever it will."""


def ignore(_event: Event) -> None:
    """The listener that does nothing."""
