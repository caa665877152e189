"""The header of a qcow2 file (docs/interop/qcow2.txt): what is no base image is known before it is copied. Pure."""

from __future__ import annotations

import struct

HEADER_BYTES = 80
"""Up to the incompatible features of version 3; the shorter header of version 2 has clusters behind it."""

_MAGIC = b"QFI\xfb"
_VERSION_AND_BACKING_FILE = struct.Struct(">4xIQ")
_FEATURES = struct.Struct(">72xQ")
_EXTERNAL_DATA = 1 << 2


def fault_of(source: str, header: bytes) -> str:
    """Return why a file that begins so is no base image, and what to do, as a sentence; empty where it may be one."""
    made = f"qemu-img convert -O qcow2 {source} IMAGE.qcow2"
    if len(header) < HEADER_BYTES or not header.startswith(_MAGIC):
        return f"The image {source} is not a qcow2 file; make one of it and name that one in the flavor: {made}"
    version, backing_file = _VERSION_AND_BACKING_FILE.unpack_from(header)
    features = _FEATURES.unpack_from(header)[0] if version > 2 else 0
    if backing_file or features & _EXTERNAL_DATA:
        return f"The image {source} names another file as a part of it; make one of both and name that one: {made}"
    return ""
