"""What is known of a running plan: its stages, and for each host what is done and what is under way. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from remote.events import EndNoted, Event, InterruptNoted, Notice, StageStarted, StepDone, StepFailed, Transferred
from remote.plan import Stage


@dataclass
class HostRun:
    """One host in one stage. `since` is when the step under way began, `transfer` a file on its way."""

    titles: tuple[str, ...]
    since: float
    done: list[StepDone] = field(default_factory=list)
    failed: StepFailed | None = None
    transfer: Transferred | None = None

    @property
    def current(self) -> str:
        """The title of the step under way, or "" when the host has nothing left to do here."""
        ended = len(self.done)
        return "" if self.failed or ended >= len(self.titles) else self.titles[ended]

    @property
    def seconds(self) -> float:
        """How long the finished steps took together."""
        return sum(done.seconds for done in self.done)


@dataclass
class StageRun:
    """One stage on its hosts; `ended` is None while it is under way."""

    title: str
    began: float
    hosts: dict[str, HostRun]
    ended: float | None = None

    @property
    def steps(self) -> list[StepDone]:
        """All finished steps."""
        return [done for host in self.hosts.values() for done in host.done]

    @property
    def slowest(self) -> StepDone | None:
        """The finished step that took longest."""
        return max(self.steps, key=lambda done: done.seconds, default=None)


class Board:
    """The stages so far, the one under way last."""

    def __init__(self) -> None:
        self.stages: list[StageRun] = []

    def note(self, event: Event, now: float) -> None:
        """Take in what happened at the time `now`."""
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
        """Whatever is under way ends at `now`."""
        if self.stages and self.stages[-1].ended is None:
            self.stages[-1].ended = now

    def _host(self, name: str, now: float) -> HostRun:
        """The host in the stage under way."""
        if not self.stages:
            self.stages.append(StageRun("", now, {}))
        return self.stages[-1].hosts.setdefault(name, HostRun((), now))


def _begun(stage: Stage, now: float) -> StageRun:
    hosts = {host: HostRun(tuple(step.title for step in steps), now) for host, steps in stage.by_host.items()}
    return StageRun(stage.title, now, hosts)
