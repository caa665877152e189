"""The file tree of a host: its disk over the machine's `/`, with its own /proc, /sys, /dev, /run and /tmp."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from lab import accounts, disk
from lab.command import run
from lab.errors import LabError
from lab.topology import LabHost

TTY_GID = 5  # the group of devpts(5) in Debian's and Ubuntu's systemd
# Major and minor numbers of Documentation/admin-guide/devices.txt.
DEVICES = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
    ("net/tun", 10, 200),
]
DEVICE_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}


def enter(folder: Path, host: LabHost) -> None:
    """Make this process's private mount namespace the host's; all other mounts are removed."""
    root = folder / "root"
    root.mkdir(exist_ok=True)
    _mount_disk(folder, root, host)
    run(["mount", "-t", "proc", "-o", "nosuid,nodev,noexec", "proc", root / "proc"])
    run(["mount", "-t", "sysfs", "-o", "nosuid,nodev,noexec", "sysfs", root / "sys"])
    run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,mode=755", "run", root / "run"])
    run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,mode=1777", "tmp", root / "tmp"])
    for path in ("run/lock", "run/sshd", "run/openvswitch", "run/machine"):
        (root / path).mkdir(mode=0o755)
    _make_devices(root / "dev")
    os.chdir("/")  # pivot_root(2) moves only processes whose working directory is the old root
    run(["pivot_root", root, root / "run" / "machine"])
    run(["umount", "--lazy", "/run/machine"])
    Path("/run/machine").rmdir()


def _mount_disk(folder: Path, root: Path, host: LabHost) -> None:
    """Mount the overlay; on a filesystem that cannot be an upper layer, a tmpfs that is new at every boot."""
    layers = folder / "disk"
    layers.mkdir(exist_ok=True)
    try:
        _mount_overlay(folder, layers, root, host)
    except (OSError, LabError):
        run(["mount", "-t", "tmpfs", "-o", "mode=755", "disk", layers])
        _mount_overlay(folder, layers, root, host)
    if os.path.ismount("/usr"):  # an overlay's lower layer does not include other mounts
        run(["mount", "--rbind", "-o", "ro", "/usr", root / "usr"])


def _mount_overlay(folder: Path, layers: Path, root: Path, host: LabHost) -> None:
    upper, work, installed = layers / "upper", layers / "work", layers / "installed"
    if not installed.exists():
        lab_folder = folder.parent.parent
        authorized_key = (lab_folder / "id_ed25519.pub").read_text()
        host_key = (folder / "ssh_host_ed25519_key").read_text() if host.is_node else ""
        disk.install(upper, host, lab_folder.parent, authorized_key, host_key)
        installed.touch()
    work.mkdir(exist_ok=True)
    # Relative paths, because a colon or comma in the project's path would end an option.
    options = f"lowerdir=/,upperdir={upper.name},workdir={work.name}"
    run(["mount", "-t", "overlay", "-o", options, "overlay", root], cwd=layers)


def _make_devices(dev: Path) -> None:
    """Create the host's own /dev: the machine's has its terminals, and the mode of its /dev/kvm must not change."""
    run(["mount", "-t", "tmpfs", "-o", "nosuid,mode=755", "dev", dev])
    for name in ("net", "pts", "shm"):
        (dev / name).mkdir()
    for name, major, minor in DEVICES:
        _make_device(dev / name, os.makedev(major, minor), 0o666)
    if Path("/dev/kvm").exists():
        group = accounts.kvm_gid()
        _make_device(dev / "kvm", Path("/dev/kvm").stat().st_rdev, 0o666 if group is None else 0o660, group or 0)
    for name, target in DEVICE_LINKS.items():
        (dev / name).symlink_to(target)
    options = f"nosuid,noexec,newinstance,ptmxmode=0666,mode=620,gid={TTY_GID}"
    run(["mount", "-t", "devpts", "-o", options, "devpts", dev / "pts"])
    run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,mode=1777", "shm", dev / "shm"])


def _make_device(path: Path, number: int, mode: int, gid: int = 0) -> None:
    os.mknod(path, stat.S_IFCHR, number)
    os.chown(path, 0, gid)
    path.chmod(mode)
