"""Plans as texts for golden files: in full, or with one line for each command."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from menu.plan_commands import commands
from menu.plans import Depth, plan_lines
from menu.screen import PIPE_WIDTH
from remote.plan import Action, Command, Plan, Step

WIDTH = 120
_SHELL = ("sh", "-c")


def full_text(plan: Plan) -> str:
    """Return all commands of a plan, word for word, with scripts by name: their files are in the repository."""
    return "".join(f"{line.text}\n" for line in commands(plan, WIDTH, whole=True))


def titles_text(plan: Plan) -> str:
    """Return the titles of a plan as a pipe gets them."""
    return "".join(f"{line.text}\n" for line in plan_lines(plan, Depth.TITLES, PIPE_WIDTH))


def short_text(plan: Plan) -> str:
    """Return a line for each command of a plan; a digest replaces the cut part, so that every change shows."""
    return "".join(f"{line}\n" for line in _lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    for stage in plan.stages:
        yield stage.title
        for host, steps in stage.by_host.items():
            yield f"  {host}"
            for step in steps:
                yield from _step_lines(step)


def _step_lines(step: Step) -> Iterator[str]:
    yield f"    {step.title}{' (one slice at a time)' if step.lock else ''}"
    for verb, actions in (("", step.do), ("undo ", (*step.undo, *step.restore))):
        for action in actions:
            yield _cut(f"      {verb}{_sign(action)} ", _words(action), _further(action))
            if action.unless:
                yield _cut("        unless ", _named(action.unless))


def _sign(action: Action) -> str:
    if isinstance(action, Command):
        return "$" if action.as_user else "#"
    return "copy"


def _words(action: Action) -> list[str]:
    return _named(action.argv) if isinstance(action, Command) else [action.source, action.target]


def _further(action: Action) -> list[str]:
    """Return the parts of an action that are not on its line."""
    if isinstance(action, Command):
        return [action.stdin] if action.stdin and not action.secret else []
    return [action.part, *_named(action.check)]


def _named(argv: tuple[str, ...]) -> list[str]:
    """Return an argv with the name of each script instead of `sh -c TEXT NAME`."""
    words, place = [], 0
    while place < len(argv):
        is_script = argv[place : place + 2] == _SHELL
        words.append(argv[place + 3] if is_script else argv[place])
        place += 4 if is_script else 1
    return words


def _cut(head: str, words: list[str], further: list[str] | None = None) -> str:
    line = head + " ".join(word or "''" for word in words)
    if len(line) <= WIDTH and "\n" not in line and not further:
        return line
    digest = hashlib.sha256("\0".join([*words, "", *(further or [])]).encode()).hexdigest()[:12]
    shown = line.partition("\n")[0][: WIDTH - len(digest) - len(" ... ")].rpartition(" ")[0]
    return f"{shown} ... {digest}" if shown.strip() else f"{head}{digest}"
