"""The runner of plans: stages in turn, hosts side by side, the steps of each host in one batch.

A failure on one host never stops another host within a stage; it is kept in the report, and no further stage begins.
The report also holds the changes made until then, as the plan that rolls them back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field

from core.errors import CloudError, CommandFailed, Interrupted, TakenOver, Unforeseen
from remote.events import Event, Listener, StageStarted, StepDone, StepFailed, Transferred, ignore
from remote.host import Host
from remote.plan import NO_FENCE, Command, Plan, Stage, Step
from remote.transcript import Outcome


@dataclass
class StepResult:
    """The result of a step: the outcomes of its actions so far, and the error that ended it, if any."""

    step: Step
    outcomes: list[Outcome] = field(default_factory=list)
    error: CloudError | None = None

    @property
    def changed(self) -> bool:
        """Return whether an action ran, or may have run, instead of being skipped by its guard."""
        ran = any(outcome.status is not None for outcome in self.outcomes)
        return ran or (self.error is not None and self.error.begun)

    @property
    def stdout(self) -> str:
        """Return the standard output of the actions, one after the other."""
        return "".join(outcome.stdout for outcome in self.outcomes)

    @property
    def answers(self) -> dict[str, Outcome]:
        """Return the outcomes of commands with a name, by that name."""
        asked = ((self.step.do[outcome.action], outcome) for outcome in self.outcomes)
        return {action.name: outcome for action, outcome in asked if isinstance(action, Command) and action.name}


NOTHING = Plan(())


@dataclass
class Report:
    """The result of `plan`.

    `results` are the steps that were begun, in the order of the plan.
    """

    plan: Plan
    results: list[StepResult] = field(default_factory=list)
    interrupted: bool = False

    @property
    def failures(self) -> list[StepResult]:
        """Return the steps that failed."""
        return [result for result in self.results if result.error]

    @property
    def error(self) -> CloudError | None:
        """Return the reason why the plan did not finish: the first failure, or the user's interruption."""
        for result in self.failures:
            return result.error
        return Interrupted("Interrupted") if self.interrupted else None

    def rollback(self, but: Plan = NOTHING) -> Plan:
        """Return the plan that rolls back this run's changes, half-done steps included, without the steps of `but`.

        Objects that existed before are left, as far as the named answers of their host list them. A step without an
        answer counts as changed.
        """
        kept = frozenset(but.steps)
        changed = [r.step for r in self.results if r.changed and r.step not in kept]
        return self.plan.taking_back("take back", tuple(step.sparing(self._answers(step.host)) for step in changed))

    def _answers(self, host: str) -> dict[str, str]:
        """Return the output of the host's named commands, by name."""
        answers: dict[str, str] = {}
        for result in self.results:
            for name, outcome in result.answers.items() if result.step.host == host else ():
                answers[name] = answers.get(name, "") + outcome.stdout
        return answers


class Runner:
    """The runner of plans. `connect` returns the host of an address without connecting to it yet.

    `interrupted` is called between stages and while files are copied: once it returns True, no further stage begins.
    `fence` is that of the claim under which the plans run.
    """

    def __init__(
        self,
        connect: Callable[[str], Host],
        listen: Listener = ignore,
        interrupted: Callable[[], bool] = lambda: False,
        fence: int = NO_FENCE,
    ) -> None:
        self._fence = fence
        self._connect = connect
        self._listen = listen
        self._interrupted = interrupted
        self._emitting = threading.Lock()

    def quiet(self) -> Runner:
        """Return a runner for plans that only look: nothing is reported of them, and nothing ends them."""
        return Runner(self._connect)

    def run(self, plan: Plan, *, keep_going: bool = False) -> Report:
        """Run `plan`; with `keep_going` past every failure and interruption, as rollback and removal must.

        Raise `TakenOver` where a host refuses it as late: then nothing may follow, no rollback either.
        """
        report = Report(plan)
        hosts = {address: self._connect(address) for address in dict.fromkeys(step.host for step in plan.steps)}
        for host in hosts.values():
            host.expect(repeatable=plan.repeatable)
        with ThreadPoolExecutor(
            max_workers=max(len(hosts), 1)
        ) as pool:  # one pool for all stages: threads take time to start
            for stage in plan.stages:
                self.emit(StageStarted(stage))
                report.results.extend(self._run_stage(pool, plan, stage, hosts, keep_going=keep_going))
                if late := next((r.error for r in report.failures if isinstance(r.error, TakenOver)), None):
                    raise late
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
        watch = _HostWatch(self.emit, stage, steps)
        try:
            outcomes = host.run(
                steps,
                keep_going=keep_going,
                lock=plan.lock,
                timeout=plan.timeout,
                deadline=plan.deadline,
                fence=self._fence if plan.lock else NO_FENCE,
            )
            with closing(outcomes):
                for item in outcomes:
                    if isinstance(item, Outcome):
                        watch.note(item)
                    else:
                        self.emit(Transferred(address, steps[item.step].title, item.done, item.total))
                        if self._interrupted() and not keep_going:
                            watch.fail(Interrupted("Interrupted"), everything=False)
                            break
        except CloudError as error:
            watch.fail(error, everything=error.begun or keep_going)
        except Exception as fault:  # noqa: BLE001 - after any fault the other hosts have to be rolled back
            watch.fail(Unforeseen(address, stage.title, fault), everything=True)
        return watch.begun

    def emit(self, event: Event) -> None:
        """Send an event to the listener; its failure is ignored."""
        # A lost event does no harm; a change that ends half-way because of it does.
        with self._emitting, suppress(Exception):
            self._listen(event)


class _HostWatch:
    """The progress of one host through a stage: steps done, their durations, the step that failed."""

    def __init__(self, emit: Listener, stage: Stage, steps: Sequence[Step]) -> None:
        self._emit = emit
        self._stage = stage
        self._results = [StepResult(step) for step in steps]
        self._since = time.monotonic()

    def note(self, outcome: Outcome) -> None:
        """Record the outcome of an action."""
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
        """Record that the batch failed here: `everything` unanswered has failed, or only the next step.

        A lost host may have run any of these steps, so a rollback covers all of them; of a removal, all of them are
        left. A batch that stopped before a file, or did not begin, is reported once.
        """
        unanswered = [r for r in self._results if not r.error and len(r.outcomes) < len(r.step.do)]
        for result in unanswered if everything else unanswered[:1]:
            self._end(result, error)

    @property
    def begun(self) -> list[StepResult]:
        """Return the results of the steps that were, or may have been, begun."""
        return [result for result in self._results if result.outcomes or result.error]

    def _end(self, result: StepResult, error: CloudError | None) -> None:
        now = time.monotonic()
        if error and not result.error:
            result.error = error
            self._emit(StepFailed(self._stage, result.step, error))
        elif not result.error:
            self._emit(StepDone(self._stage, result.step, now - self._since, result.changed))
        self._since = now
