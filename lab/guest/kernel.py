"""The distribution's kernel for virtual machines: downloaded and unpacked, never installed."""

from __future__ import annotations

import lzma
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from lab.command import run
from lab.errors import LabError

# The package that depends on the newest kernel, by the ID of os-release(5).
META_PACKAGES = {"debian": "linux-image-cloud-amd64", "ubuntu": "linux-image-virtual"}
# Modules for QEMU's virtio devices, 802.1Q for students who tag frames, and the power button for acpid.
MODULES = ("virtio_pci", "virtio_net", "virtio_blk", "virtio_rng", "8021q", "button", "evdev")


@dataclass(frozen=True)
class Kernel:
    """The image of a kernel and the modules to load, in order and not compressed."""

    image: Path
    modules: list[Path]


def distribution() -> str:
    """Return `debian` or `ubuntu`; for a derivative, the one in its ID_LIKE."""
    release = platform.freedesktop_os_release()
    for name in (release.get("ID", ""), *release.get("ID_LIKE", "").split()):
        if name in META_PACKAGES:
            return name
    raise LabError(f"no kernel package known for {release.get('PRETTY_NAME', 'this system')}: Debian and Ubuntu are")


def fetch(folder: Path) -> Kernel:
    """Download the newest kernel into the folder and unpack it there."""
    package = _newest(META_PACKAGES[distribution()])
    version = package.removeprefix("linux-image-")
    # Ubuntu has the modules in a separate package.
    packages = [package] if distribution() == "debian" else [package, f"linux-modules-{version}"]
    run(["apt-get", "download", "--quiet", "-o", "APT::Sandbox::User=root", *packages], cwd=folder)
    tree = folder / "kernel"
    for archive in folder.glob("*.deb"):
        run(["dpkg-deb", "--extract", archive, tree])
    if not (tree / "lib").exists():  # packages since Debian 13 have usr/lib only; depmod reads lib
        (tree / "lib").symlink_to("usr/lib")
    run(["depmod", "--basedir", tree, version])
    return Kernel(tree / "boot" / f"vmlinuz-{version}", [_plain(module) for module in _in_order(tree, version)])


def _newest(meta_package: str) -> str:
    for attempt in ("known", "after an update"):
        known = run(["apt-cache", "depends", meta_package], check=False)
        found = re.search(r"Depends: (linux-image-\d\S+)", known)
        if found:
            return found[1]
        if attempt == "known":
            run(["apt-get", "update", "--quiet"])
    raise LabError(f"apt knows no package {meta_package}")


def _in_order(tree: Path, version: str) -> list[Path]:
    """Return the modules and their dependencies, each after its own; modules built into this kernel are left out."""
    listed: dict[Path, None] = {}
    for module in MODULES:
        lines = run(["modprobe", "--dirname", tree, "--set-version", version, "--show-depends", module])
        for kind, name in (line.split()[:2] for line in lines.splitlines()):
            if kind == "insmod":
                listed[Path(name)] = None
    return list(listed)


def _plain(module: Path) -> Path:
    """Return the module without its compression, which busybox's insmod may not know."""
    plain = module.with_suffix("")
    match module.suffix:
        case ".xz":
            plain.write_bytes(lzma.decompress(module.read_bytes()))
        case ".zst":
            if shutil.which("zstd") is None:
                raise LabError("this kernel's modules are compressed with zstd, which is not installed")
            run(["zstd", "--decompress", "--quiet", "--force", module, "-o", plain])
        case _:
            return module
    return plain
