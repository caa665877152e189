"""From ids to what they stand for outside: subnets and addresses of VLANs, MACs, names of objects on hosts (DESIGN 4).

Nothing of this is stored: the same id gives the same name on every host and in every process.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

INTERNET_GATEWAY_MAC = "02:c1:0d:00:00:01"
INTERNET_DHCP_MAC = "02:c1:0d:00:00:02"
"""Who guests on the internet VLAN may speak to; locally administered, and no MAC of a VM begins like this."""

VM_MACS = "52:54:00:00:00:00/ff:ff:ff:00:00:00"
OUR_MACS = "02:c1:0d:00:00:00/ff:ff:ff:00:00:00"

_COOKIES = 0xC10D_0000_0000_0000
_GROUPS = 0x0C10_D000

DHCP_SERVER_HOST = 2
DHCP_FIRST_HOST = 10
DHCP_LAST_HOST = 250


def vlan_address(vlan_id: int, host: int) -> str:
    """Address number `host` in the subnet of a link's VLAN."""
    return f"192.168.{vlan_id % 256}.{host}"


def vlan_cidr(vlan_id: int) -> str:
    """The subnet of a link's VLAN; it repeats every 256 VLANs, which is why each slice has its own router namespace."""
    return f"{vlan_address(vlan_id, 0)}/24"


def vlan_dhcp_range(vlan_id: int) -> str:
    """First and last address that dnsmasq leases on a link's VLAN, with a comma between."""
    return f"{vlan_address(vlan_id, DHCP_FIRST_HOST)},{vlan_address(vlan_id, DHCP_LAST_HOST)}"


def mac_address(vm_id: int, index: int) -> str:
    """The MAC of interface number `index` (spec/managing-vms.txt)."""
    return f"52:54:00:{(vm_id >> 8) & 0xFF:02x}:{vm_id & 0xFF:02x}:{index:02x}"


@dataclass(frozen=True)
class VMFiles:
    """A VM's files on its worker, all in one folder per slice; `images_path` is that of `HypervisorSettings`."""

    images_path: str
    slice_id: int
    vm_name: str

    @property
    def folder(self) -> str:
        """The folder of the slice, readable by its owner only."""
        return f"{self.images_path}/{slice_part(self.slice_id)}"

    @property
    def overlay(self) -> str:
        """The guest's disk."""
        return f"{self.folder}/{self.vm_name}_img.qcow2"

    def mark(self, disk_id: str) -> str:
        """An empty file that says by its name whose the overlay beside it is: the VM's with this `disk_id`.

        The name lasts as the overlay's own does; of what was just written into a file, a power cut can leave nothing.
        """
        return f"{self.folder}/{self.vm_name}.id-{disk_id}"

    @property
    def pid(self) -> str:
        """QEMU's process id."""
        return f"{self.folder}/{self.vm_name}.pid"

    @property
    def console(self) -> str:
        """UNIX socket of the guest's serial console."""
        return f"{self.folder}/{self.vm_name}.console"

    @property
    def console_lock(self) -> str:
        """Lock and name of the user whom the console has; see `remote.console`."""
        return f"{self.folder}/{self.vm_name}.console-lock"

    @property
    def log(self) -> str:
        """What the guest wrote to its serial console."""
        return f"{self.folder}/{self.vm_name}.log"

    @property
    def messages(self) -> str:
        """What QEMU itself had to say."""
        return f"{self.folder}/{self.vm_name}.qemu"

    @property
    def vnc_secret(self) -> str:
        """The password that QEMU asks VNC clients for."""
        return f"{self.folder}/{self.vm_name}.vnc"

    @property
    def of_its_process(self) -> tuple[str, ...]:
        """Those that are there while it runs: all but the disk and its mark."""
        return self.pid, self.console, self.console_lock, self.log, self.messages, self.vnc_secret


DISK_ID = r"[0-9a-f]{16}"
"""A pattern for what `VM.disk_id` is like."""

_NUMBER = "[1-9][0-9]{0,8}"
"""A number in a name; a host may say anything, and no number of ours is longer."""

_VM_FILE = re.compile(
    rf"(slice-({_NUMBER})/.+?)"
    rf"(_img\.qcow2|_img\.qcow2\.part|\.id-{DISK_ID}|\.pid|\.console|\.console-lock|\.log|\.qemu|\.vnc)"
)


def vm_file(path: str) -> tuple[int, str, str] | None:
    """Slice, path without its ending, and ending of a file of `VMFiles`, relative to the folder of images."""
    found = _VM_FILE.fullmatch(path)
    return (int(found[2]), found[1], found[3]) if found else None


def upload_part(image: str, slice_id: int) -> str:
    """What a base image is called while it is copied for a slice."""
    return f".{image}.{slice_part(slice_id)}.part"


MAX_IMAGE_NAME = 255 - len(".") - len(".seal") - len(".slice-99999.part")
"""Bytes of a base image's file name: that of its fingerprint under way is the longest (`NAME_MAX` in limits.h)."""


def is_image_name(name: str) -> bool:
    """Return whether a base image can have this file name on workers, beside the files that are ours there."""
    is_ours = re.fullmatch(r"slice-[0-9]+|\..*\.(seal|part)", name) is not None
    return 0 < len(os.fsencode(name)) <= MAX_IMAGE_NAME and name not in {".", ".."} and not is_ours


def slice_of_upload(path: str) -> int | None:
    """The slice of an `upload_part`."""
    return number_in(path, rf"\..+\.slice-({_NUMBER})\.part")


def tap_name(vm_id: int, interface: str) -> str:
    """The TAP of a VM's interface on the worker."""
    return f"tap_{vm_id}_{interface}"


def vm_of_tap(name: str) -> int | None:
    """The VM of a `tap_name`."""
    return number_in(name, rf"tap_({_NUMBER})_eth[0-9]{{1,2}}")


def link_group(number: int) -> str:
    """The group of network devices (ip-link(8)) into which a slice's, or a VM's, TAPs come to be deleted at once."""
    return str(_GROUPS + number)


def process_name(slice_id: int, vm_id: int) -> str:
    """QEMU's `-name`: with the pid file it is the proof that a process is ours."""
    return f"slice{slice_id}-vm{vm_id}"


def ids_of_process(name: str) -> tuple[int, int] | None:
    """Slice and VM of a `process_name`."""
    found = re.fullmatch(rf"slice({_NUMBER})-vm({_NUMBER})", name)
    return (int(found[1]), int(found[2])) if found else None


def vm_macs(vm_id: int) -> str:
    """All MACs of a VM, and VM_MACS those of all VMs, as Open vSwitch matches them: value/mask (ovs-fields(7))."""
    return f"{mac_address(vm_id, 0)}/ff:ff:ff:ff:ff:00"


def flow_cookie(slice_id: int) -> str:
    """What marks a slice's flows on a worker's bridge."""
    return f"{_COOKIES + slice_id:#x}"


def slice_of_cookie(cookie: int) -> int | None:
    """The slice of a `flow_cookie`."""
    return cookie - _COOKIES if cookie >> 48 == _COOKIES >> 48 else None


def gateway_port(vlan_id: int) -> str:
    """The gateway's port on the network node."""
    return f"gw_vlan{vlan_id}"


def router_namespace(slice_id: int) -> str:
    """The namespace that holds all gateways of a slice."""
    return f"ns-gw-slice{slice_id}"


def slice_of_router(namespace: str) -> int | None:
    """The slice of a `router_namespace`."""
    return number_in(namespace, f"ns-gw-slice({_NUMBER})")


def dhcp_namespace(vlan_id: int) -> str:
    """The namespace in which a VLAN's dnsmasq runs."""
    return f"ns-dhcp-vlan{vlan_id}"


def vlan_of_dhcp(namespace: str) -> int | None:
    """The VLAN of a `dhcp_namespace`."""
    return number_in(namespace, f"ns-dhcp-vlan({_NUMBER})")


def dhcp_port(vlan_id: int) -> str:
    """The port of a VLAN's dnsmasq."""
    return f"dhcp_v{vlan_id}"


def slice_part(slice_id: int) -> str:
    """What a slice's part is called in something that slices share: a folder of disks, a file, a chain of rules."""
    return f"slice-{slice_id}"


def slice_of_part(name: str) -> int | None:
    """The slice of a `slice_part`."""
    return number_in(name, f"slice-({_NUMBER})")


def number_in(name: str, pattern: str = f"({_NUMBER})") -> int | None:
    """Return the number in a name of this pattern; None in any other."""
    found = re.fullmatch(pattern, name)
    return int(found[1]) if found else None
