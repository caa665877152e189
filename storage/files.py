"""Files that several processes share: held under a lock, replaced in one piece."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from errors import Refused

POLL_S = 0.01


@contextmanager
def locked(path: Path, wait_s: float, busy: str, *, remove: bool = False) -> Iterator[None]:
    """Hold the lock file `path`, against other processes and other threads; `Refused(busy)` after `wait_s` seconds.

    The kernel releases it when the process dies. `remove` takes the file away afterwards.
    """
    try:
        descriptor = _acquire(path, wait_s)
    except OSError as error:
        raise Refused(f"{path} cannot be locked ({error.strerror}): check the rights of its folder") from error
    if descriptor is None:
        raise Refused(busy)
    try:
        yield
    finally:
        if remove:
            with suppress(OSError):  # while it is still held; see `_acquire`. A file that stays is no lock.
                path.unlink()
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock file `path`, this process included."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Refused(f"{path} cannot be opened ({error.strerror}): check its rights") from error
    try:
        return not _try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def replace(path: Path, content: bytes, like: os.stat_result) -> None:
    """Put `content` at `path`, with mode and owner of `like`: at every moment the old or the new file is there, whole.

    The temporary file has a fixed name, so that a killed process leaves one at most; callers hold a lock.
    """
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with suppress(PermissionError):  # only root gives files away; without it the file is ours, as it must be
                os.fchown(descriptor, like.st_uid, like.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(like.st_mode))
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        fresh.replace(path)
    finally:
        with suppress(OSError):
            fresh.unlink()
    with suppress(OSError):  # the file is in place by now; a filesystem without this call must not make it a failure
        _sync_folder(path.parent)


def _acquire(path: Path, wait_s: float) -> int | None:
    deadline = time.monotonic() + wait_s
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # The holder may have removed the file after we opened it: a lock on that one excludes nobody.
            if _try_lock(descriptor, fcntl.LOCK_EX) and _is_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if time.monotonic() >= deadline:
            return None
        time.sleep(POLL_S)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
