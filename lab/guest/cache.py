"""The cache of guest images: finds or builds each image, and decides once how guests run on this machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from lab import paths
from lab.errors import LabError
from lab.guest import kernel, recipe, trial
from lab.guest.debian import recipe as debian_recipe
from lab.guest.debian import sources

HERE = Path(__file__).parent
RECIPE = [HERE / "kernel.py", HERE / "recipe.py", HERE / "syslinux.cfg", *sorted((HERE / "rootfs").rglob("*"))]
KVM_SECONDS = 8.0
TEMPORARY = "build-"

Report = Callable[[str], None]


def image(report: Report) -> Path:
    """Return the qcow2 image of the present recipe; build it, whole or not at all, if it is missing."""
    path = paths.cache_dir() / f"lab-guest-{_digest()}.qcow2"
    return path if path.exists() else _built(path, recipe.build, "building the guest image (once)", report)


def debian(report: Report) -> Path:
    """Return the image of the Debian guest; build it, whole or not at all, if it is missing."""
    path = _debian_path()
    report_line = "building the Debian guest from packages (once; takes one to five minutes)"
    return path if path.exists() else _built(path, debian_recipe.build, report_line, report)


def debian_if_built() -> Path | None:
    """Return the image of the Debian guest, or None where the present recipe has not been built."""
    try:
        path = _debian_path()
    except LabError:
        return None
    return path if path.exists() else None


def accel(path: Path, report: Report) -> str:
    """Return `auto` where this image boots under KVM, else `tcg`; the result is kept next to the image.

    A /dev/kvm that opens is not enough: on some virtual machines a Linux guest then hangs with no output.
    """
    decision = path.with_suffix(".accel")
    with paths.locked(path.parent):
        if not decision.exists():
            report("trying the guest under KVM (once)")
            usable = os.access("/dev/kvm", os.R_OK | os.W_OK) and trial.boots(path, "kvm", KVM_SECONDS)
            new = decision.with_suffix(".new")
            new.write_text("auto" if usable else "tcg")
            paths.caller().own(new)
            new.rename(decision)
    return decision.read_text()


def _built(path: Path, build: Callable[[Path], Path], line: str, report: Report) -> Path:
    """Build the image under the lock of its folder; another process may have built it meanwhile."""
    with paths.locked(path.parent):
        if not path.exists():
            report(line)
            for leftover in path.parent.glob(f"{TEMPORARY}*"):
                shutil.rmtree(leftover)
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=TEMPORARY) as folder:
                built = build(Path(folder))
                built.chmod(0o644)
                paths.caller().own(built)
                built.rename(path)
    return path


def _digest() -> str:
    """Return a digest of the recipe without the kernel's version: an image of last week boots as well, also offline."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise LabError("busybox is not installed (lab/packages.txt lists what the lab needs)")
    parts = [Path(busybox).read_bytes(), kernel.distribution().encode()]
    return _fingerprint(parts, (path for path in RECIPE if path.is_file()))


def _debian_path() -> Path:
    """Return the path of the Debian guest's image: in a folder, and so under a lock, of its own."""
    digest = _fingerprint([sources.release().encode()], debian_recipe.FILES)
    return paths.cache_dir() / "debian" / f"debian-guest-{digest}.qcow2"


def _fingerprint(parts: Iterable[bytes], files: Iterable[Path]) -> str:
    """Return twelve digits that change with any of the parts, and with any file's name or content."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    for file in files:
        digest.update(f"\0{file.relative_to(HERE)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
