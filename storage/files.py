"""Files that several processes share: held under a lock, replaced in one piece."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from core.errors import FileFault, Refused

POLL_S = 0.01


@contextmanager
def locked(path: Path, like: Path, wait_s: float, busy: str, *, remove: bool = False) -> Iterator[Callable[[], bool]]:
    """Hold the lock file `path` against other processes and threads; raise `Refused(busy)` after `wait_s` seconds.

    The kernel releases it when the process dies. A user who may write the file `like` may lock. `remove` deletes the
    lock file afterwards. Yield a function that returns whether the file still exists, because its deletion admits
    others.
    """
    try:
        descriptor = _acquire(path, like, wait_s)
    except OSError as error:
        raise FileFault(f"{path} cannot be locked ({error.strerror}): check its rights and its folder's") from error
    if descriptor is None:
        raise Refused(busy)
    try:
        yield lambda: _is(path, os.fstat(descriptor))
    finally:
        if remove:
            with suppress(OSError):  # while it is still held; see `_acquire`. A file that stays is no lock.
                if _is(path, os.fstat(descriptor)):  # else it is another's by now
                    path.unlink()
        _close(descriptor)


def is_locked(path: Path) -> bool:
    """Return whether a process, also this one, holds the lock file `path`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise FileFault(f"{path} cannot be opened ({error.strerror}): check its rights") from error
    try:
        return not _try_lock(descriptor, fcntl.LOCK_SH)
    except OSError as error:
        raise FileFault(f"{path} cannot be locked ({error.strerror}): check its rights") from error
    finally:
        _close(descriptor)


def create(path: Path, content: bytes) -> None:
    """Put `content` at `path`, whole, for its owner only; raise `FileExistsError` where there is a file."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        _write(fresh, content, None)
        os.link(fresh, path, follow_symlinks=False)
    finally:
        with suppress(OSError):
            fresh.unlink()
    with suppress(OSError):
        _sync_folder(path.parent)


def replace(
    path: Path,
    content: bytes,
    like: os.stat_result,
    last_look: Callable[[], None] = lambda: None,
    keep: Path | None = None,
) -> None:
    """Put `content` at `path`, with mode and owner of `like`: at every moment the old or the new file is there, whole.

    `last_look` is called when only names are left to change, and raises to prevent that. Afterwards the old file is at
    `keep`. A process that dies between the two renamings leaves both names on the old file until the next change: a
    write to one is then a write to the other. The temporary files have fixed names, so that a killed process leaves one
    of each at most; callers hold a lock.
    """
    fresh, second = _temporary(path), _temporary(keep or path)
    try:
        _write(fresh, content, like)
        last_look()
        if keep:
            if not _give_second_name(path, second):
                _write(second, path.read_bytes(), like)
                last_look()
            second.replace(keep)
        fresh.replace(path)
    finally:
        for name in (fresh, second):
            with suppress(OSError):
                name.unlink()
    with suppress(OSError):  # the file is in place by now; a filesystem without this call must not make it a failure
        _sync_folder(path.parent)


def _write(fresh: Path, content: bytes, like: os.stat_result | None) -> None:
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if like:
            with suppress(PermissionError):  # only root gives files away; without it the file is ours, as it must be
                os.fchown(descriptor, like.st_uid, like.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(like.st_mode))
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _give_second_name(path: Path, second: Path) -> bool:
    """Give the file a second name; return False where the file system, or the user's rights, allow no hard link."""
    try:
        second.unlink(missing_ok=True)
        second.hardlink_to(path)
    except OSError:  # a disk that is at fault fails at the copy, too
        return False
    return True


def _temporary(path: Path) -> Path:
    return Path(f"{path}.new")


def share(descriptor: int, like: Path) -> None:
    """Give an open file of ours the owner and rights of the file `like`: a file of root would lock out other users."""
    with suppress(OSError):  # other users may not change the owner; a missing database is refused by its reader
        wanted, found = like.stat(), os.fstat(descriptor)
        if (found.st_uid, found.st_gid) != (wanted.st_uid, wanted.st_gid):
            os.fchown(descriptor, wanted.st_uid, wanted.st_gid)
        mode = 0o600 | (wanted.st_mode & 0o060)
        if stat.S_IMODE(found.st_mode) != mode:
            os.fchmod(descriptor, mode)


def require_replaceable(path: Path, found: os.stat_result, kept: Path) -> None:
    """Raise `FileFault` where the file is protected from changes, or where a change would make two files of it.

    A process that died while it replaced the file left a second name at `kept`, which is allowed.
    """
    if not stat.S_IMODE(found.st_mode) & 0o222 or not os.access(path, os.W_OK):
        raise FileFault(f"{path} is read-only; nothing was saved: give yourself the right to write it")
    if found.st_nlink > 1 + sum(_is(name, found, follow=False) for name in (kept, _temporary(kept))):
        # The other name would go on with the old version, as a second database of the same hosts.
        raise FileFault(
            f"{path} has a second name (a hard link), which would not see the change; nothing was saved: make the "
            "other name a symbolic link, or a copy"
        )


def _acquire(path: Path, like: Path, wait_s: float) -> int | None:
    deadline = time.monotonic() + wait_s
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # The holder may have removed the file after we opened it: a lock on that file excludes no process.
            if _try_lock(descriptor, fcntl.LOCK_EX) and _is(path, os.fstat(descriptor)):
                share(descriptor, like)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if time.monotonic() >= deadline:
            return None
        time.sleep(POLL_S)


def _close(descriptor: int) -> None:
    """Let go of a lock; that it was closed counts also where the disk complains (close(2)), and nothing was written."""
    with suppress(OSError):
        os.close(descriptor)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is(path: Path, found: os.stat_result, *, follow: bool = True) -> bool:
    try:
        return os.path.samestat(path.stat(follow_symlinks=follow), found)
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
