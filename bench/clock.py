"""Where the time of a change goes, seen by a listener: stages, and the hosts in them."""

from __future__ import annotations

import time

from remote.events import Event, StageStarted, StepDone

BESIDE = {"prepare": "images", "launch": "launch"}
"""Stages in which workers and network node do different things side by side, and what the workers' part is called."""


class StageClock:
    """`stages`: for each stage and host, seconds until its last step was done; `walls`: until the next stage began.

    Several changes in a row add up.
    """

    def __init__(self) -> None:
        self.stages: dict[str, dict[str, float]] = {}
        self.walls: dict[str, float] = {}
        self._title = ""
        self._began = 0.0
        self._last: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        """Note what `event` says of the time."""
        if isinstance(event, StageStarted):
            self._close(time.monotonic())
            self._title, self._began = event.stage.title, time.monotonic()
        elif isinstance(event, StepDone):
            self._last[event.step.host] = time.monotonic()

    def end(self) -> None:
        """The change is over: what comes after its last step was not the hosts' doing."""
        self._close(max(self._last.values(), default=self._began))

    def _close(self, now: float) -> None:
        if self._title:
            stage = self.stages.setdefault(self._title, {})
            for host, done in self._last.items():
                stage[host] = stage.get(host, 0.0) + done - self._began
            self.walls[self._title] = self.walls.get(self._title, 0.0) + now - self._began
        self._title, self._last = "", {}


def phases(stages: dict[str, dict[str, float]], node: str) -> dict[str, float]:
    """Stages as the phases that are reported; what the network node does beside the workers is the phase `network`."""
    found: dict[str, float] = {}
    for title, hosts in stages.items():
        if title not in BESIDE:
            found[title] = max(hosts.values(), default=0.0)
            continue
        found[BESIDE[title]] = max((seconds for host, seconds in hosts.items() if host != node), default=0.0)
        if node in hosts:
            found["network"] = found.get("network", 0.0) + hosts[node]
    return found
