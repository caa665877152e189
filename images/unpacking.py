"""Copy an image file, unpacked on the way: at most so many bytes, with holes where it has only zeros."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

from core.errors import Refused
from images.formats import Format

_BLOCK = 1 << 18
_ZEROS = bytes(_BLOCK)

MOST_MEMORY = 256 << 20
"""Bytes that the decoder of xz may use; `xz -9` needs 65 MiB."""


class _Decoder(Protocol):
    """A decoder of one stream; a file may have several, one after the other."""

    @property
    def eof(self) -> bool:
        """Return whether the end of the stream was read."""

    @property
    def unused_data(self) -> bytes:
        """Return the bytes after the end of the stream."""

    @property
    def needs_input(self) -> bool:
        """Return whether no output is left of what was read."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return at most so many bytes of output."""


class _Gzip:
    """The decoder of gzip, with the methods of those of bzip2 and xz."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


_DECODERS: dict[Format, Callable[[], _Decoder]] = {
    Format.GZIP: _Gzip,
    Format.BZIP2: bz2.BZ2Decompressor,
    Format.XZ: lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_MEMORY),
}
_MAGICS = {Format.GZIP: b"\x1f\x8b", Format.BZIP2: b"BZh", Format.XZ: b"\xfd7zXZ\0"}


def copy(label: str, source: BinaryIO, target: BinaryIO, found: Format, most: int) -> None:
    """Write the content of `source` to `target`, unpacked where its format is a packed one.

    Raise `Refused` where it is damaged, or larger than `most` bytes; `label` is its path.
    """
    pieces = _unpacked(source, found) if found.is_packed else _read(source)
    size = 0
    try:
        for piece in pieces:
            size += len(piece)
            if size > most:
                raise Refused(f"{label} has more than {most / (1 << 30):g} GiB; images: largest_gb is the bound")
            if piece == _ZEROS[: len(piece)]:
                target.seek(size)
            else:
                target.write(piece)
        target.truncate(size)
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as fault:
        if isinstance(fault, OSError) and fault.errno is not None:  # a disk is at fault, not the file
            raise
        raise Refused(
            f"{label} cannot be unpacked ({str(fault) or type(fault).__name__}); download it again"
        ) from fault


def _read(source: BinaryIO) -> Iterator[bytes]:
    while piece := source.read(_BLOCK):
        yield piece


def _unpacked(source: BinaryIO, found: Format) -> Iterator[bytes]:
    """Yield the content of all streams. What follows the last one is left: OpenWrt signs its images there."""
    decoder, data = _DECODERS[found](), b""
    while True:
        if not data and decoder.needs_input:
            data = source.read(_BLOCK)
            if not data:
                raise EOFError("it ends too early")
        if piece := decoder.decompress(data, _BLOCK):
            yield piece
        data = b""
        if decoder.eof:
            data = decoder.unused_data.lstrip(b"\0") or source.read(_BLOCK).lstrip(b"\0")
            data += source.read(len(_MAGICS[found])) if data else b""
            if not data.startswith(_MAGICS[found]):
                return
            decoder = _DECODERS[found]()
