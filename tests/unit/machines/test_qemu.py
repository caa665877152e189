"""QEMU's command line: the words of each device."""

from __future__ import annotations

from core.names import VMFiles
from machines import qemu
from models import VM, Interface

FILES = VMFiles("vm_images", 1000, "r1")

TODAY = """
qemu-system-x86_64
-name slice1000-vm1001
-no-user-config -nodefaults -machine pc -cpu max
-accel kvm -accel tcg
-smp 1 -m 512
-drive file=vm_images/slice-1000/r1_img.qcow2,format=qcow2,if=virtio,discard=unmap
-netdev tap,id=nic0,ifname=tap_1001_eth0,script=no,downscript=no
-device virtio-net-pci,mac=52:54:00:03:e9:00,romfile=,netdev=nic0
-device virtio-net-pci,mac=52:54:00:03:e9:01,romfile=
-device virtio-rng-pci -vga std
-chardev socket,id=console,path=vm_images/slice-1000/r1.console,server=on,wait=off,logfile=/dev/fd/9
-serial chardev:console
-object secret,id=vnc,format=base64,file=vm_images/slice-1000/r1.vnc
-vnc 10.0.10.1:1,password-secret=vnc
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
"""


def machine() -> VM:
    nics = [Interface("eth0", 400, "52:54:00:03:e9:00"), Interface("eth1", None, "52:54:00:03:e9:01")]
    return VM(1001, "r1", "admin", "10.0.10.1", 5901, nics)


def test_a_flavor_without_devices_has_the_command_line_of_today() -> None:
    assert [*qemu.command_line(1000, machine(), FILES, "auto")] == TODAY.split()
