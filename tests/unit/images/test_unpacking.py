"""Files are unpacked as their programs do it, up to a bound, with holes for zeros."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Refused
from images.formats import Format
from images.unpacking import copy

MIB = 1 << 20
PACK: dict[Format, Callable[[bytes], bytes]] = {
    Format.GZIP: gzip.compress,
    Format.BZIP2: bz2.compress,
    Format.XZ: lzma.compress,
    Format.RAW: bytes,
    Format.QCOW2: bytes,
}
PACKED = [found for found in Format if found.is_packed]


def unpacked(content: bytes, found: Format, most: int = 64 * MIB) -> bytes:
    with tempfile.TemporaryFile() as target:  # trailing zeros are a hole, which a BytesIO has not
        copy("a", io.BytesIO(content), target, found, most)
        target.seek(0)
        return target.read()


@settings(deadline=None)
@given(st.sampled_from(list(Format)), st.lists(st.tuples(st.binary(max_size=300), st.integers(0, 3000)), max_size=3))
def test_what_was_packed_comes_out(found: Format, parts: list[tuple[bytes, int]]) -> None:
    content = b"".join(block * times for block, times in parts)
    assert unpacked(PACK[found](content), found) == content


@pytest.mark.parametrize("found", PACKED)
def test_a_file_of_several_streams_is_unpacked_whole(found: Format) -> None:
    pack = PACK[found]
    assert (
        unpacked(pack(b"one" * 1000) + pack(b"two") + bytes(16) + pack(b"three"), found) == b"one" * 1000 + b"twothree"
    )


@pytest.mark.parametrize("found", PACKED)
def test_what_follows_the_last_stream_is_left(found: Format) -> None:
    """OpenWrt signs its packed images there."""
    assert unpacked(PACK[found](b"image") + b'{"metadata_version": "1.1"}', found) == b"image"


@pytest.mark.parametrize("found", PACKED)
def test_a_bomb_is_refused_at_the_bound(found: Format, tmp_path: Path) -> None:
    bomb = PACK[found](bytes(32 * MIB))
    assert len(bomb) < MIB // 16
    with (tmp_path / "target").open("wb") as target, pytest.raises(Refused, match=r"has more than 0.00390625 GiB"):
        copy("a", io.BytesIO(bomb), target, found, 4 * MIB)
    assert (tmp_path / "target").stat().st_blocks == 0


@pytest.mark.parametrize("found", PACKED)
@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:20] + b"xxxx" + data[24:]])
def test_a_damaged_file_is_refused(found: Format, damage: Callable[[bytes], bytes]) -> None:
    content = bytes(range(256)) * 20
    with pytest.raises(Refused, match=r"^a cannot be unpacked \(.+\); download it again$"):
        unpacked(damage(PACK[found](content)), found)


def test_a_decoder_of_xz_that_needs_much_memory_is_refused() -> None:
    wide = {"id": lzma.FILTER_LZMA2, "dict_size": 512 * MIB, "mode": lzma.MODE_FAST, "mf": lzma.MF_HC3, "nice_len": 3}
    content = lzma.compress(b"image", filters=[wide])
    with pytest.raises(Refused, match="Memory usage limit"):
        unpacked(content, Format.XZ)


def test_zeros_become_holes(tmp_path: Path) -> None:
    with (tmp_path / "target").open("wb") as target:
        copy("a", io.BytesIO(b"x" + bytes(8 * MIB)), target, Format.RAW, 64 * MIB)
    found = (tmp_path / "target").stat()
    assert found.st_size == 8 * MIB + 1
    assert found.st_blocks * 512 < MIB
