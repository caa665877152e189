from __future__ import annotations

import struct

import pytest

from lab.errors import LabError
from lab.guest.debian import disk

BOOT = b"B" * 512
CORE = b"C" * 140_000
SECTORS = 1024 << 11


def test_the_first_sector_is_boot_code_with_one_bootable_partition_to_the_end() -> None:
    area = disk.boot_area(BOOT, CORE, SECTORS)
    assert area[:440] == BOOT[:440]
    assert area[510:512] == b"\x55\xaa"
    active, _, kind, _, first, count = struct.unpack("<B3sB3sII", area[446:462])
    assert (active, kind, first, first + count) == (0x80, 0x83, 2048, SECTORS)
    assert area[462:510] == bytes(48), "no other partitions"


def test_grub_s_core_begins_at_sector_1_and_ends_in_front_of_the_partition() -> None:
    area = disk.boot_area(BOOT, CORE, SECTORS)
    assert area[512:] == CORE
    with pytest.raises(LabError, match="more than there is room for"):
        disk.boot_area(BOOT, b"C" * (2047 * 512 + 1), SECTORS)
