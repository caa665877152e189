"""Write the commands of a plan, and its scripts, as texts that can be copied into a shell."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from menu.lines import DIM, Line, line, paragraph
from menu.shell_lines import shell_lines
from remote.plan import Action, Command, Plan, Step, Upload, shell

_LEGEND = (
    "# runs as root, $ as the SSH user. Where the command after `unless` succeeds, the one above it is skipped. "
    "After a failure, undo leaves what was there before."
)
_INDENT = " " * 4
_END = "END"
_MORE = " ..."
_SHELL = ("sh", "-c")


def commands(plan: Plan, width: int, *, whole: bool) -> Iterator[Line]:
    """Yield the commands of every step and its undo; `whole`: also all that they read, and guards in full."""
    yield from paragraph(_LEGEND, "", width, DIM)
    names = named_scripts(plan)
    for stage in plan.stages:
        if stage.steps:
            yield from (line(), line(stage.title, "bold"))
        for host, steps in stage.by_host.items():
            writer = _Writer(names, _pattern(_objects_on(host, plan)), width, whole)
            for step in steps:
                yield from writer.step(step)


def scripts(plan: Plan) -> Iterator[Line]:
    """Yield what makes a file of each script of the plan."""
    yield from (line(), line("scripts", "bold"))
    for text, name in named_scripts(plan).items():
        yield line()
        yield from _here_document(line(f"cat >{name} <<'{_END}'"), text.splitlines())


def named_scripts(plan: Plan) -> dict[str, str]:
    """Return text -> name of every script that the plan runs, in the order of their first use."""
    found: dict[str, str] = {}
    for argv in _argvs(plan):
        for place in range(len(argv) - 3):
            if argv[place : place + 2] == _SHELL:
                found[argv[place + 2]] = argv[place + 3]
    return found


@dataclass(frozen=True)
class _Writer:
    """Writes the commands of steps; a word that one of the `objects` is found in begins a line."""

    names: dict[str, str]
    objects: re.Pattern[str]
    width: int
    whole: bool

    def step(self, step: Step) -> Iterator[Line]:
        """Yield the title of a step, its commands, and those that undo it."""
        note = " (one slice at a time)" if step.lock else ""
        head = Line(((f"  {step.host}  ", "cyan"),))
        yield from paragraph(f"{step.title}{note}", _INDENT, self.width, "bold", head)
        for action in step.do:
            yield from self._action("", action)
        for command in (*step.undo, *step.restore):
            yield from self._action("undo ", command)

    def _action(self, verb: str, action: Action) -> Iterator[Line]:
        if isinstance(action, Upload):
            yield from self._command(f"{verb}copy ", (action.source, action.target))
            yield from self._guard("checked by ", action.check)
        else:
            yield from self._with_input(f"{verb}{'$' if action.as_user else '#'} ", action)
        yield from self._guard("unless ", action.unless)

    def _with_input(self, sign: str, command: Command) -> Iterator[Line]:
        text = [] if command.secret else command.stdin.splitlines()
        if text and self.whole:
            *first, last = self._command(sign, command.argv, f" <<'{_END}'")
            yield from (*first, *_here_document(last, text))
            return
        yield from self._command(sign, command.argv)
        if command.secret:
            yield line(f"{_INDENT}  reads a secret", DIM)
        elif text:
            yield line(f"{_INDENT}  reads {len(text)} {'line' if len(text) == 1 else 'lines'}", DIM)

    def _command(self, sign: str, argv: tuple[str, ...], ending: str = "") -> Iterator[Line]:
        words, head = self._named(argv), f"{_INDENT}{sign}"
        first, *others = shell_lines(words, head, self.width, self._starts(words), ending)
        yield Line(((head, DIM), (first.removeprefix(head), "")))
        yield from map(line, others)

    def _guard(self, word: str, argv: tuple[str, ...]) -> Iterator[Line]:
        """Yield what is tried before a command; where not everything is shown, as much as one line holds."""
        words, head = self._named(argv), f"{_INDENT}  {word}"
        if self.whole and words:
            yield from (line(text, DIM) for text in shell_lines(words, head, self.width, self._starts(words)))
        elif words:
            whole = head + shell(tuple(words))
            text = whole.partition("\n")[0]
            if len(text) > self.width or text != whole:
                text = text[: self.width - len(_MORE) + 1].rpartition(" ")[0] + _MORE
            yield line(text, DIM)

    def _named(self, argv: tuple[str, ...]) -> list[str]:
        """Return the argv with `sh NAME` for each `sh -c TEXT NAME` in it."""
        words: list[str] = []
        place = 0
        while place < len(argv):
            name = self.names.get(argv[place + 2], "") if argv[place : place + 2] == _SHELL else ""
            words += (_SHELL[0], name) if name else (argv[place],)
            place += 4 if name else 1
        return words

    def _starts(self, words: Sequence[str]) -> list[int]:
        """Return the places of words that begin a line: those that part commands, or else name the next object."""
        if "--" in words:
            return [place for place, word in enumerate(words) if word == "--"]
        named = ["".join(self.objects.findall(word)[-1:]) for word in words]  # what a path ends with says more
        starts, last = [], ""
        for place, name in enumerate(named):
            if name and name != last:
                starts.append(place)
                last = name
        return starts


def _here_document(command: Line, text: Iterable[str]) -> Iterator[Line]:
    yield command
    yield from map(line, text)
    yield line(_END)


def _argvs(plan: Plan) -> Iterator[tuple[str, ...]]:
    for step in plan.steps:
        for action in (*step.do, *step.undo, *step.restore):
            yield action.unless
            yield action.argv if isinstance(action, Command) else action.check


def _objects_on(host: str, plan: Plan) -> list[str]:
    """Return the objects of a host that are names; of a path, the name that is in it is enough."""
    return [name for step in plan.steps if step.host == host for name in step.objects if "/" not in name]


def _pattern(names: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that finds one of the names, but not as a part of a longer word."""
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(map(re.escape, longest_first)) or '(?!)'})(?![A-Za-z0-9])")
