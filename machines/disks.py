"""The disks of a VM beyond its first one, beside which they stand on the worker. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from core.names import VMFiles
from machines.qemu import UEFI_VARIABLES
from models import VM

_MIB_PER_GIB = 1024


class FurtherDisk(NamedTuple):
    """A disk: its title in a plan, its path on the worker, and the command that makes it as `part_of` its path."""

    title: str
    path: str
    make: tuple[str, ...]


def part_of(path: str) -> str:
    """Return the path of a disk until it is whole."""
    return f"{path}.part"


def further_disks(vm: VM, files: VMFiles) -> Iterator[FurtherDisk]:
    """Yield the disks that the devices of `vm` ask for: a second disk, and the variables of UEFI."""
    if vm.devices.disk2_gb:
        size = f"{int(vm.devices.disk2_gb * _MIB_PER_GIB)}M"
        create = ("qemu-img", "create", "-q", "-f", "qcow2", part_of(files.disk2), size)
        yield FurtherDisk(f"second disk of {vm.name}", files.disk2, create)
    if vm.devices.firmware == "uefi":
        part = part_of(files.uefi_variables)
        copy = ("qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", UEFI_VARIABLES, part)
        yield FurtherDisk(f"UEFI variables of {vm.name}", files.uefi_variables, copy)
