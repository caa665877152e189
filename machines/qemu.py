"""The command line of QEMU, from a VM and the devices of its flavor (qemu-system(1)). Pure.

A flavor names devices (`core/flavors.py`), and only this module turns the names into words of QEMU. Each group of words
has a function of its own, in the order of the command line.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from core.flavors import Devices
from core.names import VMFiles, process_name, tap_name
from models import VM, Interface, Slice
from shell import accelerator, daemon

Words = tuple[str, ...]

END_EVENT = "qemu_system_shutdown_request"
"""The event by which QEMU's messages say why it ended: `reason=` and a number (qapi/run-state.json of QEMU)."""

BY_GUEST = 6
"""The reason of a guest that switched itself off."""

PROGRAM = "qemu-system-x86_64"

_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"


_NICS = {"virtio": "virtio-net-pci"}
"""QEMU's names of the kinds of NICs where they are others than ours."""

_DISKS = {"ide": "ide-hd", "sata": "ide-hd", "scsi": "scsi-hd"}
_CONTROLLERS = {"sata": "ich9-ahci,id=sata", "scsi": "virtio-scsi-pci,id=scsi"}
_BUSES = {"sata": ("sata.0", "sata.1"), "scsi": ("scsi.0", "scsi.0")}
"""The devices of disks other than virtio, and the buses of the first and the second one."""

_IDE = {
    "pc": ("ide.0,unit=0", "ide.0,unit=1", "ide.1,unit=0", "ide.1,unit=1"),
    "q35": ("ide.0", "ide.1", "ide.2", "ide.3"),
}
"""The places on the board's own controller for two disks, a CD and a seed."""

_SCREENS = {"virtio": "virtio-vga", "cirrus": "cirrus-vga", "vmware": "vmware-svga"}
UEFI = "/usr/share/OVMF/OVMF_CODE_4M.fd"
UEFI_VARIABLES = "/usr/share/OVMF/OVMF_VARS_4M.fd"
"""The firmware of the package ovmf, and the variables with which a guest begins."""


def command_line(slice_id: int, vm: VM, files: VMFiles, accel: str) -> Words:
    """Return the command line of a VM: no root, sandboxed, secrets in files that only the user can read.

    `files` are the VM's files on its worker, and `accel` is `hypervisor: accel` of the settings.
    """
    return (
        PROGRAM,
        *("-name", process_name(slice_id, vm.vm_id)),
        *_machine(vm.devices, files),
        *accelerator.options(accel),
        *("-smp", str(vm.size.cores), "-m", str(vm.ram_mib)),
        *_disks(vm.devices, files),
        *(word for index, nic in enumerate(vm.interfaces) for word in _nic(vm, index, nic)),
        *("-device", "virtio-rng-pci"),
        *_graphics(vm.devices),
        *_console(files),
        *_control(files),
        *("-trace", END_EVENT),
        *_screen(vm, files),
        *("-sandbox", _SANDBOX),
    )


def is_older(argv: Words) -> bool:
    """Return whether QEMU was started by an older version: without QMP, and without TAPs of NICs that had no link."""
    return "-S" not in argv


def disk_devices(vm: VM) -> tuple[str, ...]:
    """Return QEMU's names of a VM's disks: the first one, the second one, and the variables of UEFI."""
    stem = "virtio" if vm.devices.disk_bus == "virtio" else "disk"
    second = (f"{stem}1",) if vm.devices.disk2_gb else ()
    return f"{stem}0", *second, *(("pflash1",) if vm.devices.firmware == "uefi" else ())


def needs(devices: Devices) -> frozenset[str]:
    """Return the names in `-device help` that the devices need, beyond those of a flavor without devices."""
    return _names(devices) - _names(Devices())


def _names(devices: Devices) -> frozenset[str]:
    words = (
        _nic_model(devices),
        f"{devices.cpu_model}-{PROGRAM.rpartition('-')[2]}-cpu",
        _DISKS.get(devices.disk_bus, ""),
        _CONTROLLERS.get(devices.disk_bus, ""),
        _SCREENS.get(devices.video, ""),
        "ide-cd" if devices.cdrom or (devices.seed != "none" and devices.disk_bus != "virtio") else "",
    )
    return frozenset(word.partition(",")[0] for word in words if word)


def _machine(devices: Devices, files: VMFiles) -> Words:
    board = ("-no-user-config", "-nodefaults", "-machine", devices.machine, "-cpu", devices.cpu_model)
    if devices.firmware == "bios":
        return board
    code = f"if=pflash,unit=0,format=raw,readonly=on,file={UEFI}"
    return (*board, "-drive", code, "-drive", f"if=pflash,unit=1,format=qcow2,file={files.uefi_variables}")


def _disks(devices: Devices, files: VMFiles) -> Words:
    """Return the words of the disks, which are on one bus, of the CD and of the seed."""
    paths = (files.overlay, files.disk2) if devices.disk2_gb else (files.overlay,)
    controller = _CONTROLLERS.get(devices.disk_bus)
    return (
        *(("-device", controller) if controller else ()),
        *(word for number, path in enumerate(paths) for word in _disk(devices, number, path)),
        *(_cd(devices.machine, f"{files.images_path}/{PurePosixPath(devices.cdrom).name}") if devices.cdrom else ()),
        *(_seed(devices, files.seed) if devices.seed != "none" else ()),
    )


def _disk(devices: Devices, number: int, path: str) -> Words:
    if devices.disk_bus == "virtio":
        return ("-drive", f"file={path},format=qcow2,if=virtio,discard=unmap")
    drive = f"file={path},format=qcow2,if=none,id=disk{number},discard=unmap"
    bus = _BUSES.get(devices.disk_bus, _IDE[devices.machine])[number]
    return ("-drive", drive, "-device", f"{_DISKS[devices.disk_bus]},drive=disk{number},bus={bus}")


def _cd(machine: str, path: str) -> Words:
    name = path.replace(",", ",,")  # a comma would end the name (qemu-system(1))
    drive = f"file={name},format=qcow2,if=none,id=cd,readonly=on"
    return ("-drive", drive, "-device", f"ide-cd,drive=cd,bus={_IDE[machine][2]}")


def _seed(devices: Devices, path: str) -> Words:
    """Return the words of the seed: a disk for guests with virtio, a CD for others."""
    if devices.disk_bus == "virtio":
        return ("-drive", f"file={path},format=raw,if=virtio,readonly=on")
    drive = f"file={path},format=raw,if=none,id=seed,readonly=on"
    return ("-drive", drive, "-device", f"ide-cd,drive=seed,bus={_IDE[devices.machine][3]}")


def _nic(vm: VM, index: int, interface: Interface) -> Words:
    """Return the words of a NIC in its place in the design, with its TAP: a NIC can get none while QEMU runs."""
    netdev = f"tap,id={nic_id(index)},ifname={tap_name(vm.vm_id, interface.name)},script=no,downscript=no"
    device = f"{_nic_model(vm.devices)},mac={interface.mac},romfile=,netdev={nic_id(index)}"
    return ("-netdev", netdev, "-device", device)


def nic_id(index: int) -> str:
    """Return QEMU's name of interface number `index`, by which its link is set."""
    return f"nic{index}"


def links(slice_: Slice, vm: VM) -> dict[str, bool]:
    """Return for each NIC, by QEMU's name, whether the guest sees a carrier."""
    always = vm.devices.link_state == "up"
    return {nic_id(index): always or slice_.has_carrier(vm, nic) for index, nic in enumerate(vm.interfaces)}


def cut_nics(before: VM, after: VM) -> list[str]:
    """Return the NICs, by QEMU's names, that leave their link in a change."""
    links = {nic.name: (nic.link_id, nic.vlan_id) for nic in after.interfaces}
    ended = (nic.vlan_id is not None and links.get(nic.name) != (nic.link_id, nic.vlan_id) for nic in before.interfaces)
    return [nic_id(index) for index, is_over in enumerate(ended) if is_over]


def _nic_model(devices: Devices) -> str:
    return _NICS.get(devices.nic_model, devices.nic_model)


def _graphics(devices: Devices) -> Words:
    if devices.video in _SCREENS:
        return ("-device", _SCREENS[devices.video])
    return ("-vga", devices.video)


def _console(files: VMFiles) -> Words:
    """Return the words of the serial console, a socket whose output goes to a log too."""
    console = f"socket,id=console,path={files.console},server=on,wait=off,logfile={daemon.LOG_DEVICE}"
    return ("-chardev", console, "-serial", "chardev:console")


def _control(files: VMFiles) -> Words:
    """Return the words of the socket by which QEMU itself is controlled (`machines/qmp.py`).

    The guest stands still until it is let run there: no guest sees a carrier that it should not see.
    """
    return ("-S", "-qmp", f"unix:{files.qmp},server=on,wait=off")


def _screen(vm: VM, files: VMFiles) -> Words:
    """Return the words of the screen's server, which listens on the worker's address and asks for a password."""
    secret = f"secret,id=vnc,format=base64,file={files.vnc_secret}"
    return ("-object", secret, "-vnc", f"{vm.worker_ip}:{vm.vnc_port - 5900},password-secret=vnc")
