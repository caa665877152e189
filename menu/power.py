"""Carry out entry 15 of the menu: start, stop, restart and reset VMs of a slice, and their snapshots."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from accounts import rights
from core.errors import Refused
from core.results import Result, value_of
from menu.picking import ask_for_slice, last_vm, vm_lines
from menu.screen import clean
from menu.snapshots import ask_for_name, list_snapshots, restore_question
from menu.texts import slice_title
from menu.told import show_told
from models import Slice
from remote.events import Listener

if TYPE_CHECKING:
    from menu.session import Session
    from orchestrator import OrchestratorAPI

ALL = "all"
WAYS = (
    ("Start VMs", "start"),
    ("Stop VMs", "stop"),
    ("Switch VMs off at once", "stop --now"),
    ("Restart VMs", "restart"),
    ("Reset VMs to clean disks", "reset"),
    ("Take a snapshot", "snapshot"),
    ("Bring disks back to a snapshot", "restore"),
    ("View snapshots", "snapshots"),
    ("Delete a snapshot", "delete"),
)
"""The titles of the ways, and the words of the commands that do the same."""

_WARNINGS = {
    "reset": "Their disks are replaced by new ones, and all data on them is lost.",
    "stop --now": "Their guests do not shut down first.",
}


def change_power(session: Session) -> None:
    """Ask what to do with which VMs of a slice, and do it."""
    verb = session.ask.pick(f"Choose (1-{len(WAYS)}): ", dict(WAYS))
    slice_ = ask_for_slice(session, "Slice ID: ", repeats=verb != "reset")
    rights.require_deployed(slice_)
    if verb == "snapshots":
        list_snapshots(session, slice_)
        session.same_as("snapshots", session.word_for(slice_))
    elif verb in {"snapshot", "restore", "delete"}:
        _change_snapshots(session, slice_, verb)
    else:
        _switch(session, slice_, verb)


def _switch(session: Session, slice_: Slice, verb: str) -> None:
    vm_ids = _ask_for_vms(session, slice_, repeats=verb != "reset")
    value_of(session.api.power.plan(session.actor, slice_.slice_id, verb, vm_ids))
    asked = question(slice_, verb, vm_ids)
    if asked and not session.ask.yes(asked):
        session.screen.line("Nothing was changed")
        return
    with session.progress() as listen:
        answer = switch(session.api, session.actor, slice_, verb, vm_ids, listen)
    show_told(value_of(answer), session.screen)
    command, *options = verb.split()
    session.same_as(command, session.word_for(slice_), *_names(slice_, vm_ids), *options)


def _change_snapshots(session: Session, slice_: Slice, verb: str) -> None:
    snapshots, slice_id = session.api.snapshots, slice_.slice_id
    name, vm_ids = ask_for_name(session), _ask_for_vms(session, slice_)
    value_of(snapshots.plan(session.actor, slice_id, verb, name, vm_ids))
    if verb == "restore" and not session.ask.yes(restore_question(slice_, name)):
        session.screen.line("Nothing was changed")
        return
    act = {"snapshot": snapshots.take, "restore": snapshots.restore, "delete": snapshots.delete}[verb]
    with session.progress() as listen:
        answer = act(session.actor, slice_id, name, vm_ids, listen)
    show_told(value_of(answer), session.screen)
    command, *options = ("snapshot", "--delete") if verb == "delete" else (verb,)
    session.same_as(command, session.word_for(slice_), name, *_names(slice_, vm_ids), *options)


def _names(slice_: Slice, vm_ids: Collection[int]) -> list[str]:
    """Return the names of VMs in the order of the slice; an empty list stands for all."""
    return [vm.name for vm in slice_.vms if vm.vm_id in vm_ids]


def _ask_for_vms(session: Session, slice_: Slice, *, repeats: bool = True) -> list[int]:
    enter = last_vm(session, slice_.vms) if repeats else None
    words = session.ask.checked(
        lambda: session.ask.text(
            f'VMs, by IDs or names ("{ALL}" for all): ',
            "A list of VMs",
            choices=vm_lines(slice_.vms),
            enter=enter,
            explained=f"VMs are IDs or names with spaces or commas between them, or {ALL}",
        ),
        lambda text: _ids(slice_, text),
    )
    vm_ids = _ids(slice_, words)
    session.last.vm_id = vm_ids[-1] if vm_ids else session.last.vm_id
    return vm_ids


def _ids(slice_: Slice, text: str) -> list[int]:
    """Return the ids of VMs in a text, or an empty list for all; raise `Refused` where it names none."""
    words = text.replace(",", " ").split()
    if not words:
        raise Refused(f'Name VMs of the slice, or write "{ALL}"')
    return [] if words == [ALL] else [rights.find_vm(slice_, word).vm_id for word in words]


def question(slice_: Slice, verb: str, vm_ids: Collection[int]) -> str:
    """Return the question before an act by which data can be lost, or an empty text."""
    if verb not in _WARNINGS:
        return ""
    vms = [vm for vm in slice_.vms if not vm_ids or vm.vm_id in vm_ids]
    names = ", ".join(clean(vm.name) for vm in vms)
    kept = ", ".join(f"{each.name} of {clean(vm.name)}" for vm in vms for each in vm.snapshots)
    lost = f" So are the snapshots {kept}." if kept and verb == "reset" else ""
    act = "Reset" if verb == "reset" else "Switch off at once"
    return f"{act} {names} of {slice_title(slice_)}? {_WARNINGS[verb]}{lost} (y/n): "


def switch(
    api: OrchestratorAPI, actor: str, slice_: Slice, verb: str, vm_ids: Sequence[int], listen: Listener
) -> Result[list[str]]:
    """Switch VMs of a slice as a verb of `WAYS` says."""
    slice_id = slice_.slice_id
    match verb:
        case "start":
            return api.power.start(actor, slice_id, vm_ids, listen)
        case "restart":
            return api.power.restart(actor, slice_id, vm_ids, listen)
        case "reset":
            return api.power.reset(actor, slice_id, vm_ids, listen)
    return api.power.stop(actor, slice_id, vm_ids, listen, now=verb != "stop")
