"""Finds or builds the guest image, and decides once how it can be run on this machine."""

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
    """The qcow2 image of the present recipe, which is built, in one piece or not at all, when it is not there."""
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
    """`auto` where this image comes up under KVM, else `tcg`; tried once per image and remembered beside it.

    That /dev/kvm opens is not enough: on some virtual machines a Linux guest then hangs without a word.
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
    """Names all that goes into the image but the kernel's version: the one of last week boots as well, also offline."""
    busybox = shutil.which("busybox")
    if busybox is None:
        raise LabError("busybox is not installed (lab/packages.txt lists what the lab needs)")
    digest = hashlib.sha256(Path(busybox).read_bytes())
    digest.update(kernel.distribution().encode())
    for file in (path for path in RECIPE if path.is_file()):
        digest.update(f"\0{file.relative_to(HERE)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
