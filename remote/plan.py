"""Plans: commands, hosts, order and the undo of each step. Pure: a plan is data and runs nothing.

A command is an argv. It runs as root unless `as_user` is set. Paths in it are absolute or relative to the SSH user's
home, where every batch starts; no shell ever expands anything. This is the one place where a command is quoted for a
shell.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

TIMEOUT_SECONDS = 60.0
"""Maximum silence of a host during a change: every command ends, or prints something, within it."""

CHANGE_DEADLINE_SECONDS = 600.0
"""Maximum duration of a change's batch: a stage of twenty VMs takes seconds, on the slowest disks a minute or two."""

SLOWEST_COPY = 256 * 1024
"""Minimum speed of a copy in bytes a second; its time is added to a batch's deadline."""

NO_FENCE = 0
"""The fence of batches that hosts take from every manager."""

_SHELL = ("sh", "-c")


class Part(NamedTuple):
    """One object of a command that is about several: its name, and its words in the argv."""

    name: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Command:
    """One program on a host, run as root, or as the SSH user where `as_user` is set.

    `stdin` is its input; `secret` hides it everywhere. `ok` are the exit statuses of success. `unless` is the guard: an
    argv that runs first, as the same user. When the guard succeeds the command is skipped, because its objects exist
    already. A command for several objects prints those that it made.

    `name` is the name of the command's answer, its output, where the program needs it. `each` are the command's
    objects, one after the other; their words end the argv. `before` is for an undo: the name of an earlier answer about
    the time before the run. The objects that the answer lists stay. A command without objects reads the answer after
    its `stdin`, and so restores what was replaced.
    """

    argv: tuple[str, ...]
    stdin: str = ""
    ok: tuple[int, ...] = (0,)
    unless: tuple[str, ...] = ()
    as_user: bool = False
    secret: bool = False
    name: str = ""
    each: tuple[Part, ...] = ()
    before: str = ""

    def sparing(self, answers: Mapping[str, str]) -> tuple[Command, ...]:
        """Return the command that leaves or puts back what was there before; none where nothing is left to do."""
        there = answers.get(self.before, "")
        if not self.each:
            return (replace(self, stdin=f"{self.stdin}{there}"),)
        names = frozenset(there.splitlines())
        left = tuple(part for part in self.each if part.name not in names)
        return (about(replace(self, argv=_fixed(self)), left),) if left else ()


def about(command: Command, each: Iterable[Part]) -> Command:
    """Return `command` about these objects: their words end its argv."""
    parts = tuple(each)
    return replace(command, argv=(*command.argv, *(word for part in parts for word in part.words)), each=parts)


@dataclass(frozen=True)
class Upload:
    """A file of the manager, copied to a host as the SSH user, unless the guard `unless` succeeds.

    It is called `part` until it is whole, on the same disk as `target`. `check` is an argv that has to succeed before
    it gets its name. `is_image`: it is a base image, whose header is checked before the copy.
    """

    source: str
    target: str
    part: str
    unless: tuple[str, ...]
    check: tuple[str, ...] = ()
    as_user: bool = True
    is_image: bool = False


Action = Command | Upload


@dataclass(frozen=True)
class Step:
    """One named change on one host, and how to take it back.

    `title` is a noun: it is shown both when the thing is made and when it is removed. `lock` makes the step wait for
    all other locked steps on that host: for what slices share. `residue` names what `undo` removes where that is not
    what the title names, as with a file that stays. `objects` are the names of all that the step makes; a check makes
    nothing. `restore` brings objects that stay back to the state from before the run; only a rollback runs it, after
    `undo`.
    """

    host: str
    title: str
    do: tuple[Action, ...]
    undo: tuple[Command, ...] = ()
    lock: bool = False
    residue: str = ""
    objects: tuple[str, ...] = ()
    restore: tuple[Command, ...] = ()

    def sparing(self, answers: Mapping[str, str]) -> Step:
        """Return the step with the undo of what it made: `answers` tell, by name, what was there before the run."""
        back = (*self.undo, *self.restore)
        undo = tuple(left for command in back for left in command.sparing(answers))
        spared = _parts(back) - _parts(undo)
        return replace(self, undo=undo, restore=(), objects=tuple(name for name in self.objects if name not in spared))


@dataclass(frozen=True)
class Stage:
    """Steps that may run at the same time on different hosts, and in their order on each."""

    title: str
    steps: tuple[Step, ...]

    @property
    def by_host(self) -> dict[str, tuple[Step, ...]]:
        """Return the steps of each host, in order."""
        hosts: dict[str, list[Step]] = {}
        for step in self.steps:
            hosts.setdefault(step.host, []).append(step)
        return {host: tuple(steps) for host, steps in hosts.items()}


@dataclass(frozen=True)
class Plan:
    """Stages that run in turn.

    A host runs batches with the same `lock` (a name such as `slice-1000`) one at a time, also those of another manager
    or a dead one. `timeout` is the maximum silence of a host in seconds, `deadline` the maximum duration of a batch. A
    `repeatable` plan changes nothing and waits for no lock: where its result is unknown, it is sent again.
    """

    stages: tuple[Stage, ...]
    lock: str = ""
    timeout: float = TIMEOUT_SECONDS
    deadline: float = CHANGE_DEADLINE_SECONDS
    repeatable: bool = False

    @property
    def steps(self) -> Iterator[Step]:
        """Yield all steps, in order."""
        return (step for stage in self.stages for step in stage.steps)

    def undone(self, title: str) -> Plan:
        """Return the plan that undoes this one: every `undo`, newest first, all hosts side by side in one stage."""
        return self.taking_back(title, tuple(self.steps))

    def taking_back(self, title: str, done: tuple[Step, ...]) -> Plan:
        """Return the plan that undoes `done`, steps of this one, newest first."""
        steps = tuple(
            replace(step, title=step.residue or step.title, do=step.undo, undo=(), objects=_left_by(step), restore=())
            for step in reversed(done)
            if step.undo
        )
        return replace(self, stages=(Stage(title, steps),) if steps else ())

    def beyond(self, other: Plan, title: str) -> Plan:
        """Return the plan that undoes the objects of this plan that `other` does not make."""
        kept = frozenset(each for step in other.steps for command in step.undo for each in _undone_by(step, command))
        return self.taking_back(title, tuple(_only_beyond(step, kept) for step in self.steps))

    def without(self, other: Plan) -> Plan:
        """Return this plan without the steps of `other`."""
        known = frozenset(other.steps)
        stages = (Stage(stage.title, tuple(step for step in stage.steps if step not in known)) for stage in self.stages)
        return replace(self, stages=tuple(stage for stage in stages if stage.steps))


_Undone = tuple[str, Command, Part | None]


def _undone_by(step: Step, command: Command) -> list[_Undone]:
    """Return what an undo of a step takes back on its host: its objects, or one thing that has no name."""
    bare = replace(command, argv=_fixed(command), each=())
    return [(step.host, bare, part) for part in command.each or (None,)]


def _only_beyond(step: Step, kept: Collection[_Undone]) -> Step:
    """Return the step with the undo of those of its objects that are not `kept`."""
    undo: list[Command] = []
    for command in step.undo:
        left = [each for each in _undone_by(step, command) if each not in kept]
        parts = tuple(part for _, _, part in left if part)
        if parts:
            undo.append(about(replace(command, argv=_fixed(command)), parts))
        elif left:
            undo.append(command)
    spared = _parts(step.undo) - _parts(undo)
    return replace(step, undo=tuple(undo), objects=tuple(name for name in step.objects if name not in spared))


def _fixed(command: Command) -> tuple[str, ...]:
    """Return the words of a command before those of its objects."""
    return command.argv[: len(command.argv) - sum(len(part.words) for part in command.each)]


def _parts(commands: Iterable[Command]) -> frozenset[str]:
    return frozenset(part.name for command in commands for part in command.each)


def _left_by(step: Step) -> tuple[str, ...]:
    """Return the objects that the undo of a step removes."""
    return () if step.residue else step.objects


def shell(argv: tuple[str, ...], names: Mapping[str, str] | None = None) -> str:
    """Return `argv` as a line for a POSIX shell that gives exactly these arguments back, but for the names of scripts.

    Scripts that are among `names` stand in it as the shell variable of that name. Their own names are for people: a
    host is sent `sh` instead.
    """
    return " ".join(_word(argv, place, names or {}) for place in range(len(argv)))


def _word(argv: tuple[str, ...], place: int, names: Mapping[str, str]) -> str:
    if place >= 2 and argv[place - 2 : place] == _SHELL and argv[place] in names:
        return f'"${names[argv[place]]}"'
    if place >= 3 and argv[place - 3 : place - 1] == _SHELL:
        return _SHELL[0]
    return shlex.quote(argv[place])


def script_names(argvs: Iterable[tuple[str, ...]]) -> dict[str, str]:
    """Return a name for each text that a shell reads, as in `sh -c TEXT`, wherever in an argv."""
    found = (
        word
        for argv in argvs
        if _SHELL[0] in argv
        for place, word in enumerate(argv)
        if argv[place - 2 : place] == _SHELL
    )
    return {script: f"SCRIPT_{number}" for number, script in enumerate(dict.fromkeys(found), start=1)}
