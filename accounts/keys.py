"""The use-cases of a user's public keys, which go into the user's VMs."""

from __future__ import annotations

import builtins
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from accounts import rights
from accounts.use_cases import UseCase, UseCases
from core.errors import Refused
from core.ssh_keys import BadKeyError, PublicKey, kept_public_key, read_public_key
from core.status import SliceStatus
from database import State
from machines.seed import takes_seed
from models import MAX_KEYS, User

_NOT_STARTED = (SliceStatus.CREATING, SliceStatus.DESIGN)


@dataclass(frozen=True)
class KeyChange:
    """A key that was added or removed, and the VMs that know of it after a reset only, each as slice/VM."""

    key: PublicKey
    after_reset: tuple[str, ...]


class PublicKeys(UseCases):
    """The public keys of users. A VM takes them at its first boot; one that has booted keeps what it has."""

    @UseCase()
    def list(self, actor: str) -> builtins.list[PublicKey]:
        """Return the user's keys in the order of their numbers."""
        return [kept_public_key(line) for line in rights.user_of(self._database.load(), actor).keys]

    @UseCase()
    def check(self, actor: str, text: str) -> KeyChange:
        """Return what adding a key would do; raise `Refused` where it cannot be added."""
        return _add(self._database.load(), actor, text)

    @UseCase("add key")
    def add(self, actor: str, text: str) -> KeyChange:
        """Add the public key of a text to the user's keys."""
        with self._database.transaction() as state:
            return _add(state, actor, text)

    @UseCase()
    def check_removal(self, actor: str, number: int) -> KeyChange:
        """Return what removing a key would do; raise `Refused` where there is none with this number."""
        return _remove(self._database.load(), actor, number)

    @UseCase("remove key")
    def remove(self, actor: str, number: int) -> KeyChange:
        """Remove the user's key with this number, from 1 on."""
        with self._database.transaction() as state:
            return _remove(state, actor, number)


def opening_keys(users: Iterable[User]) -> Iterator[tuple[str, PublicKey]]:
    """Yield each key with its user. A key that several users have opens no account."""
    keys = [(user.username, kept_public_key(line)) for user in users for line in user.keys]
    owners = Counter(data for _, data in {(username, key.data) for username, key in keys})
    return ((username, key) for username, key in keys if owners[key.data] == 1)


def _add(state: State, actor: str, text: str) -> KeyChange:
    """Add a key to a user of `state`."""
    try:
        key = read_public_key(text)
    except BadKeyError as fault:
        raise Refused(f"This is no key for your VMs: {fault}") from None
    keys = rights.user_of(state, actor).keys
    for number, line in enumerate(keys, start=1):
        if kept_public_key(line).is_same(key):
            raise Refused(f"You have this key already: it is number {number}")
    if any(kept_public_key(line).is_same(key) for user in state.users.values() for line in user.keys):
        raise Refused(
            "Another account has this key, and a key belongs to one: make a pair of your own with ssh-keygen -t ed25519"
        )
    if len(keys) >= MAX_KEYS:
        raise Refused(f"You have {len(keys)} keys, and at most {MAX_KEYS} are allowed; remove one first")
    keys.append(str(key))
    return KeyChange(key, _after_reset(state, actor))


def _remove(state: State, actor: str, number: int) -> KeyChange:
    """Remove a key of a user of `state`."""
    keys = rights.user_of(state, actor).keys
    if not 1 <= number <= len(keys):
        known = "you have no keys yet" if not keys else f"your keys have the numbers 1 to {len(keys)}"
        raise Refused(f"You have no key {number}; {known}")
    return KeyChange(kept_public_key(keys.pop(number - 1)), _after_reset(state, actor))


def _after_reset(state: State, actor: str) -> tuple[str, ...]:
    owned = state.slices.of(rights.user_of(state, actor).slices)
    return tuple(
        f"{slice_.name or slice_.slice_id}/{vm.name}"
        for slice_ in owned
        if slice_.status not in _NOT_STARTED
        for vm in slice_.vms
        if takes_seed(vm)
    )
