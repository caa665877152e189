"""Dialogs with the QEMUs of running VMs by QMP (docs/interop/qmp-spec of QEMU). Pure: returns argvs, parses answers.

A dialog sends a command only after the answer to the last one. It has a deadline: a QEMU that does not answer in time
may still carry out the command, so its state has to be read again. A QEMU serves one client at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import Any, NamedTuple

from core.errors import BadAnswer
from shell.scripts import load

Argv = tuple[str, ...]

SECONDS = 5
"""The deadline of a dialog."""

UNKNOWN = 124
"""The exit status of a dialog that leaves it unknown whether a VM carried out its last command (timeout(1))."""

START_SECONDS = 30
"""The deadline of the dialog with a QEMU that has just been started."""

_ASK_VMS = load("vms/ask-vms")
_LET_RUN = load("vms/let-run")


class Monitor(NamedTuple):
    """The QMP socket of a VM, with the pid file and the mark that prove whose it is."""

    pid_file: str
    mark: str
    socket: str


class DialogEnd(Enum):
    """The end of a dialog."""

    DONE = "done"
    """Each command was answered."""
    ERROR = "error"
    """QEMU refused the last command that it was sent."""
    OFF = "off"
    """The VM does not run."""
    OLDER = "older"
    """The VM was started by an older version, without a QMP socket."""
    CLOSED = "closed"
    """QEMU accepted no connection."""
    ENDED = "ended"
    """QEMU ended before it answered."""
    LATE = "late"
    """QEMU did not answer before the deadline."""


@dataclass(frozen=True)
class Dialog:
    """The answers of one VM to its commands, in order, and the end of the dialog; `error` is QEMU's sentence."""

    answers: tuple[Any, ...]
    end: DialogEnd = DialogEnd.DONE
    error: str = ""


def within(seconds: int) -> Argv:
    """Return the words before a script with dialogs: after these seconds it has to end them, and reports how."""
    return ("timeout", "--preserve-status", str(seconds))


def command(name: str, /, **arguments: object) -> str:
    """Return a command of QMP as a line of JSON; `_` in names of arguments stands for `-`."""
    words = {key.replace("_", "-"): value for key, value in arguments.items()}
    return json.dumps({"execute": name, **({"arguments": words} if words else {})})


def let_run(vms: Iterable[tuple[Monitor, str, Mapping[str, bool]]]) -> Argv:
    """Return the argv that sets links of VMs and lets the VMs run, side by side; it prints those that did not run.

    Each VM has its file of messages, and for each NIC by its name whether the guest sees a carrier. A VM that runs
    already gets its links set again.
    """
    words = ((*monitor, messages, "\n".join(_starting(links))) for monitor, messages, links in vms)
    return (*within(START_SECONDS), *_LET_RUN.argv(*chain.from_iterable(words)))


def _starting(links: Mapping[str, bool]) -> Iterator[str]:
    yield command("query-status")
    yield from (set_link(name, up=up) for name, up in links.items())
    yield command("cont")


def set_link(name: str, *, up: bool) -> str:
    """Return the command that gives a NIC a carrier, or takes it away; it holds until QEMU ends."""
    return command("set_link", name=name, up=up)


def ask(dialogs: Iterable[tuple[Monitor, Iterable[str]]], seconds: int = SECONDS) -> Argv:
    """Return the argv that has a dialog with each VM, side by side, as the SSH user; `parse` reads its output.

    Answers of several VMs mix where one of them has more than 4096 bytes (pipe(7), PIPE_BUF).
    """
    words = ((*monitor, "\n".join(commands)) for monitor, commands in dialogs)
    return (*within(seconds), *_ASK_VMS.argv(*chain.from_iterable(words)))


def parse(stdout: str) -> dict[str, Dialog]:
    """Return the dialogs of `ask` by the names of the VMs; one without commands may be missing.

    Raise `BadAnswer` for output that makes no sense.
    """
    found: dict[str, Dialog] = {}
    for line in filter(None, stdout.splitlines()):
        name, _, said = line.partition(" ")
        before = found.get(name, Dialog(()))
        if before.end is not DialogEnd.DONE:
            raise BadAnswer(f"a dialog with {name[:40]} goes on after its end")
        found[name] = _continued(before, said)
    return found


def _continued(dialog: Dialog, said: str) -> Dialog:
    """Return a dialog with one more answer, or with its end."""
    if not said.startswith("{"):
        try:
            return Dialog(dialog.answers, DialogEnd(said))
        except ValueError as error:
            raise BadAnswer("no end of a dialog") from error
    try:
        answer = json.loads(said)
        if "return" in answer:
            return Dialog((*dialog.answers, answer["return"]))
        return Dialog(dialog.answers, DialogEnd.ERROR, f"{answer['error']['class']}: {answer['error']['desc']}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadAnswer("no answer of QMP") from error
