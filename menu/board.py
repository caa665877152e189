"""Keep the state of a running plan: its stages, and for each host the finished and the current step. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from remote.events import EndNoted, Event, InterruptNoted, Notice, StageStarted, StepDone, StepFailed, Transferred
from remote.plan import Stage


@dataclass
class HostRun:
    """One host in one stage. `since`: the start of its current step. `transfer`: a file that is being copied."""

    titles: tuple[str, ...]
    since: float
    done: list[StepDone] = field(default_factory=list)
    failed: StepFailed | None = None
    transfer: Transferred | None = None

    @property
    def current(self) -> str:
        """Return the title of the current step, or an empty string if the host has finished the stage."""
        ended = len(self.done)
        return "" if self.failed or ended >= len(self.titles) else self.titles[ended]

    @property
    def seconds(self) -> float:
        """Return the time of all finished steps together."""
        return sum(done.seconds for done in self.done)


@dataclass
class StageRun:
    """One stage on its hosts. `ended`: None while it runs."""

    title: str
    began: float
    hosts: dict[str, HostRun]
    ended: float | None = None

    @property
    def steps(self) -> list[StepDone]:
        """Return all finished steps."""
        return [done for host in self.hosts.values() for done in host.done]

    @property
    def slowest(self) -> StepDone | None:
        """Return the finished step that took longest."""
        return max(self.steps, key=lambda done: done.seconds, default=None)


class Board:
    """The stages so far, the current one last."""

    def __init__(self) -> None:
        self.stages: list[StageRun] = []

    def note(self, event: Event, now: float) -> None:
        """Record an event that happened at the time `now`."""
        match event:
            case StageStarted(stage):
                self.end(now)
                self.stages.append(_begun(stage, now))
            case StepDone(step=step):
                host = self._host(step.host, now)
                host.done.append(event)
                host.since, host.transfer = now, None
            case StepFailed(step=step):
                self._host(step.host, now).failed = event
            case Transferred(host=name):
                self._host(name, now).transfer = event
            case InterruptNoted() | EndNoted() | Notice():
                pass

    def end(self, now: float) -> None:
        """End the current stage at the time `now`."""
        if self.stages and self.stages[-1].ended is None:
            self.stages[-1].ended = now

    def _host(self, name: str, now: float) -> HostRun:
        """Return the host in the current stage."""
        if not self.stages:
            self.stages.append(StageRun("", now, {}))
        return self.stages[-1].hosts.setdefault(name, HostRun((), now))


def _begun(stage: Stage, now: float) -> StageRun:
    hosts = {host: HostRun(tuple(step.title for step in steps), now) for host, steps in stage.by_host.items()}
    return StageRun(stage.title, now, hosts)
