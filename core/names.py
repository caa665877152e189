"""Names and addresses that follow from ids: subnets, MACs, objects on hosts (docs/architecture.md).

None of them is stored: the same id gives the same name on every host and in every process.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

INTERNET_GATEWAY_MAC = "02:c1:0d:00:00:01"
INTERNET_DHCP_MAC = "02:c1:0d:00:00:02"
"""The only two MACs that guests on the internet VLAN may address; no MAC of a VM begins like these."""

VM_MACS = "52:54:00:00:00:00/ff:ff:ff:00:00:00"
OUR_MACS = "02:c1:0d:00:00:00/ff:ff:ff:00:00:00"

_COOKIES = 0xC10D_0000_0000_0000
_GROUPS = 0x0C10_D000

BRIDGE = "br-int"
"""The bridge of Open vSwitch on each host (docs/spec/networking.md)."""

MAIN = "main"
"""The name that users say for the realm of the hosts at the top of the file. Its slices name no realm."""

LONGEST_REALM = 15 - len(f"{BRIDGE}-")
"""Characters of a realm's name: that of its bridge is the name of an interface, too."""

FIRST_ID = 1000
LAST_ID = 999_999
LAST_SLICE_ID = 99_999
"""Slices keep five digits: paths of their files have room for no more (`MAX_IMAGE_NAME`, `MAX_IMAGES_DIR`)."""

DHCP_SERVER_HOST = 2
DHCP_FIRST_HOST = 10
DHCP_LAST_HOST = 250


def in_guests(name: str) -> str:
    """Return the name of a VM as host names are compared, in which `A_b` and `a-b` are one."""
    return name.lower().replace("_", "-")


def vlan_cidr(vlan_id: int) -> str:
    """Return the subnet of a link's VLAN.

    It repeats every 256 VLANs; therefore each slice has its own router namespace.
    """
    return f"192.168.{vlan_id % 256}.0/24"


def mac_address(vm_id: int, index: int) -> str:
    """Return the MAC of interface number `index` (docs/spec/managing-vms.md)."""
    return f"52:54:00:{(vm_id >> 8) & 0xFF:02x}:{vm_id & 0xFF:02x}:{index:02x}"


@dataclass(frozen=True)
class VMFiles:
    """The paths of a VM's files on its worker, all in the folder of the slice.

    `images_path` is that of `HypervisorSettings`.
    """

    images_path: str
    slice_id: int
    vm_name: str

    @property
    def folder(self) -> str:
        """Return the folder of the slice; only its owner can read it."""
        return f"{self.images_path}/{slice_part(self.slice_id)}"

    @property
    def overlay(self) -> str:
        """Return the guest's disk."""
        return f"{self.folder}/{self.vm_name}_img.qcow2"

    @property
    def disk2(self) -> str:
        """Return the guest's second disk."""
        return f"{self.folder}/{self.vm_name}.disk2"

    @property
    def uefi_variables(self) -> str:
        """Return the variables of the guest's UEFI, such as the order in which it boots."""
        return f"{self.folder}/{self.vm_name}.uefi"

    @property
    def seed(self) -> str:
        """Return the volume from which the guest's cloud-init takes what it has to know (`machines.seed`)."""
        return f"{self.folder}/{self.vm_name}.seed"

    def mark(self, disk_id: str) -> str:
        """Return the empty file that assigns the overlay to the VM with this `disk_id`.

        The id is in the name, which lasts as long as the overlay's. A power cut can lose fresh content of a file.
        """
        return f"{self.folder}/{self.vm_name}.id-{disk_id}"

    @property
    def pid_file(self) -> str:
        """Return the file with QEMU's process id."""
        return f"{self.folder}/{self.vm_name}.pid"

    @property
    def console(self) -> str:
        """Return the UNIX socket of the guest's serial console."""
        return f"{self.folder}/{self.vm_name}.console"

    @property
    def qmp(self) -> str:
        """Return the UNIX socket that controls QEMU itself (`machines.qmp`); no user is ever joined with it."""
        return f"{self.folder}/{self.vm_name}.qmp"

    @property
    def console_lock(self) -> str:
        """Return the lock of the console, which also names its user; see `remote.console`."""
        return f"{self.folder}/{self.vm_name}.console-lock"

    @property
    def log(self) -> str:
        """Return the beginning of the log of the guest's serial console; its end is in `log_end`."""
        return f"{self.folder}/{self.vm_name}.log"

    @property
    def log_end(self) -> tuple[str, str]:
        """Return the two files that keep the end of a long log, the older one first."""
        return f"{self.log}-old", f"{self.log}-end"

    @property
    def messages(self) -> str:
        """Return the log of QEMU's own messages."""
        return f"{self.folder}/{self.vm_name}.qemu"

    @property
    def vnc_secret(self) -> str:
        """Return the file with the password that QEMU asks VNC clients for."""
        return f"{self.folder}/{self.vm_name}.vnc"

    @property
    def of_its_process(self) -> tuple[str, ...]:
        """Return the files of a running VM: all but its disks, their mark and its seed."""
        return self.pid_file, self.console, self.console_lock, self.log, self.messages, self.vnc_secret, self.qmp


DISK_ID = r"[0-9a-f]{16}"
"""The pattern of `VM.disk_id`."""

_NUMBER = "[1-9][0-9]{0,8}"
"""The pattern of a number in a name; it bounds a host's answer, and no number of ours is longer."""

_VM_FILE = re.compile(
    rf"(slice-({_NUMBER})/.+?)"
    rf"((?:_img\.qcow2|\.disk2|\.uefi|\.seed)(?:\.part|\.old)?|\.id-{DISK_ID}"
    r"|\.pid|\.console|\.console-lock|\.log(?:-old|-end)?|\.qemu|\.vnc|\.qmp)"
)


def vm_file(path: str) -> tuple[int, str, str] | None:
    """Return slice, path without its ending, and ending of a file of `VMFiles`, relative to the folder of images."""
    found = _VM_FILE.fullmatch(path)
    return (int(found[2]), found[1], found[3]) if found else None


STAGED = "staged"
"""The owner of a copy of a base image that is brought to a worker for no slice."""


def upload_part(image: str, owner: str) -> str:
    """Return the temporary name of a base image while it is copied for a slice, known by its part, or as `STAGED`."""
    return f".{image}.{owner}.part"


MAX_IMAGE_NAME = 255 - len(".") - len(".seal") - len(".slice-99999.part")
"""Bytes of a base image's file name: that of its fingerprint under way is the longest (`NAME_MAX` in limits.h)."""


def is_image_name(name: str) -> bool:
    """Return whether a base image can have this file name on workers, where some names are ours."""
    is_ours = re.fullmatch(r"slice-[0-9]+|\..*\.seal|\..*\.part", name) is not None
    return 0 < len(os.fsencode(name)) <= MAX_IMAGE_NAME and name not in {".", ".."} and not is_ours


def slice_of_upload(path: str) -> int | None:
    """Return the slice of an `upload_part`."""
    return number_in(path, rf"\..+\.slice-({_NUMBER})\.part")


def is_staged_part(path: str) -> bool:
    """Return whether a file is the `upload_part` of an image that is brought to a worker for no slice."""
    return path.startswith(".") and path.endswith(f".{STAGED}.part") and "/" not in path


_FIRST_CODE = 100_000
_CODES_OF_LETTER = 36**4
_CODED_TAP = re.compile(r"tap_([a-z])([0-9a-z]{4})_eth[0-9]{1,2}")
"""The TAP of a VM id with more than five digits.

`tap_99999_eth10` has 15 characters, the most that Linux gives an interface's name. The letter before four base-36
digits keeps the two kinds apart: 100008 in base 36 is `2560`, which is an id, too.
"""


def tap_name(vm_id: int, interface: str) -> str:
    """Return the TAP of a VM's interface on the worker."""
    return f"tap_{vm_id if vm_id < _FIRST_CODE else _code(vm_id - _FIRST_CODE)}_{interface}"


def _code(number: int) -> str:
    """Return a letter and four base-36 digits."""
    letter, rest = divmod(number, _CODES_OF_LETTER)
    digits = (rest // 36**place % 36 for place in (3, 2, 1, 0))
    return chr(ord("a") + letter) + "".join("0123456789abcdefghijklmnopqrstuvwxyz"[digit] for digit in digits)


def vm_of_tap(name: str) -> int | None:
    """Return the VM of a `tap_name`."""
    if coded := _CODED_TAP.fullmatch(name):
        return _FIRST_CODE + (ord(coded[1]) - ord("a")) * _CODES_OF_LETTER + int(coded[2], 36)
    return number_in(name, rf"tap_({_NUMBER})_eth[0-9]{{1,2}}")


def tap_group(number: int) -> str:
    """Return the group of network devices (ip-link(8)) by which the TAPs of a slice or VM are deleted at once."""
    return str(_GROUPS + number)


def process_name(slice_id: int, vm_id: int) -> str:
    """Return QEMU's `-name`; together with the pid file it proves that a process is ours."""
    return f"slice{slice_id}-vm{vm_id}"


def ids_of_process(name: str) -> tuple[int, int] | None:
    """Return slice and VM of a `process_name`."""
    found = re.fullmatch(rf"slice({_NUMBER})-vm({_NUMBER})", name)
    return (int(found[1]), int(found[2])) if found else None


def vm_macs(vm_id: int) -> str:
    """Return all MACs of a VM as a match of Open vSwitch: value/mask (ovs-fields(7)).

    `VM_MACS` matches those of all VMs.
    """
    return f"{mac_address(vm_id, 0)}/ff:ff:ff:ff:ff:00"


def flow_cookie(slice_id: int) -> str:
    """Return the cookie that marks a slice's flows on a worker's bridge."""
    return f"{_COOKIES + slice_id:#x}"


def slice_of_cookie(cookie: int) -> int | None:
    """Return the slice of a `flow_cookie`."""
    return cookie - _COOKIES if cookie >> 48 == _COOKIES >> 48 else None


def gateway_port(vlan_id: int) -> str:
    """Return the gateway's port on the network node."""
    return f"gw_vlan{vlan_id}"


def router_namespace(slice_id: int) -> str:
    """Return the namespace that holds all gateways of a slice."""
    return f"ns-gw-slice{slice_id}"


def slice_of_router(namespace: str) -> int | None:
    """Return the slice of a `router_namespace`."""
    return number_in(namespace, f"ns-gw-slice({_NUMBER})")


def dhcp_namespace(vlan_id: int) -> str:
    """Return the namespace of a VLAN's dnsmasq."""
    return f"ns-dhcp-vlan{vlan_id}"


def vlan_of_dhcp(namespace: str) -> int | None:
    """Return the VLAN of a `dhcp_namespace`."""
    return number_in(namespace, f"ns-dhcp-vlan({_NUMBER})")


def dhcp_port(vlan_id: int) -> str:
    """Return the port of a VLAN's dnsmasq."""
    return f"dhcp_v{vlan_id}"


def slice_part(slice_id: int) -> str:
    """Return the name of a slice's part in shared objects: a folder of disks, a file, a chain of rules."""
    return f"slice-{slice_id}"


def slice_of_part(name: str) -> int | None:
    """Return the slice of a `slice_part`."""
    return number_in(name, f"slice-({_NUMBER})")


def number_in(name: str, pattern: str = f"({_NUMBER})") -> int | None:
    """Return the number in a name of this pattern; None for another name."""
    found = re.fullmatch(pattern, name)
    return int(found[1]) if found else None
