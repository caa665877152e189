"""Rights of users on slices, and the actions that a slice's status allows; refusals say what to do instead. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, TypeVar

from allocation.holdings import Holdings
from core import passwords
from core.errors import Refused
from core.formats import MAX_NAME_LENGTH, is_valid_name
from core.status import SliceStatus, VMStatus
from models import ADMIN, NOWHERE, VM, Slice, User
from storage.state import State

_MOST_LISTED = 10


class _Named(Protocol):
    name: str


N = TypeVar("N", bound=_Named)


def user_of(state: State, username: str) -> User:
    """Return the user with that name; raise `Refused` if the account is gone."""
    user = state.users.get(username)
    if user is None:
        raise Refused(f"There is no user {username} any more")
    return user


def require_user(state: State, username: str) -> None:
    """Raise `Refused`, in words for the operator, unless there is a user with that name."""
    if username not in state.users:
        raise Refused(f"There is no user {username}; python3 cli.py user list shows all")


_MENU_ONLY = "leave the command out, and the menu opens"


def require_commands(state: State, username: str) -> None:
    """Raise `Refused` unless the user has commands in restricted sessions."""
    if user_of(state, username).role == ADMIN:
        raise Refused(f"The account of an admin has the menu only here: {_MENU_ONLY}")
    if not state.inventory.login.commands:
        raise Refused(f"Commands are switched off here: {_MENU_ONLY}")


def require_command(state: State, username: str) -> None:
    """Raise `Refused` unless the user may run a command in a restricted session, where the SSH key is the password."""
    require_commands(state, username)
    digest = user_of(state, username).password_hash
    if state.inventory.login.shipped_passwords == "change" and passwords.is_of_shipped(username, digest):
        raise Refused(
            f"Your password came with the program, so everyone knows it: {_MENU_ONLY} and asks for another one"
        )


def require_admin(state: State, actor: str, act: str) -> None:
    """Raise `Refused` unless the user is an admin; `act` is a verb with its object."""
    if user_of(state, actor).role != ADMIN:
        raise Refused(f"Only admins {act}; ask one of them")


def require_room_for_slice(state: State, user: User, actor: str) -> None:
    """Raise `Refused` where the user has the maximum number of slices.

    A slice in `deleting` counts until it is gone: it still holds its VLANs and its objects on hosts.
    """
    most, has = user.most_slices(state.inventory.login), len(user.slices)
    if has < most:
        return
    subject = "you have" if user.username == actor else f"{user.username} has"
    raise Refused(
        f"Slice quota exceeded: {subject} {has} {'slice' if has == 1 else 'slices'}, and {most} "
        f"{'is' if most == 1 else 'are'} allowed; delete a slice first (one in deleting "
        "counts until it is gone), or ask the operator for more"
    )


def require_room_for_vms(user: User, count: int, actor: str, leaving: int = 0) -> None:
    """Raise `Refused` where `count` more VMs exceed the user's quota, when `leaving` others are gone."""
    if user.can_create_vms(count - leaving):
        return
    has = "you have" if user.username == actor else f"{user.username} has"
    more = "" if count == 1 else f", and {count} more are needed"
    used = user.used_vms - leaving
    raise Refused(f"Quota exceeded: {has} {used} of {user.quota_vms} VMs{more}; delete a slice first")


def visible(state: State, actor: str) -> list[Slice]:
    """Return the slices that a user may work on, oldest first; others are answered as if they did not exist."""
    return state.slices.of(_visible_ids(state, actor))


def permitted(state: State, actor: str, slice_id: int) -> Slice:
    """Return the slice if the user may work on it; raise `Refused` otherwise."""
    if _may_work_on(state, actor, state.slices.held(slice_id)):
        return state.slices[slice_id]
    listed = ", ".join(map(str, _visible_ids(state, actor)))
    raise Refused(f"You have no slice {slice_id}; your slices: {listed or 'none yet, create one first'}")


def find(state: State, actor: str, word: str) -> Slice:
    """Return the slice with this id, this exact name, or the only one whose name begins so; raise `Refused` otherwise.

    They are tried in this order, each time first among the slices that the user owns.
    """
    require_user(state, actor)
    slices = {slice_.slice_id: slice_ for slice_ in visible(state, actor)}
    found = _meant(word, slices)
    found = {slice_id: slice_ for slice_id, slice_ in found.items() if slice_.owner == actor} or found
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise Refused(f"{word} may be any of these slices: {_listed(found)}; use an id")
    raise Refused(f"You have no slice {word}; your slices: {_listed(slices) or 'none yet, create one first'}")


def find_vm(slice_: Slice, word: str) -> VM:
    """Return the VM of a slice with this id, this exact name, or the only one whose name begins so.

    Raise `Refused` otherwise.
    """
    vms = {vm.vm_id: vm for vm in slice_.vms}
    found = _meant(word, vms)
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise Refused(f"{word} may be any of these VMs: {_listed(found)}; use an id")
    raise Refused(f"Slice {slice_.slice_id} has no VM {word}; its VMs: {_listed(vms) or 'none yet, add one first'}")


def find_vm_of_all(slices: Sequence[Slice], word: str, actor: str, first: int) -> VM:
    """Return the VM that a word means among those of several slices, as `find_vm` does.

    The slice `first` is tried before the user's own ones, and these before the others. Raise `Refused` where the word
    means none, or several.
    """
    own = [slice_ for slice_ in slices if slice_.owner == actor]
    for some in ([slice_ for slice_ in slices if slice_.slice_id == first], own, slices):
        found = _meant(word, {vm.vm_id: vm for slice_ in some for vm in slice_.vms})
        if len(found) == 1:
            return next(iter(found.values()))
        if found:
            raise Refused(f"{word} may be any of these VMs: {_listed(found)}; use an id")
    vms = {vm.vm_id: vm for slice_ in slices for vm in slice_.vms}
    raise Refused(f"You have no VM {word}; your VMs: {_listed(vms) or 'none yet, add one first'}")


def _meant(word: str, by_id: Mapping[int, N]) -> dict[int, N]:
    """Return the objects with this id, else those with this name, else those whose name begins so."""
    named = {number: each for number, each in by_id.items() if each.name and word}
    alike = (
        {number: each for number, each in by_id.items() if str(number) == word},
        {number: each for number, each in named.items() if each.name == word},
        {number: each for number, each in named.items() if each.name.startswith(word)},
    )
    return next(filter(None, alike), {})


def _listed(by_id: Mapping[int, _Named]) -> str:
    """Return ids and names of objects, as many as a reader of a sentence wants."""
    named = [f"{number} ({each.name})" if each.name else str(number) for number, each in by_id.items()]
    more = f" and {len(named) - _MOST_LISTED} more" if len(named) > _MOST_LISTED else ""
    return ", ".join(named[:_MOST_LISTED]) + more


def _visible_ids(state: State, actor: str) -> list[int]:
    """Return the ids of the slices that a user may work on, in their order."""
    user = state.users.get(actor)
    if user is None:
        return []
    return sorted(state.slices if user.role == ADMIN else user.slices)


def _may_work_on(state: State, actor: str, holdings: Holdings | None) -> bool:
    """Return whether a user may work on a slice, decided by holdings alone."""
    user = state.users.get(actor)
    return user is not None and holdings is not None and user.may_work_on(holdings)


def may_take_over(state: State, actor: str, slice_: Slice) -> bool:
    """Return whether the user may end another user's visit at a console: the owner and every admin may."""
    return user_of(state, actor).may_work_on(slice_)


def editable(state: State, actor: str, slice_id: int) -> Slice:
    """Return the slice if the user may work on it and edit it; raise `Refused` otherwise."""
    slice_ = permitted(state, actor, slice_id)
    require_editable(slice_)
    return slice_


def require_editable(slice_: Slice) -> None:
    """Raise `Refused` where the status of the slice forbids to edit it."""
    if slice_.status == SliceStatus.RUNNING:
        require_settled(slice_)
        if lost := next((vm for vm in slice_.vms if vm.lost_with), None):
            raise Refused(f"{lost.name} was lost with {lost.lost_with}; repair slice {slice_.slice_id} first")
        return
    _require_design(slice_)
    if slice_.left and not pending(slice_):
        name = f"Slice {slice_.slice_id}"
        raise Refused(f"{name} has things left on a host that did not answer; deploy or delete it first")


def require_deployable(slice_: Slice) -> None:
    """Raise `Refused` unless the slice is in design and has VMs, each with a base image."""
    if slice_.status == SliceStatus.RUNNING:
        raise Refused("Slice already running")
    _require_design(slice_)
    if not slice_.vms:
        raise Refused(f"Slice {slice_.slice_id} has no VMs; add one first")
    without_image = ", ".join(vm.name for vm in slice_.vms if vm.image is None)
    if without_image:
        raise Refused(
            f"No base image is recorded for {without_image}; delete slice {slice_.slice_id} and create it again"
        )


def require_running(slice_: Slice) -> None:
    """Raise `Refused` unless the slice runs, so that it can be repaired."""
    if slice_.status == SliceStatus.DESIGN:
        raise Refused(f"Slice {slice_.slice_id} is in design; only a running slice is repaired: deploy it")
    if slice_.status != SliceStatus.RUNNING:
        _require_design(slice_)
    require_settled(slice_)


def require_deployed(slice_: Slice) -> None:
    """Raise `Refused` unless the slice is deployed, so that its VMs can be switched."""
    if slice_.status == SliceStatus.DESIGN:
        raise Refused(f"Slice {slice_.slice_id} is in design; deploy it first")
    if slice_.status != SliceStatus.RUNNING:
        _require_design(slice_)
    _require_one_design(slice_)


def way_to_run(slice_: Slice) -> str:
    """Return the verb of the action that makes a VM of the slice run."""
    return "repair" if slice_.status == SliceStatus.RUNNING else "deploy"


def way_to_start(slice_: Slice, vm: VM) -> str:
    """Return the sentence that starts a VM which is off, with its command."""
    return f"start it: start {slice_.slice_id} {word_for(vm)}"


def word_for(vm: VM) -> str:
    """Return the word by which commands find a VM: its name, or its id where the name would be an option."""
    return str(vm.vm_id) if vm.name.startswith("-") else vm.name


def running_vm(state: State, actor: str, slice_id: int, vm_id: int) -> tuple[Slice, VM]:
    """Return a running VM of a slice that the user may work on, and the slice; raise `Refused` otherwise."""
    slice_ = permitted(state, actor, slice_id)
    vm = slice_.vm(vm_id)
    if vm is None:
        raise Refused(f"Slice {slice_id} has no VM {vm_id}; show {slice_id} lists its VMs")
    require_runs(slice_, vm)
    return slice_, vm


def require_runs(slice_: Slice, vm: VM) -> None:
    """Raise `Refused` where the VM is stopped, or not started yet."""
    if vm.stopped:
        raise Refused(f"VM {vm.vm_id} ({vm.name}) is stopped; {way_to_start(slice_, vm)}")
    if vm.status != VMStatus.RUNNING:
        way = f"{way_to_run(slice_)} slice {slice_.slice_id} first"
        raise Refused(f"VM {vm.vm_id} ({vm.name}) is not running; {way}")


def off_by_itself(slice_: Slice, vm: VM) -> Refused:
    """Return the refusal for a VM that should run and is off."""
    return Refused(f"VM {vm.vm_id} ({vm.name}) is off; {way_to_start(slice_, vm)}")


def require_unfinished(slice_: Slice) -> None:
    """Raise `Refused` unless a change of the slice was interrupted."""
    if not is_unfinished(slice_):
        raise Refused(f"Slice {slice_.slice_id} is {slice_.status}: another session has finished it meanwhile")


def _require_design(slice_: Slice) -> None:
    if slice_.status != SliceStatus.DESIGN:
        advice = (
            "delete it again" if slice_.status == SliceStatus.DELETING else "log in again to finish it or take it back"
        )
        raise Refused(f"Slice {slice_.slice_id} is in the middle of {slice_.status}; {advice}")


def check_name(what: str, name: str) -> None:
    """Raise `Refused` unless slices and VMs may have this name; `what` is the kind of object in the sentence."""
    if not is_valid_name(name):
        raise Refused(f"A {what} name is 1 to {MAX_NAME_LENGTH} letters, digits, hyphens and underscores")


def check_new_name(name: str, what: str = "slice") -> None:
    """Raise `Refused` unless a new slice or VM may have this name, in a slice file, too."""
    check_name(what, name)
    if not name[0].isalpha():
        raise Refused(f"The name of a new {what} begins with a letter")


def pending(slice_: Slice) -> list[VM]:
    """Return the VMs that are still being added."""
    return [vm for vm in slice_.vms if vm.status == VMStatus.PENDING]


def require_quota_for_pending(state: State, slice_: Slice) -> None:
    """Raise `Refused` where VMs were being added in the place of others, and have no room beside these."""
    if (vms := pending(slice_)) and not user_of(state, slice_.owner).can_create_vms(0):
        commands = " and ".join(f"remove-vm {slice_.slice_id} {word_for(vm)}" for vm in vms)
        raise Refused(
            f"Quota exceeded: {', '.join(vm.name for vm in vms)} were being added in the place of VMs that are still "
            f"there; log in again to take it back; commands: so does {commands}"
        )


def require_complete(slice_: Slice) -> None:
    """Raise `Refused` where VMs are still being added, or a change of the running slice was not finished."""
    if names := ", ".join(vm.name for vm in pending(slice_)):
        way_out = "if no other session is adding it, log in again to finish it or take it back"
        commands = f"so do deploy {slice_.slice_id}, and remove-vm {slice_.slice_id} {word_for(pending(slice_)[0])}"
        raise Refused(f"Slice {slice_.slice_id} is getting a new VM ({names}); {way_out}; {commands}")
    _require_one_design(slice_)


def _require_one_design(slice_: Slice) -> None:
    """Raise `Refused` where a change of VMs and links of a running slice was not finished."""
    if slice_.before:
        way_out = "log in again to finish it" + ("" if slice_.before.past else " or take it back")
        raise Refused(f"Slice {slice_.slice_id}: a change of its VMs and links was not finished; {way_out}")


def require_settled(slice_: Slice) -> None:
    """Raise `Refused` where a change of power, or of VMs and links, was not finished."""
    _require_one_design(slice_)
    if begun := unfinished_power(slice_):
        only_forward = any(vm.restoring for vm in slice_.vms)
        way_out = f"log in again to finish it{'' if only_forward else ' or take it back, or repeat it'}"
        raise Refused(f"Slice {slice_.slice_id}: {begun} was not finished; {way_out}")


def switchable(slice_: Slice, vm_ids: Collection[int]) -> list[VM]:
    """Return the VMs with these ids, or all of the slice; raise `Refused` where one is missing or lost."""
    for vm_id in vm_ids:
        find_vm(slice_, str(vm_id))
    vms = [vm for vm in slice_.vms if not vm_ids or vm.vm_id in vm_ids]
    if lost := next((vm for vm in vms if vm.lost_with or vm.worker_ip == NOWHERE), None):
        raise Refused(f"{lost.name} was lost with {lost.lost_with}; repair slice {slice_.slice_id} first")
    return vms


def unfinished_power(slice_: Slice) -> str:
    """Return the changes of power that were not finished, with their VMs: "a reset of r1, a start of r2"."""
    begun: dict[str, list[str]] = {}
    for vm in switching(slice_):
        begun.setdefault(vm.unfinished, []).append(vm.name)
    return ", ".join(f"a {verb} of {' and '.join(names)}" for verb, names in begun.items())


def switching(slice_: Slice) -> list[VM]:
    """Return the VMs with an unfinished change of power."""
    return [vm for vm in slice_.vms if vm.status_before]


def goes_only_forward(slice_: Slice) -> bool:
    """Return whether an unfinished change cannot be rolled back, because disks may be gone."""
    is_past = slice_.before is not None and slice_.before.past
    return slice_.status == SliceStatus.DELETING or is_past or any(vm.restoring for vm in slice_.vms)


def is_unfinished(slice_: Slice) -> bool:
    """Return whether a change of the slice was begun and not finished."""
    unfinished = {SliceStatus.CREATING, SliceStatus.DEPLOYING, SliceStatus.DELETING}
    return slice_.status in unfinished or bool(slice_.before or pending(slice_) or switching(slice_))
