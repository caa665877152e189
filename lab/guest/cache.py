"""The cache of guest images: finds or builds the image, and decides once how it runs on this machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from lab import paths
from lab.errors import LabError
from lab.guest import kernel, recipe, trial

HERE = Path(__file__).parent
RECIPE = [HERE / "kernel.py", HERE / "recipe.py", HERE / "syslinux.cfg", *sorted((HERE / "rootfs").rglob("*"))]
KVM_SECONDS = 8.0
TEMPORARY = "build-"


def image(report: Callable[[str], None]) -> Path:
    """Return the qcow2 image of the present recipe; build it, whole or not at all, if it is missing."""
    cache = paths.cache_dir()
    path = cache / f"lab-guest-{_digest()}.qcow2"
    if path.exists():
        return path
    with paths.locked(cache):
        if not path.exists():
            report("building the guest image (once)")
            for leftover in cache.glob(f"{TEMPORARY}*"):
                shutil.rmtree(leftover)
            with tempfile.TemporaryDirectory(dir=cache, prefix=TEMPORARY) as folder:
                built = recipe.build(Path(folder))
                built.chmod(0o644)
                paths.caller().own(built)
                built.rename(path)
    return path


def accel(path: Path, report: Callable[[str], None]) -> str:
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


def _digest() -> str:
    """Return a digest of the recipe without the kernel's version: an image of last week boots as well, also offline."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise LabError("busybox is not installed (lab/packages.txt lists what the lab needs)")
    digest = hashlib.sha256(Path(busybox).read_bytes())
    digest.update(kernel.distribution().encode())
    for file in (path for path in RECIPE if path.is_file()):
        digest.update(f"\0{file.relative_to(HERE)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
