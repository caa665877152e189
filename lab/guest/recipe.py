"""The recipe of the guest image: kernel, busybox and the files of rootfs/ become a bootable qcow2 image."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

from lab.command import run
from lab.guest import kernel

HERE = Path(__file__).parent
# The image is one FAT16 filesystem; the rest of an overlay is free for `disktest`.
IMAGE_MEGABYTES = 32
FOLDERS = ["bin", "sbin", "usr/bin", "usr/sbin", "proc", "sys", "dev", "run", "tmp", "root", "etc", "lib/modules"]
EXECUTABLE = ("etc/acpi/PWRF/00000080", "etc/rc", "etc/udhcpc.script", "usr/bin/disktest")


def build(folder: Path) -> Path:
    """Build the image in its own folder and return its path there."""
    fetched = kernel.fetch(folder)
    initrd = _pack(_make_root(folder / "root", fetched), folder / "initrd.gz")
    raw = folder / "guest.raw"
    with raw.open("wb") as file:
        file.truncate(IMAGE_MEGABYTES << 20)
    run(["mkfs.fat", "-F", "16", "-n", "GUEST", raw])
    for source, name in ((fetched.image, "vmlinuz"), (initrd, "initrd.gz"), (HERE / "syslinux.cfg", "syslinux.cfg")):
        run(["mcopy", "-i", raw, source, f"::{name}"])
    run(["syslinux", "--install", raw])
    image = folder / "guest.qcow2"
    # Not compressed: the boot loader reads small pieces, and QEMU would unpack a whole cluster for each.
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image])
    return image


def _make_root(root: Path, fetched: kernel.Kernel) -> Path:
    for name in FOLDERS:
        (root / name).mkdir(parents=True)
    shutil.copytree(HERE / "rootfs", root, dirs_exist_ok=True)
    for path in (entry for entry in root.rglob("*") if entry.is_file()):
        # The checkout's umask or filesystem may have changed the modes.
        path.chmod(0o755 if str(path.relative_to(root)) in EXECUTABLE else 0o644)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", root / "bin" / "busybox")
    (root / "bin" / "sh").symlink_to("busybox")
    (root / "init").symlink_to("bin/busybox")
    (root / "etc" / "first-free-megabyte").write_text(f"{IMAGE_MEGABYTES}\n")
    for module in fetched.modules:
        shutil.copy(module, root / "lib" / "modules")
    (root / "lib" / "modules" / "order").write_text("".join(f"{module.name}\n" for module in fetched.modules))
    return root


def _pack(root: Path, initrd: Path) -> Path:
    """Pack the tree as an initramfs, with root as the owner of all files, whichever user builds it."""
    names = "".join(f"{path.relative_to(root)}\n" for path in sorted(root.rglob("*")))
    archive = initrd.with_suffix(".cpio")
    run(["cpio", "--create", "--quiet", "--format=newc", "--owner=+0:+0", "-F", archive], stdin=names, cwd=root)
    initrd.write_bytes(gzip.compress(archive.read_bytes()))
    return initrd
