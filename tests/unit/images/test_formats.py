"""The format of a file is read from its bytes, and its name must not contradict them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Refused
from images.formats import HEAD_BYTES, SECTOR, TAIL_BYTES, Ends, Format, base_name, format_of

BOOT = bytes(510) + b"\x55\xaa"


def ends(content: bytes) -> Ends:
    return Ends(content[:HEAD_BYTES], content[-TAIL_BYTES:], len(content))


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.qcow2", b"QFI\xfb" + bytes(508), Format.QCOW2),
        ("cirros.img", b"QFI\xfb" + bytes(508), Format.QCOW2),
        ("a.raw", BOOT, Format.RAW),
        ("a.img", BOOT, Format.RAW),
        ("a", BOOT, Format.RAW),
        ("debian.iso", bytes(0x8001) + b"CD001" + bytes(506), Format.RAW),
        ("a.img.gz", b"\x1f\x8b\x08", Format.GZIP),
        ("a.raw.XZ", b"\xfd7zXZ\0", Format.XZ),
        ("a.img.bz2", b"BZh9", Format.BZIP2),
    ],
)
def test_bytes_tell_the_format(name: str, content: bytes, found: Format) -> None:
    assert format_of(f"/srv/{name}", ends(content)) is found


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"KDMV" + bytes(508), r"is a vmdk image.*: qemu-img convert -f vmdk -O qcow2 /srv/a.img NEW.qcow2$"),
        (b'# Disk DescriptorFile\nversion=1\nRW 1 FLAT "/etc/passwd" 0', "is a vmdk image"),
        (bytes(64) + b"\x7f\x10\xda\xbe" + bytes(444), "is a vdi image"),
        (b"vhdxfile" + bytes(504), "is a vhdx image"),
        (BOOT + b"conectix" + bytes(504), "is a vpc image"),
        (BOOT + b"koly" + bytes(508), "is a dmg image"),
        (b"PK\x03\x04" + bytes(508), "is packed with zip; unpack it first$"),
        (bytes(257) + b"ustar" + bytes(250), "is an archive"),
        (b"LUKS\xba\xbe" + bytes(506), "is an encrypted disk"),
        (b"", "is no image of a disk"),
        (b"<html>404 not found</html>", "is no image of a disk"),
        (bytes(1 << 20), "is no image of a disk"),
        (BOOT + b"x", "is no whole raw disk: 513 bytes"),
    ],
)
def test_a_file_that_is_not_taken_is_refused_with_its_format(content: bytes, words: str) -> None:
    with pytest.raises(Refused, match=words):
        format_of("/srv/a.img", ends(content))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("disk.raw", b"QFI\xfb" + bytes(508), "is named .raw, and its bytes are those of a qcow2 file"),
        ("disk.qcow2", BOOT, "is named .qcow2, and its bytes are those of a raw file"),
        ("disk.xz", b"QFI\xfb" + bytes(508), "is named .xz, and its bytes are those of a qcow2 file"),
    ],
)
def test_a_raw_file_that_pretends_to_be_qcow2_is_refused(name: str, content: bytes, words: str) -> None:
    with pytest.raises(Refused, match=words):
        format_of(name, ends(content))


@given(st.binary(max_size=2 * SECTOR))
def test_any_bytes_have_a_format_or_a_sentence(content: bytes) -> None:
    try:
        said = format_of("a.img", ends(content)).value
    except Refused as refusal:
        said = str(refusal).partition(" is ")[0]
    assert said in {"a.img", *(found.value for found in Format)}


@given(st.binary(min_size=506, max_size=506))
def test_no_raw_disk_begins_like_another_format(content: bytes) -> None:
    assert format_of("a.img", ends(b"QFI\xfb" + content + b"\x55\xaa")) is not Format.RAW


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("debian-12.qcow2", "debian-12.qcow2"),
        ("debian-12.raw", "debian-12.qcow2"),
        ("FreeBSD-14.qcow2.xz", "FreeBSD-14.qcow2"),
        ("FreeBSD-14.raw.XZ", "FreeBSD-14.qcow2"),
        ("openwrt-combined.img.gz", "openwrt-combined.img"),
        ("cirros-0.6.2-x86_64-disk.img", "cirros-0.6.2-x86_64-disk.img"),
        ("virtio-win.iso", "virtio-win.qcow2"),
        ("disk", "disk"),
    ],
)
def test_the_usual_name_of_a_base_image_is_that_of_the_file(source: str, name: str) -> None:
    assert base_name(source) == name
