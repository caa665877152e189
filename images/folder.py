"""The manager's folder of base images: a file gets its name there when it is whole, and replaces no other file."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from core.errors import Refused, printable
from core.inventory import ImageSettings
from core.names import is_image_name
from images import qemu_img, unpacking
from images.digests import digest_of
from images.formats import HEAD_BYTES, TAIL_BYTES, Ends, Format, base_name, format_of
from remote.images import HEADER_BYTES, fault_of, virtual_size

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_WORKPLACE = ".adding-"

LARGEST_DISK = 16 << 40
"""Bytes of the largest disk that a flavor can have."""


@dataclass(frozen=True)
class Made:
    """A base image that is whole and checked, before or after it got its name; sizes in bytes."""

    path: Path
    made_of: Format
    size: int
    virtual_size: int
    sha256: str


class Folder:
    """The manager's folder of base images, as the settings name it."""

    def __init__(self, settings: ImageSettings) -> None:
        self.path = Path(settings.folder).expanduser()
        self._most = int(settings.largest_gb * (1 << 30))

    def file(self, name: str) -> Path:
        """Return the path of the base image with this name."""
        return self.path / name

    @property
    def names(self) -> list[str]:
        """Return the names of the files in the folder, without hidden ones."""
        with suppress(OSError):
            return sorted(entry.name for entry in os.scandir(self.path) if entry.is_file() and entry.name[0] != ".")
        return []

    def add(self, source: Path, name: str, *, only_check: bool = False) -> Made:
        """Make a base image of a file, give it its name and return it; `only_check` leaves nothing behind.

        Raise `Refused` where the file cannot become one, or its name is taken.
        """
        target = self.file(name)
        require_name(name)
        self._require_free(target)
        with _opened(source) as file, self._workplace() as place:
            copy, found = self._copied(file, source, place)
            if found is Format.RAW:
                image = place / "image.qcow2"
                qemu_img.convert_raw(copy, image, str(source))
                copy.unlink()
                copy = image
            made = _checked(copy, str(source), target, found)
            if not only_check:
                self._give_name(copy, target)
            return made

    def remove(self, name: str) -> None:
        """Remove a base image."""
        try:
            self.file(name).unlink()
        except FileNotFoundError:
            return
        except OSError as fault:
            raise Refused(
                f"{self.file(name)} cannot be removed ({fault.strerror}): check its folder's rights"
            ) from fault

    def _copied(self, file: int, source: Path, place: Path) -> tuple[Path, Format]:
        """Copy a file, unpacked, into the workplace; return the copy and its format: qcow2 or raw."""
        copy = place / "copy"
        try:
            found = format_of(str(source), _ends(file))
            with os.fdopen(os.dup(file), "rb") as content, copy.open("wb") as target:
                unpacking.copy(str(source), content, target, found, self._most)
        except OSError as fault:
            raise Refused(f"{source} cannot be copied to {self.path}: {fault.strerror}") from fault
        label = str(source.with_suffix("")) if found.is_packed else str(source)
        with _opened(copy) as written:  # the source may have been changed meanwhile
            inside = format_of(label, _ends(written))
        if inside.is_packed:
            raise Refused(f"{source} is packed twice; unpack it first")
        return copy, inside

    def _require_free(self, target: Path) -> None:
        if os.path.lexists(target):
            raise Refused(
                f"{target} is there already, and disks may be built on it; give this image another name (--name), or "
                f"remove that one first: cli.py image remove {target.name}"
            )

    @contextmanager
    def _workplace(self) -> Iterator[Path]:
        """Yield a new folder for an image that is being made. A folder that a dead process left is removed."""
        with ExitStack() as held:
            try:
                self.path.mkdir(mode=0o755, parents=True, exist_ok=True)
                _require_own(self.path)
                with _locked(self.path):
                    self._tidy()
                    place = Path(tempfile.mkdtemp(prefix=_WORKPLACE, dir=self.path))
                    held.enter_context(_locked(place))
            except OSError as fault:
                raise Refused(f"{self.path} cannot be used ({fault.strerror}); check images: folder") from fault
            held.callback(shutil.rmtree, place, ignore_errors=True)
            yield place

    def _tidy(self) -> None:
        """Remove the folders of processes that died; a living one holds the lock of its folder."""
        for left in self.path.glob(f"{_WORKPLACE}*"):
            with suppress(OSError), _locked(left, fcntl.LOCK_EX | fcntl.LOCK_NB):
                shutil.rmtree(left)

    def _give_name(self, image: Path, target: Path) -> None:
        """Give an image its name once it is on the disk; link(2) never replaces a file."""
        try:
            image.chmod(0o644)
            _sync(image)
            target.hardlink_to(image)
            image.unlink()
            _sync(self.path)
        except FileExistsError:
            self._require_free(target)
        except OSError as fault:
            raise Refused(f"{target} cannot be written ({fault.strerror})") from fault


def require_name(name: str) -> None:
    """Raise `Refused` unless a base image can have this name, here and on workers."""
    if not _NAME.fullmatch(name) or not is_image_name(name):
        raise Refused(
            f"{printable(name)!r} cannot be the name of a base image: 1 to 100 letters, digits and . _ + -, the first "
            "a letter or digit"
        )


def usual_name(source: Path, given: str = "") -> str:
    """Return the name of the base image that is made of a file: `given`, or that of the file."""
    return given or base_name(source.name)


def _checked(image: Path, label: str, target: Path, found: Format) -> Made:
    with image.open("rb") as file:
        fault = fault_of(label, file.read(HEADER_BYTES))
    if fault:
        raise Refused(fault)
    qemu_img.require_whole(image, label)
    size = virtual_size(str(image)) or 0
    if not 0 < size <= LARGEST_DISK:
        raise Refused(f"{label} is a disk of {size} bytes; a guest's has 1 byte to {LARGEST_DISK >> 40} TiB")
    return Made(target, found, image.stat().st_size, size, digest_of(image))


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Yield the descriptor of a regular file; no other kind is waited for."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as fault:
        raise Refused(f"{path} cannot be read ({fault.strerror}); name a file that you may read") from fault
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise Refused(f"{path} is not a file; name an image file")
        yield file
    finally:
        os.close(file)


def _ends(file: int) -> Ends:
    size = os.fstat(file).st_size
    return Ends(os.pread(file, HEAD_BYTES, 0), os.pread(file, TAIL_BYTES, max(size - TAIL_BYTES, 0)), size)


def _require_own(folder: Path) -> None:
    """Raise `Refused` where another user could change images in the folder, as one in /tmp may be another's."""
    found = folder.stat()
    if found.st_uid not in {0, os.geteuid()} or stat.S_IMODE(found.st_mode) & 0o022:
        raise Refused(
            f"{folder} can be changed by other users of this machine; make it yours (chown, chmod 755), or set "
            "images: folder"
        )


@contextmanager
def _locked(folder: Path, kind: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Hold the lock of a folder, which the kernel releases when this process dies."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, kind)
        yield
    finally:
        os.close(lock)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
