"""The runner: order, parallel hosts, failures in the report, and steps that count as begun."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from core.errors import CommandFailed, HostUnreachable, Interrupted, Refused
from remote.events import Event, StageStarted, StepDone, StepFailed, Transferred
from remote.plan import TIMEOUT_SECONDS, Command, Part, Plan, Stage, Step, about
from remote.runner import Runner, StepResult
from remote.transcript import Outcome, UploadProgress


class ExpectingHost:
    """A host that keeps something open for the next plan."""

    expected: tuple[bool, ...] = ()

    def expect(self, *, repeatable: bool = False) -> None:
        self.expected += (repeatable,)


class Scripted(ExpectingHost):
    """A host with a given answer for each step: a status, a failure of its connection, or `None` for "skipped"."""

    def __init__(self, answers: dict[str, int | Exception | None], log: list[str]) -> None:
        self._answers = answers
        self._log = log

    def run(self, steps: Sequence[Step], **how: Any) -> Generator[Outcome | UploadProgress, None, None]:
        assert (how["lock"], how["timeout"], how["deadline"]) == (PLAN.lock, PLAN.timeout, PLAN.deadline)
        for number, step in enumerate(steps):
            answer = self._answers.get(step.title, 0)
            if isinstance(answer, Exception):
                raise answer
            self._log.append(f"{step.host} {step.title}")
            for index in range(len(step.do)):
                yield Outcome(number, index, answer, "", "it went wrong" if answer else "")
                if answer and not how["keep_going"]:
                    return


def step(host: str, title: str) -> Step:
    return Step(host, title, (Command(("do", title)),), (Command(("undo", title)),))


PLAN = Plan(
    (
        Stage("first", (step("a", "a1"), step("b", "b1"), step("a", "a2"))),
        Stage("second", (step("a", "a3"),)),
    ),
    lock="slice-1000",
    timeout=7.0,
)


def run(
    answers: dict[str, int | Exception | None], *, keep_going: bool = False
) -> tuple[list[str], list[Event], list[str]]:
    """Return the steps done, the events, and the steps of a rollback."""
    log: list[str] = []
    events: list[Event] = []
    report = Runner(lambda _: Scripted(answers, log), events.append).run(PLAN, keep_going=keep_going)
    return log, events, [step.title for step in report.rollback().steps]


def test_stages_run_in_turn_and_hosts_in_their_order() -> None:
    log, events, back = run({})
    assert [entry for entry in log if entry.startswith("a")] == ["a a1", "a a2", "a a3"]
    assert set(log[:3]) == {"a a1", "a a2", "b b1"}
    assert [event.stage.title for event in events if isinstance(event, StageStarted)] == ["first", "second"]
    assert back == ["a3", "b1", "a2", "a1"]


def test_every_plan_is_announced_to_its_hosts_before_anything_is_sent() -> None:
    log: list[str] = []
    hosts = {address: Scripted({}, log) for address in "ab"}
    for plan, said in ((PLAN, (False,)), (replace(PLAN, repeatable=True), (False, True))):
        Runner(lambda address: hosts[address], lambda _: log.append(str(hosts["b"].expected))).run(plan)
        assert [host.expected for host in hosts.values()] == [said, said]
    assert log[0] == "(False,)"


def test_hosts_are_asked_for_once_and_by_one_thread_only() -> None:
    """Connect to two hosts: two threads would create a shared object twice."""
    asked: list[tuple[str, int]] = []

    def connect(address: str) -> Scripted:
        asked.append((address, threading.get_ident()))
        return Scripted({}, [])

    Runner(connect).run(PLAN)
    assert asked == [(address, threading.get_ident()) for address in "ab"]


def test_hosts_of_a_stage_run_side_by_side() -> None:
    both = threading.Barrier(2, timeout=10)

    class Meeting(ExpectingHost):
        def run(self, steps: Sequence[Step], **how: Any) -> Generator[Outcome, None, None]:
            assert steps
            assert how == {"keep_going": False, "lock": "", "timeout": TIMEOUT_SECONDS, "deadline": 600.0, "fence": 0}
            both.wait()
            yield Outcome(0, 0, 0)

    plan = Plan((Stage("meet", (step("a", "a1"), step("b", "b1"))),))
    assert Runner(lambda _: Meeting()).run(plan).error is None


def test_a_thread_for_each_host_carries_all_stages() -> None:
    began: list[int] = []

    class WatchedHost(Scripted):
        def run(self, steps: Sequence[Step], **how: Any) -> Generator[Outcome | UploadProgress, None, None]:
            began.append(threading.get_ident())
            return super().run(steps, **how)

    alone = Plan(tuple(Stage(f"{n}", (step("a", f"a{n}"),)) for n in range(4)), PLAN.lock, PLAN.timeout)
    assert not Runner(lambda _address: WatchedHost({}, [])).run(alone).error
    assert len(began) == 4
    assert len(set(began)) == 1
    assert threading.get_ident() not in began  # in the main thread Ctrl-C would interrupt a host's work


def test_failure_on_one_host_lets_the_other_end_its_stage_and_begins_no_further_one() -> None:
    log, events, back = run({"a1": 5})
    assert sorted(log) == ["a a1", "b b1"]
    assert back == ["b1", "a1"], "the half-done step is taken back too"
    (failed,) = [event for event in events if isinstance(event, StepFailed)]
    assert isinstance(failed.error, CommandFailed)
    assert str(failed.error) == "a: a1: it went wrong"


def test_earlier_objects_are_not_rolled_back() -> None:
    _, events, back = run({"a1": None, "a2": 1})
    assert back == ["b1", "a2"]
    assert [event.changed for event in events if isinstance(event, StepDone) and event.step.title == "a1"] == [False]


def test_all_that_a_lost_host_was_sent_counts_as_begun() -> None:
    _, events, back = run({"a1": HostUnreachable("a", "gone", begun=True)})
    assert back == ["b1", "a2", "a1"]
    assert len([event for event in events if isinstance(event, StepFailed)]) == 2


@pytest.mark.parametrize("error", [Refused("no such image"), HostUnreachable("a", "no answer")])
def test_of_a_host_that_began_nothing_nothing_is_taken_back(error: Exception) -> None:
    _, events, back = run({"a1": error})
    assert back == ["b1"]
    assert len([event for event in events if isinstance(event, StepFailed)]) == 1


def test_of_a_host_that_cannot_be_reached_all_that_was_to_be_removed_is_left() -> None:
    _, events, _ = run({"a1": HostUnreachable("a", "no answer")}, keep_going=True)
    assert [event.step.title for event in events if isinstance(event, StepFailed)] == ["a1", "a2"]


def test_a_fault_of_our_own_is_kept_so_that_all_can_be_taken_back() -> None:
    _, events, back = run({"a2": KeyError("surprise")})
    (failed,) = [event for event in events if isinstance(event, StepFailed)]
    assert str(failed.error) == "a: first: an unexpected KeyError: 'surprise'"
    assert back == ["b1", "a2", "a1"]


def test_keep_going_goes_past_failures_and_reports_them() -> None:
    log, events, _ = run({"a1": 1}, keep_going=True)
    assert [entry for entry in log if entry.startswith("a")] == ["a a1", "a a2", "a a3"]
    assert [event.step.title for event in events if isinstance(event, StepFailed)] == ["a1"]


@pytest.mark.parametrize(("keep_going", "stages"), [(False, 1), (True, 2)])
def test_interruption_begins_no_further_stage_unless_taking_back(keep_going: bool, stages: int) -> None:
    events: list[Event] = []
    runner = Runner(lambda _: Scripted({}, []), events.append, interrupted=lambda: True)
    report = runner.run(PLAN, keep_going=keep_going)
    assert len([event for event in events if isinstance(event, StageStarted)]) == stages
    assert isinstance(report.error, Interrupted) is not keep_going


def test_interruption_ends_an_upload() -> None:
    closed = []

    class Uploading(ExpectingHost):
        def run(self, steps: Sequence[Step], **how: Any) -> Generator[UploadProgress, None, None]:
            assert steps
            assert (how["keep_going"], how["lock"], how["timeout"]) == (False, PLAN.lock, PLAN.timeout)
            try:
                for done in range(1000):
                    yield UploadProgress(0, 0, done, 1000)
            finally:
                closed.append("cleaned up")

    events: list[Event] = []
    report = Runner(lambda _: Uploading(), events.append, lambda: len(events) > 3).run(PLAN)
    assert isinstance(report.error, Interrupted)
    assert closed == ["cleaned up"] * 2
    assert len([event for event in events if isinstance(event, Transferred)]) < 10


def test_undoing_goes_through_the_steps_newest_first_in_one_stage() -> None:
    undone = PLAN.undone("remove")
    assert [stage.title for stage in undone.stages] == ["remove"]
    assert [step.do for step in undone.steps] == [step.undo for step in reversed(list(PLAN.steps))]


def test_a_plan_without_anything_to_undo_has_no_stage() -> None:
    assert Plan((Stage("read", (Step("a", "look", (Command(("ls",)),)),)),)).undone("remove") == Plan(())


def test_an_undo_leaves_what_its_host_listed_before() -> None:
    remove = about(Command(("rm",), before="files"), (Part("a", ("a", "a.log")), Part("b", ("b", "b.log"))))
    restore = Command(("put",), "first\n", before="text")
    step = Step("h", "files", (), (remove, restore), objects=("a", "b"))
    assert step.sparing({}) == step
    left = step.sparing({"files": "a\n", "text": "second\n"})
    assert [command.argv for command in left.undo] == [("rm", "b", "b.log"), ("put",)]
    assert (left.undo[1].stdin, left.objects) == ("first\nsecond\n", ("b",))
    (all_left,) = step.sparing({"files": "a\nb\n"}).undo
    assert all_left == restore


def test_an_answer_is_of_its_own_host_only() -> None:
    def steps(host: str) -> tuple[Step, Step]:
        remove = about(Command(("rm",), before="files"), (Part("a", ("a",)),))
        return Step(host, "look", (Command(("ls",), name="files"),)), Step(host, "a", (Command(("make",)),), (remove,))

    class Answering(ExpectingHost):
        def __init__(self, address: str) -> None:
            self.address = address

        def run(self, steps: Sequence[Step], **_how: Any) -> Generator[Outcome | UploadProgress, None, None]:
            for number in range(len(steps)):
                yield Outcome(number, 0, 0, "a\n" if self.address == "one" else "")

    report = Runner(Answering).run(Plan((Stage("all", (*steps("one"), *steps("two"))),)))
    assert [step.host for step in report.rollback().steps] == ["two"]


def test_answers_have_the_names_of_their_questions_whatever_ran_before_them() -> None:
    step = Step("h", "facts", (Command(("ls",)), Command(("date",), name="clock"), Command(("df",), name="room")))
    result = StepResult(step, [Outcome(0, 0, 0, "files"), Outcome(0, 1, 1, "", "no date"), Outcome(0, 2, 0, "12")])
    assert result.answers == {"clock": Outcome(0, 1, 1, "", "no date"), "room": Outcome(0, 2, 0, "12")}
    assert StepResult(step, result.outcomes[:1]).answers == {}
