"""The command line of QEMU, from a VM and the devices of its flavor (qemu-system(1)). Pure.

A flavor names devices (`core/flavors.py`), and only this module turns the names into words of QEMU. Each group of words
has a function of its own, in the order of the command line.
"""

from __future__ import annotations

from core.names import VMFiles, process_name, tap_name
from models import VM, Interface
from shell import accelerator, daemon

Words = tuple[str, ...]

PROGRAM = "qemu-system-x86_64"

_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"


def command_line(slice_id: int, vm: VM, files: VMFiles, accel: str) -> Words:
    """Return the command line of a VM: no root, sandboxed, secrets in files that only the user can read.

    `files` are the VM's files on its worker, and `accel` is `hypervisor: accel` of the settings.
    """
    return (
        PROGRAM,
        *("-name", process_name(slice_id, vm.vm_id)),
        *_machine(),
        *accelerator.options(accel),
        *("-smp", str(vm.size.cores), "-m", str(vm.ram_mib)),
        *_disk(files),
        *(word for index, nic in enumerate(vm.interfaces) for word in _nic(vm, index, nic)),
        *("-device", "virtio-rng-pci", "-vga", "std"),
        *_console(files),
        *_screen(vm, files),
        *("-sandbox", _SANDBOX),
    )


def _machine() -> Words:
    return ("-no-user-config", "-nodefaults", "-machine", "pc", "-cpu", "max")


def _disk(files: VMFiles) -> Words:
    return ("-drive", f"file={files.overlay},format=qcow2,if=virtio,discard=unmap")


def _nic(vm: VM, index: int, interface: Interface) -> Words:
    """Return the words of a NIC in its place in the design; one without a VLAN is unplugged."""
    device = f"virtio-net-pci,mac={interface.mac},romfile="
    if interface.vlan_id is None:
        return ("-device", device)
    netdev = f"tap,id=nic{index},ifname={tap_name(vm.vm_id, interface.name)},script=no,downscript=no"
    return ("-netdev", netdev, "-device", f"{device},netdev=nic{index}")


def _console(files: VMFiles) -> Words:
    """Return the words of the serial console, a socket whose output goes to a log too."""
    console = f"socket,id=console,path={files.console},server=on,wait=off,logfile={daemon.LOG_DEVICE}"
    return ("-chardev", console, "-serial", "chardev:console")


def _screen(vm: VM, files: VMFiles) -> Words:
    """Return the words of the screen's server, which listens on the worker's address and asks for a password."""
    secret = f"secret,id=vnc,format=base64,file={files.vnc_secret}"
    return ("-object", secret, "-vnc", f"{vm.worker_ip}:{vm.vnc_port - 5900},password-secret=vnc")
