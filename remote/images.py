"""The header of a qcow2 file (docs/interop/qcow2.txt of QEMU), read before the file is copied."""

from __future__ import annotations

import math
import os
import stat
import struct
from contextlib import suppress

from core.errors import Refused

HEADER_BYTES = 80
"""Length up to the incompatible features of version 3; a header of version 2 is shorter, with clusters after it."""

_MAGIC = b"QFI\xfb"
_VERSION_AND_BACKING_FILE = struct.Struct(">4xIQ")
_ENCRYPTION = struct.Struct(">32xI")
_FEATURES = struct.Struct(">72xQ")
_EXTERNAL_DATA = 1 << 2

_SIZE = slice(24, 32)
"""Position of the virtual size in bytes, big-endian (docs/interop/qcow2.txt of QEMU)."""

_MIB = 1 << 20


def fault_of(source: str, header: bytes) -> str:
    """Return why a file with this header is no base image, and what to do, as a sentence; empty where it may be one."""
    if len(header) < HEADER_BYTES or not header.startswith(_MAGIC):
        made = f"python3 cli.py image add {source}"
        return f"The image {source} is not a qcow2 file; make one of it and name that one in the flavor: {made}"
    version, backing_file = _VERSION_AND_BACKING_FILE.unpack_from(header)
    features = _FEATURES.unpack_from(header)[0] if version > 2 else 0
    if backing_file or features & _EXTERNAL_DATA:
        made = f"qemu-img convert -f qcow2 -O qcow2 {source} IMAGE.qcow2"
        return (
            f"The image {source} names another file as a part of it; if both files are yours, make one of them and "
            f"name that one: {made}"
        )
    if _ENCRYPTION.unpack_from(header)[0]:
        return f"The image {source} is encrypted, and no worker has its key; take one that is not"
    return ""


def virtual_size(path: str) -> int | None:
    """Return the virtual size of a qcow2 file in bytes; None where it cannot be read on this machine."""
    with suppress(OSError):
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # without O_NONBLOCK a FIFO would block
        try:
            header = os.pread(file, _SIZE.stop, 0) if stat.S_ISREG(os.fstat(file).st_mode) else b""
        finally:
            os.close(file)
        if header.startswith(_MAGIC) and len(header) == _SIZE.stop:
            return int.from_bytes(header[_SIZE], "big")
    return None


def require_fitting(image: str, flavor_name: str, disk_gb: float) -> None:
    """Raise `Refused` where the image is larger than its flavor's disk, because overlays are never cut.

    An image that is missing on this machine may be on the workers, where it is checked, too.
    """
    size, disk_mib = virtual_size(image), math.ceil(disk_gb * 1024)
    if size is not None and size > disk_mib * _MIB:
        raise Refused(
            f"The image {image} is a disk of {-(-size // _MIB)} MiB, and flavor {flavor_name} has {disk_mib} MiB: "
            "have the operator raise its disk_gb, or shrink the image"
        )
