"""Choose the realm of a new slice: the one that its user names, or the first with a pool of VLANs and room for VMs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from allocation.ids import NoNumber
from allocation.placement import NoRoom, has_room
from core.errors import Refused
from core.names import MAIN
from database import State
from models import POOL_COUNT

T = TypeVar("T")


def names(state: State) -> list[str]:
    """Return the names of all realms; the first one, of the hosts at the top of the file, has the name ""."""
    return ["", *state.inventory.realms]


def candidates(state: State, wanted: str = "") -> Iterable[str]:
    """Return the realms for a new slice, the best one first: the one that is `wanted`, or all that have a free pool.

    Those without room for any VM come last.
    """
    if wanted:
        return [_named(state, wanted)]
    if not state.inventory.realms:
        return names(state)
    slices = state.slices.by_realm()
    return _roomy_first(state, [realm for realm in names(state) if slices[realm] < POOL_COUNT] or names(state))


def _roomy_first(state: State, realms: Iterable[str]) -> Iterator[str]:
    """Yield the realms, those without room for any VM last. Most callers need the first one only."""
    full = []
    for realm in realms:
        if _has_room(state, realm):
            yield realm
        else:
            full.append(realm)
    yield from full


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
