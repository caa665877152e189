"""The time of a change by stage and host, measured by a listener of the runner."""

from __future__ import annotations

import time

from remote.events import Event, StageStarted, StepDone

SIDE_BY_SIDE = {"prepare": "images", "launch": "launch"}
"""Stages in which workers and network node do different work at the same time, with the name of the workers' part."""


class StageClock:
    """The times of one change or several.

    `stages` has the seconds of each stage and host until its last step; `wall_times` those until the next stage began.
    The times of several changes add up.
    """

    def __init__(self) -> None:
        self.stages: dict[str, dict[str, float]] = {}
        self.wall_times: dict[str, float] = {}
        self._title = ""
        self._began = 0.0
        self._last: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        """Record the time of `event`."""
        if isinstance(event, StageStarted):
            self._close(time.monotonic())
            self._title, self._began = event.stage.title, time.monotonic()
        elif isinstance(event, StepDone):
            self._last[event.step.host] = time.monotonic()

    def end(self) -> None:
        """End the change: the time after its last step does not count for the hosts."""
        self._close(max(self._last.values(), default=self._began))

    def _close(self, now: float) -> None:
        if self._title:
            stage = self.stages.setdefault(self._title, {})
            for host, done in self._last.items():
                stage[host] = stage.get(host, 0.0) + done - self._began
            self.wall_times[self._title] = self.wall_times.get(self._title, 0.0) + now - self._began
        self._title, self._last = "", {}


def phases(stages: dict[str, dict[str, float]], node: str) -> dict[str, float]:
    """Return stages as the phases of the report; the network node's work during the workers' is the phase `network`."""
    found: dict[str, float] = {}
    for title, hosts in stages.items():
        if title not in SIDE_BY_SIDE:
            found[title] = max(hosts.values(), default=0.0)
            continue
        found[SIDE_BY_SIDE[title]] = max((seconds for host, seconds in hosts.items() if host != node), default=0.0)
        if node in hosts:
            found["network"] = found.get("network", 0.0) + hosts[node]
    return found
