"""Make a small ISO 9660 volume (ECMA-119) of a few files. Equal files give equal bytes.

Names in lower case stand in Rock Ridge entries (RRIP 1.09 over SUSP). Programs that make such volumes write the present
time into them: no digest of theirs would tell whether a volume is still the right one.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from itertools import accumulate

BLOCK = 2048
_SYSTEM_AREA = 16
_DESCRIPTOR, _END, _PATHS, _PATHS_BIG, _ROOT, _DATA = range(_SYSTEM_AREA, _SYSTEM_AREA + 6)
"""The blocks of the volume: 16 empty ones, then one for each of these, then the files."""

_DATE = bytes((100, 1, 1, 0, 0, 0, 0))
"""The time of all files: the beginning of the year 2000."""

_NO_DATE = b"0" * 16 + b"\0"
_FOLDER, _FILE = 0o040555, 0o100444
_USES_ROCK_RIDGE = b"SP\x07\x01\xbe\xef\0" + b"ER" + bytes((18, 1, 10, 0, 0, 1)) + b"RRIP_1991A"


def volume(name: str, files: Mapping[str, bytes]) -> bytes:
    """Return a volume with these files in its root; raise `ValueError` where they are too many for it."""
    blocks = [-(-len(content) // BLOCK) for content in files.values()]
    places = list(accumulate(blocks, initial=_DATA))
    folder = _folder(files, places)
    if len(folder) > BLOCK:
        raise ValueError(f"{len(files)} files do not fit into one block of the volume's root")
    path = bytes((1, 0)) + struct.pack("<IH", _ROOT, 1) + b"\0\0"
    path_big = bytes((1, 0)) + struct.pack(">IH", _ROOT, 1) + b"\0\0"
    first = _descriptor(name, len(path), places[-1])
    parts = (first, b"\xffCD001\x01", path, path_big, folder, *files.values())
    return bytes(_SYSTEM_AREA * BLOCK) + b"".join(part + bytes(-len(part) % BLOCK) for part in parts)


def _descriptor(name: str, length_of_paths: int, blocks: int) -> bytes:
    """Return the primary volume descriptor (ECMA-119, 8.4)."""
    return b"".join((
        b"\x01CD001\x01\0",
        b" " * 32,
        name.encode("ascii").ljust(32),
        bytes(8),
        _both(blocks),
        bytes(32),
        _both16(1),
        _both16(1),
        _both16(BLOCK),
        _both(length_of_paths),
        struct.pack("<II", _PATHS, 0),
        struct.pack(">II", _PATHS_BIG, 0),
        _record(b"\0", _ROOT, BLOCK, is_folder=True),
        b" " * (4 * 128 + 3 * 37),
        _NO_DATE * 4,
        b"\x01",
    ))  # fmt: skip


def _folder(files: Mapping[str, bytes], places: list[int]) -> bytes:
    """Return the root: itself, its parent, which it is as well, and the files in the order of their identifiers."""
    posix = _posix(_FOLDER, links=2)
    own = _record(b"\0", _ROOT, BLOCK, _USES_ROCK_RIDGE + posix, is_folder=True)
    parent = _record(b"\1", _ROOT, BLOCK, posix, is_folder=True)
    records = {
        name: _record(
            _identifier(name), place, len(content), _posix(_FILE, links=1) + _alternate(name), is_folder=False
        )
        for (name, content), place in zip(files.items(), places, strict=False)
    }
    return own + parent + b"".join(records[name] for name in sorted(records, key=_identifier))


def _identifier(name: str) -> bytes:
    """Return the name for readers without Rock Ridge, such as Windows: in capitals. Hyphens stay."""
    return f"{name.upper()}.;1".encode("ascii")


def _record(name: bytes, place: int, size: int, system_use: bytes = b"", *, is_folder: bool) -> bytes:
    """Return the record of a file or folder (ECMA-119, 9.1), which has an even length."""
    flags = 2 if is_folder else 0
    middle = struct.pack("BBB", flags, 0, 0) + _both16(1) + bytes((len(name),)) + name
    pad = b"" if len(name) % 2 else b"\0"
    body = b"\0" + _both(place) + _both(size) + _DATE + middle + pad + system_use
    body += bytes((len(body) + 1) % 2)
    return bytes((len(body) + 1,)) + body


def _posix(mode: int, links: int) -> bytes:
    """Return the entry with the POSIX mode of a file that root owns (RRIP 4.1.1)."""
    return b"PX\x24\x01" + _both(mode) + _both(links) + _both(0) + _both(0)


def _alternate(name: str) -> bytes:
    """Return the entry with the POSIX name (RRIP 4.1.4)."""
    encoded = name.encode("ascii")
    return b"NM" + bytes((5 + len(encoded), 1, 0)) + encoded


def _both(number: int) -> bytes:
    """Return a number in both orders of its four bytes, as the standard wants it."""
    return struct.pack("<I", number) + struct.pack(">I", number)


def _both16(number: int) -> bytes:
    """Return a number in both orders of its two bytes."""
    return struct.pack("<H", number) + struct.pack(">H", number)
