"""A store: the state of a cloud, and what its sessions share. `database.yaml` is one, a PostgreSQL database another."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from allocation.ids import next_vm_id
from core.errors import Refused
from core.inventory import Inventory
from remote.plan import NO_FENCE
from storage.acts import ActLine, KeptAct
from storage.state import State

if TYPE_CHECKING:
    from remote.known_hosts import SharedKeys

IMAGES = "images"
"""The lock of base images, in the store and on hosts."""

CLAIM_WAIT_S = 0.2
"""Longer than another session needs to ask `is_claimed`."""


@dataclass
class Note:
    """A small record that sessions share, as bytes; None where there is none yet."""

    content: bytes | None


class Store(Protocol):
    """The state of a cloud, its locks and its notes. Each problem with it raises `Refused`, with the next step.

    `path` names the files that this manager has for itself: they are beside it (`beside`).
    """

    path: Path

    @property
    @abstractmethod
    def inventory(self) -> Inventory:
        """Return hosts and settings of the last read. Running work does not fail when the store is lost meanwhile."""

    @abstractmethod
    def load(self) -> State:
        """Return the present state, in objects that only the caller has.

        A store may read a slice of it later, as it is then.
        """

    def load_whole(self) -> State:
        """Return the present state with all slices, as one and the same change left them."""
        return self.load()

    @abstractmethod
    def transaction(self) -> AbstractContextManager[State]:
        """Yield the state under the lock. The changes of the body are saved at its end, and dropped when it raises."""

    @abstractmethod
    def create(self, state: State) -> None:
        """Save a state as the first one; raise `Refused` where the store has one already."""

    @abstractmethod
    def lock(self, name: str, wait_s: float, busy: str) -> AbstractContextManager[object]:
        """Hold a lock against all other sessions; raise `Refused(busy)` after `wait_s` seconds.

        It is released when the process dies.
        """

    def next_fence(self, name: str) -> int:  # noqa: ARG002 - for stores with fences
        """Return the fence of a lock that was just taken."""
        return NO_FENCE

    def raise_fences(self, seen: Mapping[str, int]) -> None:  # noqa: ARG002 - as above
        """Let the next fence of each lock be higher than the one that hosts have seen."""
        raise Refused("This database has one manager, whose changes end with it, so hosts compare no fences")

    @abstractmethod
    def is_locked(self, name: str) -> bool:
        """Return whether a session, also this one, holds the lock."""

    def warning(self) -> str:
        """Return a sentence for operators if changes that were saved can be lost, or an empty string."""
        return ""

    @property
    def shared_keys(self) -> SharedKeys | None:
        """Return the host keys that the managers of this store share; None where it has one manager, with its file."""
        return None

    @abstractmethod
    def note(self, name: str, wait_s: float) -> AbstractContextManager[Note]:
        """Yield a note under its lock. The body's change is saved at its end, also when it raises.

        Raise `FileFault` where the note cannot be locked, read or saved.
        """

    @abstractmethod
    def acting(self, begun: Callable[[], ActLine]) -> AbstractContextManager[None]:
        """Run the body as one act: a store with transactions writes `begun` together with its first change."""

    @abstractmethod
    def write_act(self, act: ActLine, *, ends: bool = False) -> None:
        """Write a line of the audit log, or count it in an equal one; raise `OSError` or `CloudError` otherwise.

        `ends`: it is about the act under way, and replaces the line that its first change wrote.
        """

    @abstractmethod
    def acts(self) -> Iterator[KeptAct]:
        """Yield the lines of the audit log, oldest first."""

    @abstractmethod
    def keep_acts(self, acts: Iterable[KeptAct]) -> None:
        """Write lines that another store has kept, oldest first."""

    @abstractmethod
    def beside(self, suffix: str) -> Path:
        """Return the path `<path>.<suffix>` of a file that this manager has for itself."""

    def get_next_vm_id(self) -> int:
        """Take the next id of the counter that VMs and slices share."""
        with self.transaction() as state:
            vm_id = next_vm_id(state.next_vm_id, state.slices.taken)
            state.next_vm_id = vm_id + 1
            return vm_id

    @contextmanager
    def claim(self, slice_id: int) -> Iterator[int]:
        """Hold the exclusive right to change a slice on the hosts; raise `Refused` while another session has it.

        Yield the claim's fence: each later claim of the slice has a higher one, and hosts refuse lower ones. It is
        `NO_FENCE` where a store has one manager, whose claims end with it.
        """
        busy = f"Slice {slice_id} is being worked on by another session; try again when it is done"
        with self.lock(claim_name(slice_id), CLAIM_WAIT_S, busy):
            yield self.next_fence(claim_name(slice_id))

    def claim_measuring(self, wait_s: float) -> AbstractContextManager[object]:
        """Hold the right to measure the workers; raise `Refused` while another has it, after `wait_s` seconds."""
        busy = "The workers are being measured by another session; try again when it is done"
        return self.lock("workers", wait_s, busy)

    def claim_proof(self, username: str) -> AbstractContextManager[object]:
        """Hold the account's right to prove isolation; `Refused` while another session of it proves."""
        busy = f"Another session of {username} proves isolation just now; try again when it is done"
        return self.lock(f"proof-{username}", CLAIM_WAIT_S, busy)

    @contextmanager
    def claim_images(self) -> Iterator[int]:
        """Hold the right to bring base images to workers and to remove them; `Refused` while another session has it.

        Yield its fence, as `claim` does.
        """
        busy = "Base images are being brought to workers or removed by another session; try again when it is done"
        with self.lock(IMAGES, CLAIM_WAIT_S, busy):
            yield self.next_fence(IMAGES)

    def images_are_claimed(self) -> bool:
        """Return whether a session, also this one, brings base images to workers or removes them."""
        return self.is_locked(IMAGES)

    def is_claimed(self, slice_id: int) -> bool:
        """Return whether a session, also this one, is changing the slice on the hosts."""
        return self.is_locked(claim_name(slice_id))


def claim_name(slice_id: int) -> str:
    """Return the name of the lock that changes of a slice hold, in the store and on hosts."""
    return f"slice-{slice_id}"
