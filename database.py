"""`database.yaml`: read, checked, locked, and replaced in one piece (docs/decisions/one-file.md).

Several processes and threads may use one file. Every change is a read-modify-write under a short lock. The right to
change the hosts of one slice is a separate lock, because a deployment takes long.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

from core.errors import FileFault, Refused
from core.inventory import Inventory
from core.rule import Broken
from storage import act_files
from storage.acts import ActLine, KeptAct
from storage.files import create, is_locked, locked, replace, require_replaceable
from storage.location import Location
from storage.state import SECTIONS, Entries, State
from storage.store import Note, Store
from storage.text import Unreadable
from storage.version import Version

__all__ = ["Database", "State", "Store", "open_store"]

LOCK_WAIT_S = 60.0
LARGEST_NOTE = 1 << 20

MAX_BYTES = 32 << 20
"""The size of a file with about 40,000 VMs. A larger file would keep the manager busy for minutes."""
RESERVE = 5
"""1 part in 2 ** `RESERVE` of `MAX_BYTES` is reserved for changes that add nothing, such as a deletion."""


_Signature = tuple[int, ...]


class Database(Store):
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
                with self._as_fault():
                    after = version.after(state)
                if after is not version:
                    self._require_room(state, len(after.content))
                    self._save(after, signature, is_alone)
            finally:
                self._writer = None

    def create(self, state: State) -> None:
        """Write the file with a state as the first one; raise `Refused` where there is a file already."""
        with self._as_fault():
            content = Version.first(state).content
        self._require_room(state, len(content))
        try:
            create(self._file, content)
        except FileExistsError:
            raise Refused(f"{self.path} is there already; nothing was changed: name another file") from None
        except OSError as error:
            raise FileFault(f"{self.path} cannot be written ({error.strerror}): check its folder") from error

    def lock(self, name: str, wait_s: float, busy: str) -> AbstractContextManager[object]:
        """Hold the lock file `<database>.<name>.lock`; the kernel releases it when the process dies."""
        return locked(self._lock_file(name), self._file, wait_s, busy, remove=True)

    def is_locked(self, name: str) -> bool:
        """Return whether a session, also this one, holds the lock."""
        return is_locked(self._lock_file(name))

    @contextmanager
    def note(self, name: str, wait_s: float) -> Iterator[Note]:
        """Yield the file `<database>.<name>` under its lock, and replace it with what the body leaves in the note."""
        path = self.beside(name)
        # The lock is a separate file, and stays: replacing a locked file would admit the next process too early.
        with ExitStack() as held:
            try:
                held.enter_context(locked(self._lock_file(name), self._file, wait_s, f"{path.name} is locked"))
                note = Note(_note_in(path))
            except OSError as error:
                raise FileFault(f"{path} cannot be read ({error.strerror})") from error
            except Refused as refusal:
                raise FileFault(str(refusal)) from refusal
            try:
                yield note
            except Refused:
                with suppress(FileFault):  # a refusal goes on as it is
                    self._keep(path, note)
                raise
            self._keep(path, note)

    def _keep(self, path: Path, note: Note) -> None:
        try:
            replace(path, note.content or b"", self._file.stat())
        except OSError as error:
            raise FileFault(f"{path} cannot be written ({error.strerror})") from error

    def acting(self, begun: Callable[[], ActLine]) -> AbstractContextManager[None]:  # noqa: ARG002 - files know none
        """Run the body. The log is another file, so a change and its line are two steps."""
        return nullcontext()

    def write_act(self, act: ActLine, *, ends: bool = False) -> None:  # noqa: ARG002 - as above
        """Write a line into the files of the audit log."""
        act_files.write(self.path, act)

    def acts(self) -> Iterator[KeptAct]:
        """Yield the lines of the audit log's files, oldest first; raise `OSError` where they are unreadable."""
        return act_files.kept(self.path)

    def keep_acts(self, acts: Iterable[KeptAct]) -> None:
        """Write lines that another store has kept, into a log that no other process uses yet."""
        act_files.keep(self.path, acts)

    def beside(self, suffix: str) -> Path:
        """Return the path `<database>.<suffix>` of a file beside the database."""
        return self._file.with_name(f"{self._file.name}.{suffix}")

    def _lock_file(self, name: str) -> Path:
        return self.beside(f"{name}.lock")

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

    @contextmanager
    def _as_fault(self) -> Iterator[None]:
        try:
            yield
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


def open_store(location: Location) -> Store:
    """Return the store at a location. The driver of PostgreSQL is needed for its stores only."""
    if isinstance(location, Path):
        return Database(location)
    try:
        from storage.postgres.store import PostgresStore  # noqa: PLC0415
    except ImportError as error:
        if not (error.name or "psycopg").startswith("psycopg"):
            raise
        raise FileFault(
            "A PostgreSQL database needs the Python package psycopg, which is missing; install it with "
            "pip install --require-hashes -r requirements-postgres.lock"
        ) from error
    return PostgresStore(location)


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


def _note_in(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST_NOTE)
    except FileNotFoundError:
        return None


def _signature(found: os.stat_result) -> _Signature:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read(content: bytes, known: Version | None = None) -> Version:
    if len(content) > MAX_BYTES:
        raise Unreadable(f"has more than {MAX_BYTES >> 20} MiB, and no database is that large", 1)
    return Version.read(content, known)
