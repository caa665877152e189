"""The recipe of the Debian guest: packages become a tree, a few settings are made in it, the tree becomes an image."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from lab.command import run
from lab.errors import LabError
from lab.guest.debian import disk, sources

HERE = Path(__file__).parent
FILES = [path for path in sorted(HERE.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
"""All that decides what is in the image, but for the versions of the packages."""
# Room for what a script of the seed installs; the overlay of a larger flavor grows at the first boot.
IMAGE_MEGABYTES = 1024
BUILD_SECONDS = 900
SERVICES = ("systemd-networkd", "systemd-resolved", "serial-getty@ttyS0")
# Upkeep would wake in every VM of a class at once, some of it at boot, for a disk that a reset replaces.
UPKEEP = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer", "e2scrub_all.timer")
# cloud-init leaves out here that an interface is optional: a boot would wait two minutes for a link's other end.
WAITS = ("e2scrub_reap.service", "systemd-networkd-wait-online.service")
DAEMONS = "etc/frr/daemons"
# Made when the packages were installed; each VM makes or gets its own.
PRIVATE = ("etc/ssh/ssh_host_*", "etc/machine-id", "var/lib/dbus/machine-id", "var/lib/systemd/random-seed")
# Settings of the build, and what it leaves.
LEFTOVERS = (
    *("etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap"),
    *("var/cache/apt/*", "var/lib/apt/lists/*", "var/log/*.log", "var/log/apt", "var/cache/debconf/*-old"),
)


def packages() -> list[str]:
    """Return the names in packages.txt, without its comments."""
    lines = (HERE / "packages.txt").read_text(encoding="utf-8").splitlines()
    return [name for name in (line.partition("#")[0].strip() for line in lines) if name]


def build(folder: Path) -> Path:
    """Build the image in its own folder and return its path there."""
    tree, raw, image = folder / "tree", folder / "debian.raw", folder / "debian.qcow2"
    run(bootstrap(tree, folder, sources.release()))
    settle(tree)
    disk.write(tree, raw, IMAGE_MEGABYTES, HERE / "early.cfg")
    run(["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", raw, image])
    return image


def bootstrap(tree: Path, folder: Path, codename: str) -> list[str | Path]:
    """Return the words of mmdebstrap(1) that fill the tree; what it reads of the machine is written to the folder.

    The files of rootfs/ come in before the packages, so the kernel's package builds its initramfs with them.
    """
    mirror, settings, dpkg = folder / "sources.list", folder / "apt.conf", folder / "dpkg.cfg"
    mirror.write_text("".join(f"{line}\n" for line in sources.lines(codename)), encoding="utf-8")
    settings.write_text(sources.settings(), encoding="utf-8")
    # A build that loses power is built again: dpkg need not wait for the disk.
    dpkg.write_text((HERE / "dpkg.cfg").read_text(encoding="utf-8") + "force-unsafe-io\n", encoding="utf-8")
    files = copied(HERE / "rootfs", folder / "rootfs")
    return [
        *("timeout", str(BUILD_SECONDS), "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase"),
        *(f"--aptopt={settings}", f"--dpkgopt={dpkg}", f"--include={','.join(packages())}"),
        f'--essential-hook=cp --archive {shlex.quote(str(files))}/. "$1"',
        *(codename, tree, mirror),
    ]


def copied(files: Path, target: Path) -> Path:
    """Copy the files with the modes they have in the guest: the checkout's umask may have changed theirs."""
    shutil.copytree(files, target)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target


def settle(tree: Path) -> None:
    """Make the settings that files of packages need, and remove what belongs to the build or to one VM alone."""
    for act, units in (("enable", SERVICES), ("mask", (*UPKEEP, *WAITS))):
        run(["chroot", tree, "systemctl", "--quiet", act, *units])
    for pattern in (*PRIVATE, *LEFTOVERS):
        for path in tree.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    # systemd writes a new id into an empty file; a missing one would make it a first boot with questions.
    (tree / "etc/machine-id").touch()
    (tree / "etc/hostname").write_text("debian\n", encoding="utf-8")
    (tree / "etc/resolv.conf").unlink(missing_ok=True)
    (tree / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    shutil.copy(HERE / "dpkg.cfg", tree / "etc/dpkg/dpkg.cfg.d/guest")
    daemons = tree / DAEMONS
    daemons.write_text(enabled(daemons.read_text(encoding="utf-8"), "ospfd"), encoding="utf-8")


def enabled(text: str, daemon: str) -> str:
    """Return FRR's list of daemons with this one switched on."""
    off, on = f"\n{daemon}=no\n", f"\n{daemon}=yes\n"
    if off not in text:
        raise LabError(f"FRR's /{DAEMONS} has no line {daemon}=no: its package has changed")
    return text.replace(off, on)
