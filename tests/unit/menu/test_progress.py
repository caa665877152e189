"""The picture of a running plan: its state, its drawing, and no effect on the plan."""

from __future__ import annotations

import io
import re
import signal
import threading

import pytest
from rich.spinner import Spinner

from core.errors import CloudError
from menu.board import Board
from menu.progress import INTERRUPTED, Progress, live_table, summary
from remote.events import Event, InterruptNoted, StageStarted, StepDone, StepFailed, Transferred
from remote.interrupts import held
from remote.plan import Stage
from tests.support.fake_api import step
from tests.support.playing import screen_of

LAUNCH = Stage(
    "launch", (step("10.0.10.1", "QEMU of vm1"), step("10.0.10.1", "QEMU of vm2"), step("10.0.10.2", "TAPs"))
)
FIRST, SECOND, OTHER = LAUNCH.steps


def board_of(*events: Event) -> Board:
    """Return a board that got an event every second."""
    board = Board()
    for now, event in enumerate(events):
        board.note(event, float(now))
    return board


def text_of(renderable: object, width: int = 80) -> str:
    output = io.BytesIO()
    screen = screen_of(output, terminal=True, width=width)
    screen.console.print(renderable)
    text = re.sub(r"\x1b\[[0-9;]*m", "", output.getvalue().decode())
    assert all(len(line) <= width for line in text.splitlines())
    return text


def test_the_board_knows_the_present_step_of_each_host() -> None:
    board = board_of(StageStarted(LAUNCH), StepDone(LAUNCH, FIRST, 0.5, changed=True))
    host = board.stages[-1].hosts["10.0.10.1"]

    assert (host.current, host.since, host.seconds) == ("QEMU of vm2", 1.0, 0.5)
    board.note(StepDone(LAUNCH, SECOND, 0.2, changed=False), 2.0)
    assert (host.current, host.seconds) == ("", 0.7)
    slowest = board.stages[-1].slowest
    assert slowest
    assert slowest.step is FIRST


def test_a_stage_ends_when_the_next_begins() -> None:
    board = board_of(StageStarted(LAUNCH), StageStarted(Stage("verify", ())))
    board.end(7.0)
    board.end(9.0)
    assert [(stage.title, stage.began, stage.ended) for stage in board.stages] == [
        ("launch", 0.0, 1.0),
        ("verify", 1.0, 7.0),
    ]


def test_an_event_out_of_turn_is_no_reason_to_fail() -> None:
    board = board_of(Transferred("10.0.10.9", "base image", 1, 2), StepDone(LAUNCH, FIRST, 0.1, changed=True))
    assert set(board.stages[-1].hosts) == {"10.0.10.9", "10.0.10.1"}


@pytest.mark.parametrize("width", [80, 120])
def test_live_there_is_a_line_per_host_with_its_step_and_time(width: int) -> None:
    board = board_of(StageStarted(LAUNCH), StepDone(LAUNCH, FIRST, 0.5, changed=True))
    lines = text_of(live_table(board.stages, Spinner("dots"), 3.0, width), width).splitlines()

    assert all(len(line) <= width - 4 for line in lines)  # room for the terminal's echo of ^C

    assert lines[0].split() == ["launch", "3.00", "s"]
    assert re.search(r"10\.0\.10\.1 1/2 QEMU of vm2 +2\.00 s 0\.50 s QEMU of vm1", lines[1])
    assert re.search(r"10\.0\.10\.2 0/1 TAPs +3\.00 s", lines[2])


def test_live_a_host_that_is_done_or_failed_says_so() -> None:
    error = CloudError("no space left")
    board = board_of(StageStarted(LAUNCH), StepFailed(LAUNCH, FIRST, error), StepDone(LAUNCH, OTHER, 1.5, changed=True))
    text = text_of(live_table(board.stages, Spinner("dots"), 3.0, 80))

    assert re.search(r"✗ 10\.0\.10\.1 0/2 QEMU of vm1", text)
    assert re.search(r"✓ 10\.0\.10\.2 1/1 +1\.50 s", text)


def test_live_a_file_on_its_way_has_a_bar_and_its_size() -> None:
    upload = Transferred("10.0.10.2", "base image of [red]vm2", 5 * 2**20, 20 * 2**20)
    board = board_of(StageStarted(LAUNCH), upload)
    text = text_of(live_table(board.stages, Spinner("dots"), 3.0, 80))

    assert re.search(r"base image.* ━+.* 3\.00 s 5\.0 MiB of 20\.0 MiB", text)
    board.note(StepDone(LAUNCH, OTHER, 1.5, changed=True), 4.0)
    assert "MiB" not in text_of(live_table(board.stages, Spinner("dots"), 4.0, 80))


def test_live_the_stages_before_keep_their_times() -> None:
    board = board_of(StageStarted(Stage("preflight", ())), StageStarted(LAUNCH))
    assert text_of(live_table(board.stages, Spinner("dots"), 3.0, 80)).startswith("preflight 1.00 s")


@pytest.mark.parametrize("width", [80, 120])
def test_the_summary_has_durations_per_stage_host_and_longest_step(width: int) -> None:
    board = board_of(
        StageStarted(LAUNCH), StepDone(LAUNCH, FIRST, 0.25, changed=True), StepDone(LAUNCH, OTHER, 0.5, changed=True)
    )
    board.end(4.0)
    text = " ".join(text_of(summary(board.stages), width).split())
    assert "launch 2 4.00 s 10.0.10.1 0.25 s 0.50 s TAPs 10.0.10.2 0.50 s" in text


def test_piped_there_is_a_line_per_finished_step() -> None:
    output = io.BytesIO()
    screen = screen_of(output)
    with Progress(screen) as listen:
        listen(StageStarted(LAUNCH))
        listen(StepDone(LAUNCH, FIRST, 0.123, changed=True))
        listen(Transferred("10.0.10.2", "base image", 1, 2))
        listen(StepDone(LAUNCH, SECOND, 0.1, changed=False))
        listen(StepFailed(LAUNCH, OTHER, CloudError("no\nspace\x1b[2J")))
    assert output.getvalue().decode().splitlines() == [
        "[launch] 10.0.10.1: QEMU of vm1 ... done in 0.12 s",
        "[launch] 10.0.10.1: QEMU of vm2 ... already there",
        "[launch] 10.0.10.2: TAPs ... failed: no space?[2J",
    ]


def test_on_a_terminal_the_picture_gives_way_to_the_summary() -> None:
    output = io.BytesIO()
    screen = screen_of(output, terminal=True)
    with Progress(screen) as listen:
        listen(StageStarted(LAUNCH))
        listen(StepDone(LAUNCH, FIRST, 0.123, changed=True))
        listen(InterruptNoted())
        listen(StepFailed(LAUNCH, OTHER, CloudError("no space")))
    text = output.getvalue().decode()
    assert "Longest step" in text
    assert INTERRUPTED in text
    assert "[launch] 10.0.10.2: TAPs ... failed: no space" in text


def test_on_a_terminal_nothing_is_left_of_a_plan_that_never_began() -> None:
    output = io.BytesIO()
    screen = screen_of(output, terminal=True)
    with Progress(screen):
        pass
    assert "Stage" not in output.getvalue().decode()


@pytest.mark.parametrize("terminal", [True, False])
def test_ctrl_c_is_noted_once_whatever_it_interrupts(*, terminal: bool) -> None:
    """The handler runs between any two instructions, even while this thread writes."""
    output = io.BytesIO()
    screen = screen_of(output, terminal=terminal)
    with Progress(screen) as listen, held(listen) as pressed:
        listen(StageStarted(LAUNCH))
        with listen._lock:  # as if the handler ran while the picture is being drawn
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        assert pressed()
    assert output.getvalue().decode().count(INTERRUPTED) == 1


@pytest.mark.parametrize("terminal", [True, False])
def test_unread_output_does_not_disturb_the_plan(*, terminal: bool) -> None:
    output = io.BytesIO()
    screen = screen_of(output, terminal=terminal)
    finished = []
    with Progress(screen) as listen:
        listen(StageStarted(LAUNCH))
        if not terminal:
            output.close()
        listen(StepDone(LAUNCH, FIRST, 0.1, changed=True))
        finished.append(FIRST)
    assert finished


def test_events_may_come_from_several_threads() -> None:
    output = io.BytesIO()
    screen = screen_of(output)
    with Progress(screen) as listen:
        listen(StageStarted(LAUNCH))
        events = [StepDone(LAUNCH, each, 0.1, changed=True) for each in (FIRST, OTHER)]
        threads = [threading.Thread(target=listen, args=(event,)) for event in events]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(output.getvalue().splitlines()) == 2
