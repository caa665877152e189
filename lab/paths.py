"""The paths of the lab, and the owner of its files."""

from __future__ import annotations

import fcntl
import os
import pwd
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError

ROOT = Path(__file__).resolve().parent.parent
LAB_DIR_VARIABLE = "CLOUD_LAB_DIR"
CACHE_VARIABLE = "CLOUD_LAB_CACHE"
# sudo replaces PATH by its secure_path, but the command of `lab run` is searched in the caller's PATH.
CALLER_PATH_VARIABLE = "CLOUD_LAB_CALLER_PATH"


def lab_dir() -> Path:
    """Return the folder that holds one folder per lab."""
    return Path(os.environ.get(LAB_DIR_VARIABLE) or ROOT / ".lab").resolve()


def lab_folder(name: str) -> Path:
    """Return the folder of the lab of that name; raise LabError for a name that could lead out of it."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", name):
        raise LabError(f"a lab's name is lower-case letters, digits and dashes, not {name!r}")
    return lab_dir() / name


def cache_dir() -> Path:
    """Return the folder of built guest images, which outlives every lab."""
    return Path(os.environ.get(CACHE_VARIABLE) or ROOT / ".cache" / "guest").resolve()


@dataclass(frozen=True)
class Caller:
    """The user who called the program: the one behind sudo, else root."""

    uid: int
    gid: int
    name: str
    home: str

    def own(self, *paths: Path) -> None:
        """Make the caller the owner of these files or folders."""
        for path in paths:
            os.chown(path, self.uid, self.gid)

    def environment(self) -> dict[str, str]:
        """Return the caller's environment before sudo replaced its names."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SUDO_")}
        path = kept.pop(CALLER_PATH_VARIABLE, None)
        if path:
            kept["PATH"] = path
        return {**kept, "HOME": self.home, "USER": self.name, "LOGNAME": self.name}


def caller() -> Caller:
    """Return the caller from SUDO_UID and SUDO_GID, which sudo sets (sudo(8))."""
    uid = int(os.environ.get("SUDO_UID", "0"))
    account = pwd.getpwuid(uid)
    return Caller(uid, int(os.environ.get("SUDO_GID", account.pw_gid)), account.pw_name, account.pw_dir)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of this folder; create it for the caller if it is missing."""
    for missing in [parent for parent in (folder.parent, folder) if not parent.exists()]:
        missing.mkdir(parents=True)
        caller().own(missing)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
