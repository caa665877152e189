"""What to run, where, in which order, and how to take it back. Pure: a plan is data and runs nothing.

A command is an argv. Paths in it are absolute or relative to the SSH user's home, where every batch starts; no shell
ever expands anything. This is the one place where a command is quoted for a shell.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Command:
    """One program on a host, run as root, or as the SSH user where `as_user` is set.

    `ok` are the exit statuses that mean success. `unless` is the guard: an argv that is tried first, as the same user;
    when it succeeds the command is skipped, because what it would do is there already.
    """

    argv: tuple[str, ...]
    stdin: str = ""
    ok: tuple[int, ...] = (0,)
    unless: tuple[str, ...] = ()
    as_user: bool = False


@dataclass(frozen=True)
class Upload:
    """A file of the manager, brought to a host in one piece, as the SSH user, unless the guard `unless` succeeds."""

    source: str
    target: str
    unless: tuple[str, ...]
    as_user: bool = True


Action = Command | Upload


@dataclass(frozen=True)
class Step:
    """One named change on one host, and how to take it back.

    `title` is a noun: it is shown both when the thing is made and when it is removed. `lock` makes the step wait for
    all other locked steps on that host: for what slices share.
    """

    host: str
    title: str
    do: tuple[Action, ...]
    undo: tuple[Command, ...] = ()
    lock: bool = False


@dataclass(frozen=True)
class Stage:
    """Steps that may run at the same time on different hosts, and in their order on each."""

    title: str
    steps: tuple[Step, ...]

    @property
    def by_host(self) -> dict[str, tuple[Step, ...]]:
        """The steps of each host, in order."""
        hosts = dict.fromkeys(step.host for step in self.steps)
        return {host: tuple(step for step in self.steps if step.host == host) for host in hosts}


@dataclass(frozen=True)
class Plan:
    """Stages that run in turn."""

    stages: tuple[Stage, ...]

    @property
    def steps(self) -> Iterator[Step]:
        """All steps, in order."""
        return (step for stage in self.stages for step in stage.steps)

    def undone(self, title: str) -> Plan:
        """The plan that takes this one back: every `undo`, newest first, all hosts side by side in one stage."""
        return undo_plan(title, tuple(self.steps))

    def without(self, other: Plan) -> Plan:
        """This plan minus the steps that `other` has too."""
        known = frozenset(other.steps)
        stages = (Stage(stage.title, tuple(step for step in stage.steps if step not in known)) for stage in self.stages)
        return Plan(tuple(stage for stage in stages if stage.steps))

    def text(self) -> str:
        """The dry run: stage, host, title and commands of every step. What a program gets as input is not shown."""
        return "".join(_stage_lines(stage) for stage in self.stages)


def undo_plan(title: str, done: tuple[Step, ...]) -> Plan:
    """The plan that takes `done` back, newest first."""
    steps = tuple(replace(step, do=step.undo, undo=()) for step in reversed(done) if step.undo)
    return Plan((Stage(title, steps),) if steps else ())


def shell(argv: tuple[str, ...]) -> str:
    """`argv` as a line for a POSIX shell that gives exactly these arguments back."""
    return shlex.join(argv)


def _stage_lines(stage: Stage) -> str:
    lines = [f"{stage.title}\n"]
    for host, steps in stage.by_host.items():
        for step in steps:
            lines.append(f"  {host}: {step.title}{' (one slice at a time)' if step.lock else ''}\n")
            lines.extend(f"    $ {_shown(action)}\n" for action in step.do)
            lines.extend(f"    undo $ {_shown(command)}\n" for command in step.undo)
    return "".join(lines)


def _shown(action: Action) -> str:
    guard = f"    [unless {shell(action.unless)}]" if action.unless else ""
    if isinstance(action, Upload):
        return f"copy {shell((action.source, action.target))}{guard}"
    entered = "    [input not shown]" if action.stdin else ""
    return f"{'' if action.as_user else '# '}{shell(action.argv)}{entered}{guard}"
