"""Choose the realm of a new slice: the one that its user names, or the first with a pool of VLANs and room for VMs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from allocation.ids import NoNumber
from allocation.placement import NoRoom, has_room
from core.errors import Refused
from core.names import MAIN
from database import State

T = TypeVar("T")


def names(state: State) -> list[str]:
    """Return the names of all realms; the first one, of the hosts at the top of the file, has the name ""."""
    return ["", *state.inventory.realms]


def candidates(state: State, wanted: str = "") -> list[str]:
    """Return the realms for a new slice: the one that is `wanted`, or all, those without room for any VM last."""
    if wanted:
        return [_named(state, wanted)]
    if not state.inventory.realms:
        return names(state)
    return sorted(names(state), key=lambda realm: not _has_room(state, realm))


def first_that_takes(realms: Iterable[str], make: Callable[[str], T]) -> T:
    """Return what `make` makes in the first realm that has free numbers and room.

    Raise the refusal of the first one without room, because workers that are measured again may have some.
    """
    refusals: list[Refused] = []
    for realm in realms:
        try:
            return make(realm)
        except (NoNumber, NoRoom) as error:
            refusals.append(error)
    raise next((each for each in refusals if isinstance(each, NoRoom)), refusals[0])


def _named(state: State, wanted: str) -> str:
    if wanted == MAIN:
        return ""
    if wanted not in state.inventory.realms:
        raise Refused(f"There is no realm {wanted}; there are {', '.join((MAIN, *state.inventory.realms))}")
    return wanted


def _has_room(state: State, realm: str) -> bool:
    """Return whether the smallest flavor would find a worker, by what the file says of workers."""
    inventory = state.inventory.of_realm(realm)
    size = min((flavor.size for flavor in state.all_flavors.values()), key=lambda size: (size.ram_gb, size.cores))
    known = (state.workers[address] for address in inventory.workers_list if address in state.workers)
    return any(worker.up and has_room(worker, size, inventory) for worker in known)
