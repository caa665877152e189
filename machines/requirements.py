"""Checks that a worker has what the flavors of its VMs ask for. Returns steps.

The devices of a VM are checked where its flavor chooses some; the check of the accelerator is one for all VMs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from machines.qemu import UEFI, needs
from models import VM
from remote.plan import Command, Step
from shell import accelerator
from shell.scripts import load

_CHECK_DEVICES = load("vms/check-devices")


def check_devices(worker: str, vms: Iterable[VM]) -> Iterator[Step]:
    """Yield the check of QEMU's devices and of the firmware, where one of the VMs asks for some."""
    asked = [vm.devices for vm in vms]
    names = {name for devices in asked for name in needs(devices)}
    firmware = UEFI if any(devices.firmware == "uefi" for devices in asked) else ""
    if names or firmware:
        check = Command(_CHECK_DEVICES.argv(firmware, *sorted(names)), as_user=True)
        yield Step(worker, "devices of the VMs", (check,))


def check_accelerator(worker: str, vms: Iterable[VM], record: str, accel: str) -> Iterator[Step]:
    """Yield the check whether KVM runs a guest, where the settings ask for it or a VM requires it.

    `record` is the worker's record of the answer; `accel` is `hypervisor: accel` of the settings.
    """
    required = any(vm.devices.kvm == "required" for vm in vms)
    if required or accel != "tcg":
        find = accelerator.find_accelerator(record, accel, required=required)
        yield Step(worker, "accelerator", (Command(find, as_user=True),))
