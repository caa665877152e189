"""QEMU's command line: the words of each device."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.flavors import Devices, Flavor
from core.names import VMFiles
from core.status import VMStatus
from machines import qemu
from models import VM, Interface, Slice

FILES = VMFiles("vm_images", 1000, "r1")

TODAY = """
qemu-system-x86_64
-name slice1000-vm1001
-no-user-config -nodefaults -machine pc -cpu max
-accel kvm -accel tcg,tb-size=128
-smp 1 -m 512
-drive file=vm_images/slice-1000/r1_img.qcow2,format=qcow2,if=virtio,discard=unmap
-netdev tap,id=nic0,ifname=tap_1001_eth0,script=no,downscript=no
-device virtio-net-pci,mac=52:54:00:03:e9:00,romfile=,netdev=nic0
-netdev tap,id=nic1,ifname=tap_1001_eth1,script=no,downscript=no
-device virtio-net-pci,mac=52:54:00:03:e9:01,romfile=,netdev=nic1
-device virtio-rng-pci -vga std
-chardev socket,id=console,path=vm_images/slice-1000/r1.console,server=on,wait=off,logfile=/dev/fd/9
-serial chardev:console
-S -qmp unix:vm_images/slice-1000/r1.qmp,server=on,wait=off
-trace qemu_system_shutdown_request
-object secret,id=vnc,format=base64,file=vm_images/slice-1000/r1.vnc
-vnc 10.0.10.1:1,password-secret=vnc
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
"""


def machine() -> VM:
    nics = [Interface("eth0", 400, "52:54:00:03:e9:00"), Interface("eth1", None, "52:54:00:03:e9:01")]
    return VM(1001, "r1", "admin", "10.0.10.1", 5901, nics)


def test_a_flavor_without_devices_has_the_command_line_of_today() -> None:
    assert [*qemu.command_line(1000, machine(), FILES, "auto")] == TODAY.split()


@pytest.mark.parametrize(("link_state", "seen"), [("follow", False), ("up", True)])
def test_an_interface_without_a_link_has_no_carrier_but_for_flavors_that_want_it(link_state: str, seen: bool) -> None:
    vm = machine()
    vm.flavor = Flavor(devices=Devices(link_state=link_state))
    assert qemu.links(Slice(1000, "admin"), vm) == {"nic0": True, "nic1": seen}


@pytest.mark.parametrize(("link_state", "ends", "seen"), [("follow", 2, False), ("up", 2, True), ("follow", 3, True)])
def test_a_link_has_no_carrier_while_its_only_other_vm_is_off(link_state: str, ends: int, seen: bool) -> None:
    slice_ = Slice(1000, "admin")
    for number in range(ends):
        nics = [Interface("eth0"), Interface("eth1", mac=f"52:54:00:03:e9:0{number}")]
        slice_.vms.append(VM(1001 + number, f"r{number}", "admin", "10.0.10.1", 5901 + number, nics))
    slice_.join([(vm.vm_id, "eth1") for vm in slice_.vms])
    first, second, *_ = slice_.vms
    first.flavor = Flavor(devices=Devices(link_state=link_state))
    assert qemu.links(slice_, first)["nic1"]
    second.status = VMStatus.STOPPED
    assert qemu.links(slice_, first)["nic1"] == seen


def test_a_vm_that_was_not_started_paused_is_of_an_older_version() -> None:
    argv = qemu.command_line(1000, machine(), FILES, "auto")
    assert not qemu.is_older(argv)
    assert qemu.is_older(tuple(word for word in argv if word != "-S"))


def words_of(devices: Devices) -> list[str]:
    vm = machine()
    vm.flavor = Flavor(devices=devices)
    return [*qemu.command_line(1000, vm, FILES, "auto")]


def options(words: list[str]) -> list[str]:
    """Return each option with its value, such as `-m 512`."""
    return re.split(r" (?=-[a-z])", " ".join(words))


def changed(devices: Devices) -> tuple[list[str], list[str]]:
    """Return the options that the devices remove from the command line of today, and those that they add."""
    before, after = options(TODAY.split()), options(words_of(devices))
    return [line for line in before if line not in after], [line for line in after if line not in before]


NICS = """
-device virtio-net-pci,mac=52:54:00:03:e9:00,romfile=,netdev=nic0
-device virtio-net-pci,mac=52:54:00:03:e9:01,romfile=,netdev=nic1
"""
DISK = "-drive file=vm_images/slice-1000/r1_img.qcow2,format=qcow2,if=virtio,discard=unmap"
FIRST = "-drive file=vm_images/slice-1000/r1_img.qcow2,format=qcow2,if=none,id=disk0,discard=unmap"
SECOND = "-drive file=vm_images/slice-1000/r1.disk2,format=qcow2,if=none,id=disk1,discard=unmap"

CASES = [
    (Devices(nic_model="e1000"), NICS, NICS.replace("virtio-net-pci", "e1000")),
    (Devices(nic_model="vmxnet3"), NICS, NICS.replace("virtio-net-pci", "vmxnet3")),
    (Devices(machine="q35"), "-machine pc", "-machine q35"),
    (Devices(cpu_model="Haswell"), "-cpu max", "-cpu Haswell"),
    (Devices(video="none"), "-vga std", "-vga none"),
    (Devices(video="cirrus"), "-vga std", "-device cirrus-vga"),
    (Devices(disk_bus="ide"), DISK, f"{FIRST}\n-device ide-hd,drive=disk0,bus=ide.0,unit=0"),
    (
        Devices(disk_bus="ide", machine="q35", disk2_gb=1),
        f"-machine pc\n{DISK}",
        f"""
        -machine q35
        {FIRST}\n-device ide-hd,drive=disk0,bus=ide.0
        {SECOND}\n-device ide-hd,drive=disk1,bus=ide.1
        """,
    ),
    (
        Devices(disk_bus="sata"),
        DISK,
        f"-device ich9-ahci,id=sata\n{FIRST}\n-device ide-hd,drive=disk0,bus=sata.0",
    ),
    (
        Devices(disk_bus="scsi", disk2_gb=1),
        DISK,
        f"""
        -device virtio-scsi-pci,id=scsi
        {FIRST}\n-device scsi-hd,drive=disk0,bus=scsi.0
        {SECOND}\n-device scsi-hd,drive=disk1,bus=scsi.0
        """,
    ),
    (Devices(disk2_gb=1), "", "-drive file=vm_images/slice-1000/r1.disk2,format=qcow2,if=virtio,discard=unmap"),
    (
        Devices(cdrom="/srv/a,readonly=off.qcow2"),
        "",
        """
        -drive file=vm_images/a,,readonly=off.qcow2,format=qcow2,if=none,id=cd,readonly=on
        -device ide-cd,drive=cd,bus=ide.1,unit=0
        """,
    ),
    (Devices(seed="nocloud"), "", "-drive file=vm_images/slice-1000/r1.seed,format=raw,if=virtio,readonly=on"),
    (
        Devices(seed="nocloud", disk_bus="ide"),
        DISK,
        f"""
        {FIRST}\n-device ide-hd,drive=disk0,bus=ide.0,unit=0
        -drive file=vm_images/slice-1000/r1.seed,format=raw,if=none,id=seed,readonly=on
        -device ide-cd,drive=seed,bus=ide.1,unit=1
        """,
    ),
    (
        Devices(firmware="uefi"),
        "",
        """
        -drive if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd
        -drive if=pflash,unit=1,format=qcow2,file=vm_images/slice-1000/r1.uefi
        """,
    ),
    (Devices(min_nics=1, max_nics=4, nic_names="ether{n+1}", console="vnc", user="a", kvm="required"), "", ""),
]


@pytest.mark.parametrize(("devices", "gone", "new"), CASES, ids=[str(devices.to_dict()) for devices, _, _ in CASES])
def test_a_device_changes_its_own_words_only(devices: Devices, gone: str, new: str) -> None:
    assert changed(devices) == tuple(
        [line.strip() for line in lines.split("\n") if line.strip()] for lines in (gone, new)
    )


@pytest.mark.parametrize(
    ("devices", "names"),
    [
        (Devices(), ""),
        (Devices(machine="q35", firmware="uefi", disk2_gb=1, video="none"), ""),
        (Devices(nic_model="e1000", cpu_model="EPYC"), "e1000 EPYC-x86_64-cpu"),
        (Devices(disk_bus="sata", cdrom="/srv/a.qcow2"), "ich9-ahci ide-hd ide-cd"),
        (Devices(seed="nocloud"), ""),
        (Devices(seed="nocloud", disk_bus="sata"), "ich9-ahci ide-hd ide-cd"),
        (Devices(disk_bus="scsi", video="virtio"), "virtio-scsi-pci scsi-hd virtio-vga"),
    ],
)
def test_what_a_worker_is_asked_for(devices: Devices, names: str) -> None:
    assert qemu.needs(devices) == {*names.split()}


CHOICES = {name: each.rule.words for name, each in Devices.KEYS.items() if each.rule.words.startswith("one of ")}


@given(st.fixed_dictionaries({name: st.sampled_from(words[7:].split(", ")) for name, words in CHOICES.items()}))
def test_every_choice_has_words_and_no_word_is_said_twice(choice: dict[str, str]) -> None:
    words = words_of(Devices.from_dict(choice))
    assert all(words)
    assert words.count("-machine") == words.count("-cpu") == 1
    assert len([word for word in words if "r1_img.qcow2" in word]) == 1
