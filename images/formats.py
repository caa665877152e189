"""The format of an image file, read from its bytes, which QEMU would guess.

A guest writes what it likes onto its disk, also the header of another format. So a raw image is one only where its
bytes say nothing else, and the ending of a file's name must not contradict its bytes.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from core.errors import Refused

HEAD_BYTES = 0x8001 + 5
"""Bytes from the beginning of a file that tell its format: the mark of a CD image comes last."""

TAIL_BYTES = 512
"""Bytes from the end of a file: some formats have their header there."""

SECTOR = 512


class Format(Enum):
    """The formats of files that can become base images."""

    QCOW2 = "qcow2"
    RAW = "raw"
    XZ = "xz"
    GZIP = "gzip"
    BZIP2 = "bzip2"

    @property
    def is_packed(self) -> bool:
        """Return whether the file must be unpacked first."""
        return self not in {Format.QCOW2, Format.RAW}


class _Mark(NamedTuple):
    """The bytes that a format has at an offset; a negative one counts from the end of the file."""

    offset: int
    content: bytes


_DISKS = (_Mark(510, b"\x55\xaa"), _Mark(0x8001, b"CD001"))
"""The boot signature of a disk, and the mark of a CD (ISO 9660): a raw image has one of them."""

_TAKEN = {
    Format.QCOW2: _Mark(0, b"QFI\xfb"),
    Format.XZ: _Mark(0, b"\xfd7zXZ\0"),
    Format.GZIP: _Mark(0, b"\x1f\x8b"),
    Format.BZIP2: _Mark(0, b"BZh"),
}
_IMAGES = {
    "vmdk": (_Mark(0, b"KDMV"), _Mark(0, b"COWD"), _Mark(0, b"# Disk DescriptorFile")),
    "vdi": (_Mark(64, b"\x7f\x10\xda\xbe"),),
    "vhdx": (_Mark(0, b"vhdxfile"),),
    "vpc": (_Mark(0, b"conectix"), _Mark(-512, b"conectix")),
    "dmg": (_Mark(-512, b"koly"),),
    "parallels": (_Mark(0, b"WithoutFreeSpace"), _Mark(0, b"WithouFreSpacExt")),
    "qed": (_Mark(0, b"QED\0"),),
}
"""Image formats that are not taken, by the name that qemu-img(1) has for them."""

_OTHERS = {
    "packed with zip; unpack it first": (_Mark(0, b"PK\x03\x04"),),
    "packed with zstd; unpack it first": (_Mark(0, b"\x28\xb5\x2f\xfd"),),
    "packed with 7-Zip; unpack it first": (_Mark(0, b"7z\xbc\xaf\x27\x1c"),),
    "an archive (tar); unpack it first": (_Mark(257, b"ustar"),),
    "an encrypted disk (LUKS), and no guest has its key": (_Mark(0, b"LUKS\xba\xbe"),),
}

_ENDINGS = {".qcow2": Format.QCOW2, ".qcow": Format.QCOW2, ".raw": Format.RAW, ".xz": Format.XZ, ".gz": Format.GZIP}
_ENDINGS |= {".bz2": Format.BZIP2, ".iso": Format.RAW}


class Ends(NamedTuple):
    """The beginning of a file, its end and its size in bytes."""

    head: bytes
    tail: bytes
    size: int

    def has(self, mark: _Mark) -> bool:
        """Return whether the file has the bytes of a format."""
        offset, content = mark
        if offset < 0:
            start = len(self.tail) + offset
            return start >= 0 and self.tail[start : start + len(content)] == content
        return self.head[offset : offset + len(content)] == content


def format_of(label: str, ends: Ends) -> Format:
    """Return the format of a file by its bytes; raise `Refused` for one that cannot become a base image.

    `label` is the file's path, which the sentence names.
    """
    for taken, mark in _TAKEN.items():
        if ends.has(mark):
            return _agreed(label, taken)
    for name, marks in _IMAGES.items():
        if any(map(ends.has, marks)):
            raise Refused(
                f"{label} is a {name} image, and only qcow2 and raw ones are taken; make one of it: "
                f"qemu-img convert -f {name} -O qcow2 {label} NEW.qcow2"
            )
    for meaning, marks in _OTHERS.items():
        if any(map(ends.has, marks)):
            raise Refused(f"{label} is {meaning}")
    if not any(map(ends.has, _DISKS)):
        raise Refused(
            f"{label} is no image of a disk: it has no header of qcow2, and no boot signature as a raw disk has; "
            "was the download complete?"
        )
    if ends.size % SECTOR:
        raise Refused(f"{label} is no whole raw disk: {ends.size} bytes are no number of sectors; download it again")
    return _agreed(label, Format.RAW)


def _agreed(label: str, found: Format) -> Format:
    """Return the format, unless the ending of the name says another one: then one of both is wrong."""
    ending = label[label.rfind(".") :].lower()
    named = _ENDINGS.get(ending, found)
    if named is not found:
        raise Refused(
            f"{label} is named {ending}, and its bytes are those of a {found.value} file; rename it if it is one, and "
            "its source is known"
        )
    return found


def base_name(source: str) -> str:
    """Return the usual name of the base image that is made of a file: without `.xz`, `.qcow2` for `.raw` or `.iso`."""
    stem, dot, ending = source.rpartition(".")
    if dot and _ENDINGS.get(f".{ending.lower()}", Format.RAW).is_packed:
        return base_name(stem)
    if dot and ending.lower() in {"raw", "iso", "qcow", "qcow2"}:
        return f"{stem}.qcow2"
    return source
