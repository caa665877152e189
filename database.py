"""`database.yaml`: read, checked, locked, and replaced in one piece (docs/decisions/one-file.md).

Several processes and threads may use one file. Every change is a read-modify-write under a short lock. The right to
change the hosts of one slice is a separate lock, because a deployment takes long.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from allocation.ids import next_vm_id
from core.errors import FileFault
from core.inventory import Inventory
from core.rule import Broken
from storage.files import is_locked, locked, replace, require_replaceable
from storage.state import SECTIONS, Entries, State
from storage.text import Unreadable
from storage.version import Version

__all__ = ["Database", "State"]

LOCK_WAIT_S = 60.0
CLAIM_WAIT_S = 0.2
"""Longer than another session needs to ask `is_claimed`."""

MAX_BYTES = 32 << 20
"""The size of a file with about 40,000 VMs. A larger file would keep the manager busy for minutes."""
RESERVE = 5
"""1 part in 2 ** `RESERVE` of `MAX_BYTES` is reserved for changes that add nothing, such as a deletion."""


_Signature = tuple[int, ...]


class Database:
    """A `database.yaml`. Each problem with it raises `Refused`, with the name of the file and the next step."""

    def __init__(self, path: str | Path = "database.yaml") -> None:
        self.path = Path(path)
        self._file = Path(os.path.realpath(path))  # a symbolic link stays one when the file behind it is replaced
        self.previous = self.beside("previous")
        """The version before the last change."""
        self._lock = self.beside("lock")
        self._known: Version | None = None
        self._writer: int | None = None

    @property
    def inventory(self) -> Inventory:
        """Return hosts and settings of the last read. Running work does not fail when the file is broken meanwhile."""
        return (self._known.state() if self._known else self.load()).inventory

    def load(self) -> State:
        """Return the present state, in objects that only the caller has."""
        version, _ = self._read()
        return version.state()

    @contextmanager
    def transaction(self) -> Iterator[State]:
        """Yield the state under the lock. The changes of the body are saved at its end, and dropped when it raises."""
        if self._writer == threading.get_ident():
            message = "a transaction inside a transaction would wait for itself"
            raise RuntimeError(message)
        busy = f"The database has been locked by another session for {LOCK_WAIT_S:.0f} s; try again when it is done"
        with locked(self._lock, self._file, LOCK_WAIT_S, busy) as is_alone:
            self._writer = threading.get_ident()
            try:
                version, signature = self._read()
                state = version.state()
                yield state
                after = self._after(version, state)
                if after is not version:
                    self._require_room(state, len(after.content))
                    self._save(after, signature, is_alone)
            finally:
                self._writer = None

    def get_next_vm_id(self) -> int:
        """Take the next id of the counter that VMs and slices share."""
        with self.transaction() as state:
            vm_id = next_vm_id(state.next_vm_id, state.slices.holdings.values())
            state.next_vm_id = vm_id + 1
            return vm_id

    def claim(self, slice_id: int) -> AbstractContextManager[object]:
        """Hold the exclusive right to change a slice on the hosts; raise `Refused` while another session has it."""
        busy = f"Slice {slice_id} is being worked on by another session; try again when it is done"
        return locked(self._claim_file(slice_id), self._file, CLAIM_WAIT_S, busy, remove=True)

    def claim_measuring(self, wait_s: float) -> AbstractContextManager[object]:
        """Hold the right to measure the workers; `Refused` where another session still has it after `wait_s` seconds.

        The kernel releases it when the session dies.
        """
        busy = "The workers are being measured by another session; try again when it is done"
        return locked(self.beside("workers.lock"), self._file, wait_s, busy, remove=True)

    def claim_proof(self, username: str) -> AbstractContextManager[object]:
        """Hold the account's right to prove isolation; `Refused` while another session of it proves."""
        busy = f"Another session of {username} proves isolation just now; try again when it is done"
        return locked(self.beside(f"proof-{username}.lock"), self._file, CLAIM_WAIT_S, busy, remove=True)

    def claim_images(self) -> AbstractContextManager[object]:
        """Hold the right to bring base images to workers and to remove them; `Refused` while another session has it."""
        busy = "Base images are being brought to workers or removed by another session; try again when it is done"
        return locked(self._images_claim, self._file, CLAIM_WAIT_S, busy, remove=True)

    def images_are_claimed(self) -> bool:
        """Return whether a session, also this one, brings base images to workers or removes them."""
        return is_locked(self._images_claim)

    def is_claimed(self, slice_id: int) -> bool:
        """Return whether a session, also this one, is changing the slice on the hosts."""
        return is_locked(self._claim_file(slice_id))

    def beside(self, suffix: str) -> Path:
        """Return the path `<database>.<suffix>` of a file beside the database."""
        return self._file.with_name(f"{self._file.name}.{suffix}")

    @property
    def _images_claim(self) -> Path:
        return self.beside("images.lock")

    def _claim_file(self, slice_id: int) -> Path:
        return self.beside(f"slice-{slice_id}.lock")

    def _read(self) -> tuple[Version, _Signature]:
        """Return the present version and its signature, which shows a later change of the file."""
        try:
            content, signature = self._content()
        except FileNotFoundError:
            raise FileFault(
                f"{self.path} does not exist: name the database with --database, or put a copy of the shipped one there"
                f"{self._way_back()}"
            ) from None
        except OSError as error:
            raise FileFault(f"{self.path} cannot be read ({error.strerror}): check its rights") from error
        known = self._known
        if known and known.content == content:
            return known, signature
        try:
            version = _read(content, known)
            self._require_whole(version)
        except Unreadable as fault:
            way_back = self._way_back() if fault.go_back else ""
            raise FileFault(f"{self.path}, line {fault.line}: {fault}{way_back}") from fault
        self._known = version
        return version, signature

    def _content(self) -> tuple[bytes, _Signature]:
        if not stat.S_ISREG(self._file.stat().st_mode):  # opening a FIFO would wait for ever
            raise FileFault(f"{self.path} is not a file: name the database with --database")
        with self._file.open("rb") as file:
            found = os.fstat(file.fileno())  # before it is read: a change meanwhile is one after it
            size = min(found.st_size, MAX_BYTES)
            content = file.read(size + 1)  # with room for no more, as that takes longer than reading
            if len(content) > size:  # it has grown
                content += file.read(MAX_BYTES - size)
            return content, _signature(found)

    def _require_whole(self, version: Version) -> None:
        """Raise `Unreadable` where a file that was saved before has the first sections only: it has lost its end."""
        there = tuple(section for section in version.there if section in SECTIONS)
        if there != SECTIONS and there == SECTIONS[: len(there)] and self.previous.exists():
            raise Unreadable(f"ends after {there[-1]}, it was cut off", version.content.count(b"\n") + 1)

    def _way_back(self) -> str:
        """Return how to restore the previous version, or nothing where that is missing or broken."""
        try:
            with self.previous.open("rb") as file:
                _read(file.read(MAX_BYTES + 1))
        except (OSError, Unreadable):
            return ""
        return f"; to go back to the version before the last change: cp {self.previous} {self._file}"

    def _after(self, version: Version, state: State) -> Version:
        try:
            return version.after(state)
        except Broken as fault:
            raise FileFault(f"{self.path} was not changed, the new state would be wrong: {fault}") from fault

    def _require_room(self, state: State, size: int) -> None:
        """Raise `FileFault` where the file would be too large; what deleting a slice writes has room always."""
        if size > (MAX_BYTES - (MAX_BYTES >> RESERVE) if _adds(state) else MAX_BYTES):
            raise FileFault(f"{self.path} would outgrow {MAX_BYTES >> 20} MiB, nothing was saved: delete slices")

    def _save(self, after: Version, signature: _Signature, is_alone: Callable[[], bool]) -> None:
        """Replace the version with this signature by the one `after` it; it is good, and becomes the previous one."""

        def last_look() -> None:
            if not is_alone():
                raise FileFault(f"{self._lock} was removed by another program just now; nothing was saved, try again")
            if _signature(self._file.stat()) != signature:
                raise FileFault(f"{self.path} was changed by another program just now; nothing was saved, try again")

        try:
            like = self._file.stat()
            require_replaceable(self._file, like, self.previous)
            replace(self._file, after.content, like, last_look, self.previous)
        except OSError as error:
            raise FileFault(
                f"{self.path} cannot be saved ({error.strerror}), it is as it was: check free space and rights in "
                f"{self._file.parent}"
            ) from error
        self._known = after


def _adds(state: State) -> bool:
    """Return whether there are users, slices, VMs or links that the file does not have."""
    slices, users = state.slices.entries, state.users
    if isinstance(users, Entries) and any(name in users and name not in users.kept for name in users.touched):
        return True
    for key in slices.touched:
        if key in slices:
            known = slices.kept[key].value if key in slices.kept else {}
            now = slices[key]
            if len(now.vms) > len(known.get("vms", ())) or len(now.links) > len(known.get("links", ())) or not known:
                return True
    return False


def _signature(found: os.stat_result) -> _Signature:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read(content: bytes, known: Version | None = None) -> Version:
    if len(content) > MAX_BYTES:
        raise Unreadable(f"has more than {MAX_BYTES >> 20} MiB, and no database is that large", 1)
    return Version.read(content, known)
