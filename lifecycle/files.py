"""The folder of slice files that the operator opens to users (`files_dir`): its names, and the text of a file.

Users must reach no other file of the manager through it. So names have no `/`, no link is followed, and only regular
files are read.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from core.errors import Refused, printable
from topology.document import MAX_BYTES

MOST_NAMES = 1000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.ya?ml")


def file_names(folder: str) -> list[str]:
    """Return the names of the slice files directly in a folder; raise `Refused` where it cannot be read."""
    try:
        with os.scandir(Path(folder).expanduser()) as found:
            names = [each.name for each in found if _NAME.fullmatch(each.name) and each.is_file(follow_symlinks=False)]
    except (OSError, RuntimeError) as fault:
        raise _unreadable("The folder of slice files", fault) from fault
    return sorted(names)[:MOST_NAMES]


def text_of(folder: str, name: str) -> str:
    """Return the text of a slice file of a folder; raise `Refused` with what to do."""
    if not _NAME.fullmatch(name):
        raise Refused(f"{printable(name)} is no name of a slice file here; choose one of the list")
    try:
        content = _content(Path(folder).expanduser() / name, name)
        return content.decode("utf-8-sig")
    except (OSError, RuntimeError) as fault:
        raise _unreadable(name, fault) from fault
    except UnicodeDecodeError as fault:
        raise Refused(f"{name} is not UTF-8 text; tell the operator") from fault


def _content(path: Path, name: str) -> bytes:
    """Return the content of a regular file. A pipe in its place is opened without a wait."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor has no path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Refused(f"{name} is no regular file; choose another one")
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise Refused(f"{name} is larger than {MAX_BYTES >> 10} KiB; choose another one")
    return content


def _unreadable(what: str, fault: Exception) -> Refused:
    reason = fault.strerror if isinstance(fault, OSError) else "it has no home folder"
    return Refused(f"{what} cannot be read ({reason}); tell the operator, who sets `files_dir`")
