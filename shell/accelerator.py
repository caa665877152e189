"""How guests run on a worker: by KVM where it runs a guest, else by QEMU's own emulation (TCG). Pure.

That /dev/kvm opens says little: in a machine that is itself virtual it may not run a guest. So a guest of 126 bytes is
tried, once until the worker is booted again or its KVM is loaded again; the record of it is beside the images.
"""

from __future__ import annotations

from collections.abc import Sequence

from shell.scripts import load

Argv = tuple[str, ...]

RECORD = ".accel"
"""The record's name, beside the images."""

_FIND_ACCELERATOR = load("vms/find-accelerator")
_CHOOSE_ACCELERATOR = load("vms/choose-accelerator")


def options(accel: str) -> Argv:
    """Return QEMU's options; `auto` begins with KVM, of which `choosing` takes nothing where it runs no guest."""
    names = ("kvm", "tcg") if accel == "auto" else (accel,)
    return tuple(word for name in names for word in ("-accel", name))


def can_run(record: str, accel: str) -> Argv:
    """Find out whether KVM runs a guest, and note it in `record`. Fails where `accel` is `kvm` and it does not."""
    return _FIND_ACCELERATOR.argv(record, accel)


def choosing(record: str, argv: Argv) -> Argv:
    """Return the argv that becomes QEMU's, by TCG where the record says that KVM runs no guest."""
    return _CHOOSE_ACCELERATOR.argv(record, *argv)


def variants(argv: Argv) -> Sequence[Argv]:
    """Return what `choosing` may run."""
    return argv, tuple("tcg" if word == "kvm" else word for word in argv)
