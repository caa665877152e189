"""Show the progress of a plan: live with a summary on a terminal, a line per step elsewhere."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from menu import rich_parts
from menu.board import Board, HostRun, StageRun
from menu.endings import Ended
from menu.screen import BAD, GOOD, WARNING, OutputLost, Screen, clean, lost_output
from menu.texts import mib, seconds
from remote.events import EndNoted, Event, InterruptNoted, Notice, StepDone, StepFailed

DIM = "dim"
INTERRUPTED = "Interrupted: the steps that have begun are finished first"


class Progress:
    """A listener for the length of a `with` block. It never fails, because a lost screen must not end a deployment.

    At the end of the block it raises the delayed `OutputLost`, or `Ended` after a signal.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._board = Board()
        self._lock = threading.Lock()
        self._announcer: threading.Thread | None = None
        self._ended: int | None = None
        self._live: rich_parts.Live | None = None
        if screen.terminal:
            self._spinner = rich_parts.Spinner("dots", style="cyan")
            self._live = rich_parts.Live(
                console=screen.console, get_renderable=self._drawn, refresh_per_second=10, transient=True
            )

    def __enter__(self) -> Self:
        if self._live:
            with lost_output():
                self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._announcer:
            self._announcer.join()
        self._board.end(time.monotonic())
        if self._live:
            with lost_output():
                self._live.stop()
                if any(stage.steps for stage in self._board.stages):
                    self._screen.console.print(summary(self._board.stages))
        if self._ended is not None and kind is None:
            raise Ended(self._ended)

    def __call__(self, event: Event) -> None:
        """Accept an event from any thread."""
        if isinstance(event, InterruptNoted):
            self._announce()
            return
        if isinstance(event, EndNoted):
            self._ended = event.number
            return
        if isinstance(event, Notice):
            self._line(f"Note: {event.sentence}", WARNING)
            return
        with self._lock:
            self._board.note(event, time.monotonic())
        if isinstance(event, StepFailed):
            self._line(f"{_place(event)} ... failed: {event.error}", BAD)
        elif isinstance(event, StepDone) and not self._screen.terminal:
            took = f"done in {seconds(event.seconds)}" if event.changed else "already there"
            self._line(f"{_place(event)} ... {took}")

    def _announce(self) -> None:
        """Say once that Ctrl-C was noticed.

        A signal handler calls this. The interrupted code may hold the lock or the stream, so another thread writes.
        """
        if self._announcer is None:
            self._announcer = threading.Thread(target=self._line, args=(INTERRUPTED, WARNING))
            self._announcer.start()

    def _line(self, text: str, style: str = "") -> None:
        with suppress(OutputLost):  # the menu's next line raises it again, after the change
            self._screen.line(text, style)

    def _drawn(self) -> rich_parts.RenderableType:
        with self._lock:
            stages = self._board.stages
            if not stages:
                return rich_parts.Text()
            return live_table(stages, self._spinner, time.monotonic(), self._screen.console.width)


def live_table(
    stages: list[StageRun], spinner: rich_parts.Spinner, now: float, width: int
) -> rich_parts.RenderableType:
    """Return the finished stages in one line, and a line per host of the current stage."""
    stage = stages[-1]
    finished = "  ".join(f"{run.title} {seconds(_duration(run, now))}" for run in stages[:-1])
    table = rich_parts.Table.grid(padding=(0, 1), expand=True)
    for name in ("mark", "host", "count"):
        table.add_column(name, no_wrap=True)
    table.add_column("under way", ratio=3, no_wrap=True, overflow="ellipsis")
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("last", ratio=2, no_wrap=True, overflow="ellipsis")
    for name, host in stage.hosts.items():
        table.add_row(*_host_cells(name, host, spinner, now))
    title = rich_parts.Text.assemble((stage.title, "bold"), (f"  {seconds(_duration(stage, now))}", DIM))
    lines = rich_parts.Group(*([rich_parts.Text(finished, DIM)] if finished else []), title, table)
    # A terminal echoes ^C at the cursor. In the last column that would begin a new line and shift the picture.
    return rich_parts.Constrain(lines, width - 4)


def summary(stages: list[StageRun]) -> rich_parts.Table:
    """Return the table that stays on the screen: steps, times on each host and the longest step of each stage."""
    table = rich_parts.Table(box=rich_parts.SIMPLE, padding=(0, 1), pad_edge=False)
    table.add_column("Stage")
    table.add_column("Steps", justify="right")
    table.add_column("Time", justify="right", no_wrap=True)
    table.add_column("On each host", overflow="fold")
    table.add_column("Longest step", overflow="fold")
    for stage in stages:
        hosts = "\n".join(f"{clean(name)} {seconds(host.seconds)}" for name, host in stage.hosts.items())
        slowest = stage.slowest
        longest = f"{seconds(slowest.seconds)} {clean(slowest.step.title)}" if slowest else ""
        failed = any(host.failed for host in stage.hosts.values())
        title = rich_parts.Text(clean(stage.title), BAD if failed else GOOD)
        table.add_row(title, str(len(stage.steps)), seconds(_duration(stage, stage.began)), hosts, longest)
    return table


def _host_cells(name: str, host: HostRun, spinner: rich_parts.Spinner, now: float) -> list[rich_parts.RenderableType]:
    count = rich_parts.Text(f"{len(host.done)}/{len(host.titles)}", DIM)
    last = rich_parts.Text(_last(host), DIM)
    if host.failed:
        return [
            rich_parts.Text("✗", BAD),
            clean(name),
            count,
            rich_parts.Text(clean(host.failed.step.title), BAD),
            "",
            last,
        ]
    if not host.current:
        return [rich_parts.Text("✓", GOOD), clean(name), count, "", rich_parts.Text(seconds(host.seconds), GOOD), last]
    return [spinner, clean(name), count, _under_way(host), seconds(now - host.since), last]


def _last(host: HostRun) -> str:
    """Return the size of the file that is being copied, or the last finished step."""
    if host.transfer:
        return f"{mib(host.transfer.done)} of {mib(host.transfer.total)}"
    return clean(f"{seconds(host.done[-1].seconds)} {host.done[-1].step.title}") if host.done else ""


def _under_way(host: HostRun) -> rich_parts.RenderableType:
    """Return the current step, with a bar for a file that is being copied."""
    if not host.transfer:
        return rich_parts.Text(clean(host.current))
    row = rich_parts.Table.grid(padding=(0, 1))
    row.add_column(no_wrap=True, overflow="ellipsis")
    bar = rich_parts.ProgressBar(total=max(host.transfer.total, 1), completed=host.transfer.done, width=12)
    row.add_row(rich_parts.Text(clean(host.transfer.title)), bar)
    return row


def _duration(stage: StageRun, now: float) -> float:
    return (now if stage.ended is None else stage.ended) - stage.began


def _place(event: StepDone | StepFailed) -> str:
    return f"[{event.stage.title}] {event.step.host}: {event.step.title}"
