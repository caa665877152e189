"""Runs a plan over hosts: stages in turn, hosts side by side, each host's steps in one batch.

A failure on one host never stops another within a stage; it is kept in the report, and no further stage begins. What
was changed until then is in the report too, as the plan that takes it back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Protocol

from core.errors import CloudError, CommandFailed, Interrupted, Unforeseen
from remote.batch import Outcome, Progress
from remote.events import Event, Listener, StageStarted, StepDone, StepFailed, Transferred, ignore
from remote.plan import CHANGE_DEADLINE_SECONDS, TIMEOUT_SECONDS, Command, Plan, Stage, Step


class Host(Protocol):
    """A host that runs steps: over SSH, or a fake in the tests."""

    def run(
        self,
        steps: Sequence[Step],
        *,
        keep_going: bool = False,
        lock: str = "",
        timeout: float = TIMEOUT_SECONDS,
        deadline: float = CHANGE_DEADLINE_SECONDS,
    ) -> Generator[Outcome | Progress, None, None]:
        """Run the steps in their order and yield how each action ended.

        Ends after the first failure unless `keep_going`. `lock`, `timeout` and `deadline` are the plan's. Raises
        `HostUnreachable` when the connection cannot be made or is lost, or the host answers nonsense, and another
        `CloudError` when the batch as a whole is refused.
        """

    def expect(self, *, repeatable: bool = False) -> None:
        """A plan begins: what an earlier one left open is used only once the host has answered there.

        A `repeatable` plan is sent there at once, and again where no answer comes.
        """


@dataclass
class StepResult:
    """What is known of a step: the outcomes of its actions so far, and why it ended badly, if it did."""

    step: Step
    outcomes: list[Outcome] = field(default_factory=list)
    error: CloudError | None = None

    @property
    def changed(self) -> bool:
        """Whether some action of it ran, or may have run, rather than finding everything there."""
        ran = any(outcome.status is not None for outcome in self.outcomes)
        return ran or (self.error is not None and self.error.begun)

    @property
    def stdout(self) -> str:
        """What its actions wrote to standard output, one after the other."""
        return "".join(outcome.stdout for outcome in self.outcomes)


NOTHING = Plan(())


@dataclass
class Report:
    """What became of `plan`. `results` are the steps that were begun, in the order of the plan."""

    plan: Plan
    results: list[StepResult] = field(default_factory=list)
    interrupted: bool = False

    @property
    def failures(self) -> list[StepResult]:
        """The steps that ended badly."""
        return [result for result in self.results if result.error]

    @property
    def error(self) -> CloudError | None:
        """Why the plan did not come to its end: the first failure, or the user's interruption."""
        for result in self.failures:
            return result.error
        return Interrupted("Interrupted") if self.interrupted else None

    def taken_back(self, but: Plan = NOTHING) -> Plan:
        """The plan that undoes what this run changed, the half-done steps included, `but` not the steps of that plan.

        What was not heard of counts as changed, and may have been there before.
        """
        kept = frozenset(but.steps)
        return self.plan.taking_back(
            "take back", tuple(r.step for r in self.results if r.changed and r.step not in kept)
        )


class Runner:
    """Carries plans to hosts. `connect` gives the host of an address without talking to it yet.

    `interrupted` is asked between stages and while files are copied: once it says True, nothing further is begun.
    """

    def __init__(
        self,
        connect: Callable[[str], Host],
        listen: Listener = ignore,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._connect = connect
        self._listen = listen
        self._interrupted = interrupted
        self._telling = threading.Lock()

    def run(self, plan: Plan, *, keep_going: bool = False) -> Report:
        """Run `plan`; with `keep_going` past every failure and interruption, as taking back and removing must."""
        report = Report(plan)
        hosts = {address: self._connect(address) for address in dict.fromkeys(step.host for step in plan.steps)}
        for host in hosts.values():
            host.expect(repeatable=plan.repeatable)
        with ThreadPoolExecutor(max_workers=max(len(hosts), 1)) as pool:  # for all stages: threads take time to begin
            for stage in plan.stages:
                self.tell(StageStarted(stage))
                report.results.extend(self._run_stage(pool, plan, stage, hosts, keep_going=keep_going))
                if keep_going:
                    continue
                report.interrupted = self._interrupted()
                if report.error:
                    break
        return report

    def _run_stage(
        self, pool: Executor, plan: Plan, stage: Stage, hosts: Mapping[str, Host], *, keep_going: bool
    ) -> list[StepResult]:
        running = [
            pool.submit(self._run_host, plan, stage, steps, hosts[address], keep_going=keep_going)
            for address, steps in stage.by_host.items()
        ]
        return [result for future in running for result in future.result()]

    def _run_host(
        self, plan: Plan, stage: Stage, steps: Sequence[Step], host: Host, *, keep_going: bool
    ) -> list[StepResult]:
        """Run the steps of one host; return the results of those that were, or may have been, begun."""
        address = steps[0].host
        watch = _Watch(self.tell, stage, steps)
        try:
            news = host.run(steps, keep_going=keep_going, lock=plan.lock, timeout=plan.timeout, deadline=plan.deadline)
            with closing(news):
                for item in news:
                    if isinstance(item, Outcome):
                        watch.note(item)
                    else:
                        self.tell(Transferred(address, steps[item.step].title, item.done, item.total))
                        if self._interrupted() and not keep_going:
                            watch.fail(Interrupted("Interrupted"), everything=False)
                            break
        except CloudError as error:
            watch.fail(error, everything=error.begun or keep_going)
        except Exception as fault:  # noqa: BLE001 - whatever it is, the other hosts have to be taken back
            watch.fail(Unforeseen(address, stage.title, fault), everything=True)
        return watch.begun

    def tell(self, event: Event) -> None:
        """Hand an event to the listener; one that fails is ignored."""
        # Nothing is lost when it cannot be shown, but much when a change ends half-way because of that.
        with self._telling, suppress(Exception):
            self._listen(event)


class _Watch:
    """Follows one host through a stage: which step is done, how long it took, which one failed."""

    def __init__(self, tell: Listener, stage: Stage, steps: Sequence[Step]) -> None:
        self._tell = tell
        self._stage = stage
        self._results = [StepResult(step) for step in steps]
        self._since = time.monotonic()

    def note(self, outcome: Outcome) -> None:
        """Take in how an action ended."""
        result = self._results[outcome.step]
        result.outcomes.append(outcome)
        action = result.step.do[outcome.action]
        if isinstance(action, Command) and outcome.status is not None and outcome.status not in action.ok:
            self._end(
                result,
                CommandFailed(result.step.host, result.step.title, action.argv, outcome.status, outcome.stderr),
            )
        elif outcome.action == len(result.step.do) - 1:
            self._end(result, None)

    def fail(self, error: CloudError, *, everything: bool) -> None:
        """The batch came to nothing from here on: `everything` that was not heard of has failed, or the next step only.

        Where a host was lost nobody knows how far it came, so all of that may be there; and of what was to be removed,
        all of it is left. Where it was stopped before a file, or did not begin, that is said once.
        """
        unheard = [r for r in self._results if not r.error and len(r.outcomes) < len(r.step.do)]
        for result in unheard if everything else unheard[:1]:
            self._end(result, error)

    @property
    def begun(self) -> list[StepResult]:
        """The steps that were, or may have been, begun."""
        return [result for result in self._results if result.outcomes or result.error]

    def _end(self, result: StepResult, error: CloudError | None) -> None:
        now = time.monotonic()
        if error and not result.error:
            result.error = error
            self._tell(StepFailed(self._stage, result.step, error))
        elif not result.error:
            self._tell(StepDone(self._stage, result.step, now - self._since, result.changed))
        self._since = now
