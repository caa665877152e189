"""Open a VM's serial console for a user, and take it over from another user where that is allowed."""

from __future__ import annotations

import time
from collections.abc import Callable

from accounts import rights
from core.errors import CloudError, CommandFailed, Refused
from deployment import DeploymentAPI
from models import VM, Slice
from remote.console import Answer, Console, EndReason, Holder, NotJoined, Visit, join
from remote.host import TerminalHost

TAKEOVERS = 3
"""How often a user is asked: another user may take the console meanwhile."""

Confirm = Callable[[str], bool]
"""Asks the user whether to take a console over; the sentence names its present user."""


def never(_sentence: str) -> bool:
    """Take no console over."""
    return False


class Consoles:
    """Opens the consoles of VMs."""

    def __init__(self, deployment: DeploymentAPI, connect: Callable[[str], TerminalHost]) -> None:
        self._deployment = deployment
        self._connect = connect

    def open(self, actor: str, slice_: Slice, vm: VM, confirm: Confirm | None) -> tuple[VisitedConsole, str]:
        """Return the console, and its former user where it was taken over.

        `confirm` is None for a user who may not take it over. `Refused` where the console stays with its user.
        """
        ends, taken_from = "-", ""
        for _ in range(TAKEOVERS):
            visit = self._deployment.console(slice_, vm, actor, ends)
            try:
                return self._join(visit, slice_, vm), taken_from
            except NotJoined as refusal:
                if refusal.answer is not Answer.BUSY or refusal.holder is None:
                    raise _failure(refusal.answer, slice_, vm) from refusal
                holder = refusal.holder
            sentence = f"{_subject(holder, actor)} is using the console of {vm.name}{_since(holder)}"
            if confirm is None or not holder.visit:
                raise Refused(f"{sentence}; try again later")
            if not confirm(sentence):
                raise Refused(f"{holder.user or 'The other session'} keeps the console of {vm.name}")
            ends, taken_from = holder.visit, holder.user
        raise Refused(f"Other users took the console of {vm.name} meanwhile; try again")

    def _join(self, visit: Visit, slice_: Slice, vm: VM) -> VisitedConsole:
        channel = self._connect(vm.worker_ip).open_terminal(visit.argv, visit.script)
        return VisitedConsole(join(channel, visit, vm.worker_ip), slice_, vm)


class VisitedConsole:
    """An open console, which `menu.console` shows."""

    def __init__(self, console: Console, slice_: Slice, vm: VM) -> None:
        self._console = console
        self._slice = slice_
        self._vm = vm
        self.fileno = console.fileno
        self.recv = console.recv
        self.send = console.send
        self.close = console.close

    def why_closed(self) -> str:
        """Return a sentence that says why the console ended by itself, or nothing."""
        reason, holder = self._console.end_reason()
        match reason:
            case EndReason.TAKEN:
                return f"{(holder and holder.user) or 'another user'} took it over"
            case EndReason.OFF:
                return _is_off(self._slice, self._vm)
            case EndReason.LOST:
                return f"the connection to {self._vm.worker_ip} was lost"
        return ""


def _subject(holder: Holder, actor: str) -> str:
    if holder.user == actor:
        return "Another session of yours"
    return holder.user or "Another session"


def _since(holder: Holder) -> str:
    """Return the time in the manager's time zone, with the date where that was another day."""
    if not holder.since:
        return ""
    try:
        began = time.localtime(holder.since)
    except (OverflowError, OSError, ValueError):
        return ""
    today = time.strftime("%Y-%m-%d", began) == time.strftime("%Y-%m-%d")
    return time.strftime(", since %H:%M" if today else ", since %Y-%m-%d %H:%M", began)


def _is_off(slice_: Slice, vm: VM) -> str:
    return f"VM {vm.vm_id} ({vm.name}) is off; {rights.way_to_start(slice_, vm)}"


def _failure(answer: Answer, slice_: Slice, vm: VM) -> CloudError:
    if answer is Answer.OFF:
        return Refused(_is_off(slice_, vm))
    reasons = {
        Answer.HUNG: "QEMU runs and does not answer; try again, and tell the operator if it stays so",
        Answer.FOREIGN: "a program there that no menu started has it open; the operator has to end that",
        Answer.STUCK: "the other visitor's program does not end; tell the operator",
        Answer.UNWRITABLE: "its lock cannot be written; is the disk full, or mounted read-only?",
    }
    title = f"console of VM {vm.vm_id} ({vm.name})"
    return CommandFailed(vm.worker_ip, title, ("socat",), 1, reasons.get(answer, answer.value))
