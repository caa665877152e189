"""Ask for slices and VMs: on a pipe by id, on a terminal also by name, or by Enter for the last one used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from accounts import rights
from core.errors import CloudError
from core.results import value_of
from menu.prompts import Enter, Named
from menu.screen import clean
from menu.texts import NO_SLICES, by_id
from menu.views import SlicesView
from models import VM, Slice

if TYPE_CHECKING:
    from menu.session import Session

MOST_LINES = 20
"""Slices or VMs that `?` lists."""


def ask_for_slice_id(session: Session, prompt: str, *, repeats: bool = True) -> int:
    """Ask for a slice and return its id. `repeats`: Enter may stand for the last one used."""
    api, actor = session.api, session.actor

    def lines() -> list[str]:
        listed = SlicesView(by_id(value_of(api.list_slices(actor))), actor).lines()
        return _some(listed or [NO_SLICES])

    def last() -> Enter | None:
        found, slice_ = api.get_slice(actor, session.last.slice_id) if session.last.slice_id else (False, None)
        return _enter(slice_.slice_id, slice_.name) if found and isinstance(slice_, Slice) else None

    def find(word: str) -> int:
        return value_of(api.find_slice(actor, word)).slice_id

    slices = Named("slice", find, lines, last if repeats else lambda: None)
    session.last.slice_id = session.ask.named(prompt, "A slice ID", slices)
    return session.last.slice_id


def ask_for_slice(session: Session, prompt: str, *, repeats: bool = True) -> Slice:
    """Ask for a slice as `ask_for_slice_id` does, and return it."""
    return value_of(session.api.get_slice(session.actor, ask_for_slice_id(session, prompt, repeats=repeats)))


def ask_for_vm(session: Session, prompt: str) -> int:
    """Ask for a VM of any slice and return its id. A name is looked for in the slice that was used last first."""

    def slices() -> list[Slice]:
        return value_of(session.api.list_slices(session.actor))

    def last() -> Enter | None:
        return last_vm(session, [vm for slice_ in slices() for vm in slice_.vms])

    def find(word: str) -> int:
        return rights.find_vm_of_all(slices(), word, session.actor, session.last.slice_id).vm_id

    vms = Named("VM", find, lambda: vm_lines(vm for slice_ in by_id(slices()) for vm in slice_.vms), last)
    session.last.vm_id = session.ask.named(prompt, "A VM ID", vms)
    return session.last.vm_id


def ask_for_vm_of(session: Session, slice_: Slice, prompt: str, check: Callable[[int], object]) -> int:
    """Ask for a VM of a slice that `check` accepts, and return its id."""

    def last() -> Enter | None:
        try:
            check(session.last.vm_id)
        except CloudError:
            return None
        return last_vm(session, slice_.vms)

    vms = Named("VM", lambda word: rights.find_vm(slice_, word).vm_id, lambda: vm_lines(slice_.vms), last)
    session.last.vm_id = session.ask.checked(lambda: session.ask.named(prompt, "A VM ID", vms), check)
    return session.last.vm_id


def last_vm(session: Session, vms: Iterable[VM]) -> Enter | None:
    """Return the VM that was used last as the answer of Enter, if it is one of these."""
    return next((_enter(vm.vm_id, vm.name) for vm in vms if vm.vm_id == session.last.vm_id), None)


def _enter(number: int, name: str) -> Enter:
    return Enter(str(number), f"{number} {clean(name)}".rstrip())


def vm_lines(vms: Iterable[VM]) -> list[str]:
    """Return a line for each VM, or for the first ones."""
    return _some([f"VM {vm.vm_id}: {clean(vm.name)}, {vm.status}" for vm in vms])


def _some(lines: Sequence[str]) -> list[str]:
    more = [f"and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
    return [f"  {line}" for line in (*lines[:MOST_LINES], *more)]
