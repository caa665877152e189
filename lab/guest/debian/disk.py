"""A tree of files becomes a disk that boots by BIOS: GRUB, one partition, ext4. Nothing is mounted."""

from __future__ import annotations

import struct
from pathlib import Path

from lab.command import run
from lab.errors import LabError

GRUB_IMAGES = Path("/usr/lib/grub/i386-pc")
GRUB_MODULES = ("biosdisk", "part_msdos", "ext2", "normal", "linux", "echo", "test")
SECTOR = 512
# The partition begins at 1 MiB, as everywhere; GRUB is in front of it.
FIRST_SECTOR = 2048
BOOT_CODE_BYTES = 440
PARTITION_TABLE = 446
LINUX_PARTITION = 0x83
BOOTABLE = 0x80
# Cylinder, head and sector of a disk that is addressed by sector numbers alone.
NO_CYLINDERS = b"\xfe\xff\xff"


def write(tree: Path, raw: Path, megabytes: int, early: Path) -> None:
    """Write the tree as a raw disk; `early` is GRUB's first configuration, which finds the partition."""
    core = raw.with_name("core.img")
    # GRUB finds its files by that configuration; the prefix is only asked for.
    run(["grub-mkimage", "-O", "i386-pc", "-o", core, "-p", "/boot/grub", "-c", early, *GRUB_MODULES])
    with raw.open("wb") as file:
        file.truncate(megabytes << 20)
    # Without lazy initialization the guest need not write to its overlay what is zero anyway.
    options = f"offset={FIRST_SECTOR * SECTOR},lazy_itable_init=0,lazy_journal_init=0"
    run(["mke2fs", "-q", "-t", "ext4", "-L", "root", "-E", options, "-d", tree, raw, f"{(megabytes - 1) << 10}k"])
    with raw.open("r+b") as file:
        file.write(boot_area((GRUB_IMAGES / "boot.img").read_bytes(), core.read_bytes(), megabytes << 11))


def boot_area(boot: bytes, core: bytes, sectors: int) -> bytes:
    """Return the first sectors of the disk: GRUB's boot code, the partition table, and GRUB's core from sector 1.

    Both images of GRUB expect the core there when no installer has told them of another place.
    """
    if len(core) > (FIRST_SECTOR - 1) * SECTOR:
        raise LabError(f"GRUB's core has {len(core)} bytes: more than there is room for in front of a partition")
    partition = struct.pack(
        "<B3sB3sII", BOOTABLE, NO_CYLINDERS, LINUX_PARTITION, NO_CYLINDERS, FIRST_SECTOR, sectors - FIRST_SECTOR
    )
    code = boot[:BOOT_CODE_BYTES].ljust(PARTITION_TABLE, b"\0")
    return code + partition.ljust(SECTOR - PARTITION_TABLE - 2, b"\0") + b"\x55\xaa" + core
