"""The accelerator of a worker: KVM where it runs a guest, else QEMU's own emulation (TCG). Pure.

A /dev/kvm that opens proves little: in a virtual machine it may not run a guest. So a guest of 126 bytes is tried once,
and again after a reboot or a reload of KVM; the result is recorded in the folder of images.
"""

from __future__ import annotations

from collections.abc import Sequence

from shell.scripts import load

Argv = tuple[str, ...]

RECORD = ".accel"
"""The name of the record in the folder of images."""

EMULATION = "tcg,tb-size=128"
"""QEMU's emulation, with a bound of the code that it keeps translated, in MiB.

Its own bound is 1 GiB for each VM: a guest with 256 MiB of memory held up to 1.5 GiB of its worker's.
"""

_FIND_ACCELERATOR = load("vms/find-accelerator")
_CHOOSE_ACCELERATOR = load("vms/choose-accelerator")


def options(accel: str) -> Argv:
    """Return QEMU's options; `auto` puts KVM first, and `choosing` removes it where it runs no guest."""
    names = {"auto": ("kvm", EMULATION), "kvm": ("kvm",), "tcg": (EMULATION,)}[accel]
    return tuple(word for name in names for word in ("-accel", name))


def find_accelerator(record: str, accel: str, *, required: bool = False) -> Argv:
    """Try whether KVM runs a guest, and write `record`; fail where `accel` is `kvm` and KVM runs none.

    `required`: a VM runs by KVM only; fail also where `accel` is `auto` and KVM runs no guest, or where it is `tcg`.
    """
    return _FIND_ACCELERATOR.argv(record, f"{accel}-required" if required else accel)


def choosing(record: str, argv: Argv) -> Argv:
    """Return the argv that becomes QEMU's argv, with TCG where the record says that KVM runs no guest."""
    return _CHOOSE_ACCELERATOR.argv(record, EMULATION, *argv)


def variants(argv: Argv) -> Sequence[Argv]:
    """Return the argvs that `choosing` may run."""
    return argv, tuple(EMULATION if word == "kvm" else word for word in argv)
