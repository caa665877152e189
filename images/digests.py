"""The SHA-256 of image files, kept in a file beside the database: reading a large image takes seconds.

The file is a cache. One that cannot be read counts as empty, and one that cannot be written is not missed.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from core.errors import Refused
from storage.files import locked, replace

_BLOCK = 1 << 20
_WAIT_S = 1.0
_BUSY = "another session writes it"


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


class Digests:
    """The digests of files, kept at `path` with the rights of `like`."""

    def __init__(self, path: Path, like: Path) -> None:
        self._path = path
        self._like = like

    def of(self, files: Iterable[Path]) -> dict[Path, str]:
        """Return the digest of each file that can be read; only changed files are read again."""
        known, found = self._kept(), {}
        for file in files:
            with suppress(OSError):
                version = _version(file)
                if not version:
                    continue
                kept = known.get(str(file), "").rpartition(" ")
                found[file] = f"{version} {kept[2] if kept[0] == version else digest_of(file)}"
        fresh = {str(file): line for file, line in found.items()}
        if fresh != known:
            self._keep(fresh)
        return {file: line.rpartition(" ")[2] for file, line in found.items()}

    def _kept(self) -> dict[str, str]:
        with suppress(OSError, ValueError):
            record = json.loads(self._path.read_text(encoding="utf-8"))
            if isinstance(record, dict) and all(isinstance(line, str) for line in record.values()):
                return record
        return {}

    def _keep(self, lines: dict[str, str]) -> None:
        lock = self._path.with_name(f"{self._path.name}.lock")
        with suppress(OSError, Refused), locked(lock, self._like, _WAIT_S, _BUSY, remove=True):
            replace(self._path, json.dumps(lines, indent=1).encode(), self._like.stat())


def _version(file: Path) -> str:
    """Return the words that change with the content of a file; none for a pipe or a device."""
    found = file.stat()
    if not stat.S_ISREG(found.st_mode):
        return ""
    return " ".join(map(str, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)))
