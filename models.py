"""The domain: users, flavors, slices and what is in them. Pure: no file, no host, no clock.

`allocation/` gives out ids and addresses, `core/names.py` names them on the hosts. `to_dict` returns
the documented layout of `database.yaml` (docs/spec/models.md). Keys of our own follow the documented keys and are left
out while empty.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Protocol

from core.errors import Refused
from core.inventory import ADMIN_SLICES, INTERNET_VLAN, LoginSettings
from core.names import DHCP_FIRST_HOST, vlan_address, vlan_cidr, vlan_dhcp_range
from core.status import NetworkStatus, SliceStatus, VMStatus

Record = dict[str, Any]
"""A mapping of plain values, as it stands in `database.yaml`."""

FIRST_ID = 1000
LAST_ID = 99_999
"""`tap_99999_eth10` has 15 characters, the most that Linux gives an interface's name."""

MAX_DATA_INTERFACES = 10
POOL_SIZE = 20
POOL_COUNT = 100
FIRST_VNC_PORT = 5901
LAST_VNC_PORT = 65_535
MAX_QUOTA = 10_000
MAX_SLICES = POOL_COUNT
"""The highest number of slices that a user may be allowed: each slice holds one of the pools of VLANs."""
NOWHERE = "nowhere"
"""The `worker_ip` of a VM that was lost with its worker, until another one has room for it."""

STUDENT, ADMIN = "student", "admin"
MAX_NAME_LENGTH = 32
_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_NAME_LENGTH}}}")


class Owned(Protocol):
    """Something that belongs to a user."""

    @property
    def owner(self) -> str:
        """The user's name."""


class User:
    """Someone who can log in: a digest of the password, a quota of VMs, the ids of the slices owned.

    The role `student` works on slices of their own, `admin` on everybody's. `quota_slices` is how many slices the user
    may have; None is the default of the role.
    """

    def __init__(self, username: str, password_hash: str, quota_vms: int = 10, role: str = STUDENT) -> None:
        self.username = username
        self.password_hash = password_hash
        self.quota_vms = quota_vms
        self.used_vms = 0
        self.slices: list[int] = []
        self.role = role
        self.quota_slices: int | None = None

    def may_work_on(self, slice_: Owned) -> bool:
        """Whether a slice is theirs, or they are an admin."""
        return self.role == ADMIN or slice_.owner == self.username

    def can_create_vms(self, count: int) -> bool:
        """Whether `count` more VMs stay within the quota."""
        return self.used_vms + count <= self.quota_vms

    def most_slices(self, login: LoginSettings) -> int:
        """Return how many slices the user may have at a time."""
        if self.quota_slices is not None:
            return self.quota_slices
        return max(login.slices, ADMIN_SLICES) if self.role == ADMIN else login.slices

    def to_dict(self) -> Record:
        """The user's entry in `database.yaml`."""
        record: Record = {
            "username": self.username,
            "password_hash": self.password_hash,
            "quota_vms": self.quota_vms,
            "used_vms": self.used_vms,
            "slices": list(self.slices),
        }
        if self.role != STUDENT:
            record["role"] = self.role
        if self.quota_slices is not None:
            record["quota_slices"] = self.quota_slices
        return record

    @classmethod
    def from_dict(cls, record: Record) -> User:
        """The user that `to_dict` wrote; `KeyError` where a required key is missing."""
        user = cls(
            record["username"], record["password_hash"], record.get("quota_vms", 10), record.get("role", STUDENT)
        )
        user.used_vms = record.get("used_vms", 0)
        user.slices = list(record.get("slices", ()))
        user.quota_slices = record.get("quota_slices")
        return user


class Flavor:
    """The built-in VM sizes: cores, memory and disk in GiB, and the base image's path on the manager."""

    FLAVORS: ClassVar[dict[str, Record]] = {
        "cirros": {"cores": 1, "ram_gb": 0.5, "disk_gb": 1, "image": "/tmp/vm_images/cirros-0.6.2-x86_64-disk.img"},
        "ubuntu": {
            "cores": 1,
            "ram_gb": 0.5,
            "disk_gb": 2.2,
            "image": "/tmp/vm_images/focal-server-cloudimg-amd64.img",
        },
    }

    @classmethod
    def get(cls, flavor_name: str) -> Record | None:
        """The size named `flavor_name`, or None."""
        return cls.FLAVORS.get(flavor_name)


class Interface:
    """A VM's network interface. `vlan_id` None: a NIC without a wire; `ip_config`: set on an `eth0` with internet."""

    def __init__(
        self,
        name: str,
        vlan_id: int | None = None,
        mac: str | None = None,
        ip_config: Record | None = None,
        link_id: int | None = None,
    ) -> None:
        self.name = name
        self.vlan_id = vlan_id
        self.mac = mac
        self.ip_config = ip_config
        self.link_id = link_id

    @property
    def can_be_linked(self) -> bool:
        """Whether this is a data interface (`eth1` and up) that no link holds yet."""
        return self.name != "eth0" and self.link_id is None

    def to_dict(self) -> Record:
        """The interface as it stands in its VM."""
        return {
            "name": self.name,
            "vlan_id": self.vlan_id,
            "mac": self.mac,
            "ip_config": dict(self.ip_config) if self.ip_config else None,
            "link_id": self.link_id,
        }

    @classmethod
    def from_dict(cls, record: Record) -> Interface:
        """The interface that `to_dict` wrote."""
        return cls(
            record["name"],
            record.get("vlan_id"),
            record.get("mac"),
            dict(record.get("ip_config") or {}) or None,
            record.get("link_id"),
        )


class Link:
    """A layer-2 wire between two interfaces of a slice: one VLAN, of which nobody else is a member."""

    def __init__(
        self, link_id: int, vlan_id: int, vm1_id: int, vm1_interface: str, vm2_id: int, vm2_interface: str
    ) -> None:
        self.link_id = link_id
        self.vlan_id = vlan_id
        self.vm1_id = vm1_id
        self.vm1_interface = vm1_interface
        self.vm2_id = vm2_id
        self.vm2_interface = vm2_interface

    @property
    def ends(self) -> tuple[tuple[int, str], tuple[int, str]]:
        """Both ends as (vm id, interface name), in the order in which they get .10 and .11 of the subnet."""
        return (self.vm1_id, self.vm1_interface), (self.vm2_id, self.vm2_interface)

    def address_of(self, vm_id: int) -> str:
        """The address DHCP reserves for the end at `vm_id`: the first two of the documented range."""
        return vlan_address(self.vlan_id, DHCP_FIRST_HOST + (vm_id == self.vm2_id))

    def peer_of(self, vm_id: int) -> tuple[int, str]:
        """The other end, seen from `vm_id`."""
        return self.ends[0] if vm_id == self.vm2_id else self.ends[1]

    def to_dict(self) -> Record:
        """The link as it stands in its slice."""
        return {
            "link_id": self.link_id,
            "vlan_id": self.vlan_id,
            "vm1_id": self.vm1_id,
            "vm1_interface": self.vm1_interface,
            "vm2_id": self.vm2_id,
            "vm2_interface": self.vm2_interface,
        }

    @classmethod
    def from_dict(cls, record: Record) -> Link:
        """The link that `to_dict` wrote."""
        return cls(
            record["link_id"],
            record["vlan_id"],
            record["vm1_id"],
            record["vm1_interface"],
            record["vm2_id"],
            record["vm2_interface"],
        )


class VM:
    """A virtual machine of a slice, placed on one worker.

    Status goes `pending` (being created) -> `design` (overlay made) -> `running`. `vnc_secret` is what a VNC client is
    asked for, made anew at each deployment; `flavor_name` is what `flavor` was called when the VM was added. `disk_id`
    tells its disk from one of the same name; VMs of older files have none. `lost_with` is the worker that was
    written off with its disk: the next deployment or repair makes a new one.
    """

    def __init__(
        self,
        vm_id: int,
        name: str,
        owner: str,
        worker_ip: str,
        vnc_port: int,
        interfaces: list[Interface],
        flavor: Record | None = None,
        qcow_image: str | None = None,
    ) -> None:
        self.vm_id = vm_id
        self.name = name
        self.owner = owner
        self.worker_ip = worker_ip
        self.vnc_port = vnc_port
        self.interfaces = interfaces
        self.flavor = flavor
        self.qcow_image = qcow_image
        self.status = VMStatus.PENDING
        self.pid: str | None = None
        self.flavor_name: str | None = None
        self.disk_id: str | None = None
        self.vnc_secret: str | None = None
        self.lost_with: str | None = None

    @property
    def cores(self) -> int:
        """Processors of the guest (documented default 1)."""
        return int(self._size("cores", 1))

    @property
    def ram_mib(self) -> int:
        """Memory of the guest in MiB (documented default 512)."""
        return int(self.ram_gb * 1024)

    @property
    def disk_mib(self) -> int:
        """Disk of the guest in MiB."""
        return int(self.disk_gb * 1024)

    @property
    def largest_image_mib(self) -> int:
        """The largest base image for this disk, in MiB: what a part of a MiB is lacking may be there."""
        return math.ceil(self.disk_gb * 1024)

    @property
    def ram_gb(self) -> float:
        """Memory of the guest in GiB (documented default 0.5)."""
        return self._size("ram_gb", 0.5)

    @property
    def disk_gb(self) -> float:
        """Disk of the guest in GiB."""
        return self._size("disk_gb", 1)

    @property
    def image(self) -> str | None:
        """The base image's path on the manager; None in files that do not record it."""
        image = (self.flavor or {}).get("image")
        return str(image) if image else None

    def _size(self, key: str, default: float) -> float:
        return float((self.flavor or {}).get(key, default))

    def interface(self, name: str) -> Interface | None:
        """The interface called `name`, or None."""
        return next((interface for interface in self.interfaces if interface.name == name), None)

    def to_dict(self) -> Record:
        """The VM as it stands in its slice."""
        record = {
            "vm_id": self.vm_id,
            "name": self.name,
            "owner": self.owner,
            "worker_ip": self.worker_ip,
            "vnc_port": self.vnc_port,
            "status": self.status.value,
            "pid": self.pid,
            "qcow_image": self.qcow_image,
            "flavor": None if self.flavor is None else dict(self.flavor),
            "interfaces": [interface.to_dict() for interface in self.interfaces],
        }
        ours = {
            "flavor_name": self.flavor_name,
            "disk_id": self.disk_id,
            "vnc_secret": self.vnc_secret,
            "lost_with": self.lost_with,
        }
        return record | _filled(ours)

    @classmethod
    def from_dict(cls, record: Record) -> VM:
        """The VM that `to_dict` wrote."""
        vm = cls(
            record["vm_id"],
            record["name"],
            record["owner"],
            record["worker_ip"],
            record["vnc_port"],
            [Interface.from_dict(interface) for interface in record["interfaces"]],
            None if record.get("flavor") is None else dict(record["flavor"]),
            record.get("qcow_image"),
        )
        vm.status = VMStatus(record.get("status", VMStatus.PENDING))
        vm.pid = record.get("pid")
        vm.flavor_name = record.get("flavor_name")
        vm.disk_id = record.get("disk_id")
        vm.vnc_secret = record.get("vnc_secret")
        vm.lost_with = record.get("lost_with")
        return vm


class Network:
    """The subnet of a link's VLAN. Status is `pending`, and `running` while the slice is deployed."""

    def __init__(
        self, vlan_id: int, cidr: str, gateway_ip: str, dhcp_enabled: bool = False, dhcp_range: str | None = None
    ) -> None:
        self.vlan_id = vlan_id
        self.cidr = cidr
        self.gateway_ip = gateway_ip
        self.dhcp_enabled = dhcp_enabled
        self.dhcp_range = dhcp_range
        self.status = NetworkStatus.PENDING

    def to_dict(self) -> Record:
        """The network as it stands in its slice."""
        return {
            "vlan_id": self.vlan_id,
            "cidr": self.cidr,
            "gateway_ip": self.gateway_ip,
            "dhcp_enabled": self.dhcp_enabled,
            "dhcp_range": self.dhcp_range,
            "status": self.status.value,
        }

    @classmethod
    def from_dict(cls, record: Record) -> Network:
        """The network that `to_dict` wrote."""
        network = cls(
            record["vlan_id"],
            record["cidr"],
            record["gateway_ip"],
            record.get("dhcp_enabled", False),
            record.get("dhcp_range"),
        )
        network.status = NetworkStatus(record.get("status", NetworkStatus.PENDING))
        return network

    @classmethod
    def of_vlan(cls, vlan_id: int) -> Network:
        """The network that a link on `vlan_id` gets: addresses from the VLAN's number, DHCP on."""
        return cls(
            vlan_id,
            vlan_cidr(vlan_id),
            vlan_address(vlan_id, 1),
            dhcp_enabled=True,
            dhcp_range=vlan_dhcp_range(vlan_id),
        )


class Slice:
    """A slice's topology: VMs, links and networks, with a pool of 20 VLANs that no other live slice holds.

    Status is `design`, `deploying`, `running` or `deleting`. `left` names what a deletion could not remove yet.
    """

    def __init__(self, slice_id: int, owner: str, topology_type: str = "custom") -> None:
        self.slice_id = slice_id
        self.owner = owner
        self.topology_type = topology_type
        self.vlan_pool_start = 100 + (slice_id % POOL_COUNT) * POOL_SIZE
        self.vlan_pool_end = self.vlan_pool_start + POOL_SIZE - 1
        self.vlan_pool_used: list[int] = []
        self.vms: list[VM] = []
        self.links: list[Link] = []
        self.networks: list[Network] = []
        self.status = SliceStatus.DESIGN
        self.name = ""
        self.left: list[str] = []

    def get_next_vlan(self, reserved: int = INTERNET_VLAN) -> int | None:
        """Take the pool's first unused VLAN, never `reserved`; None when the pool is exhausted."""
        for vlan_id in range(self.vlan_pool_start, self.vlan_pool_end + 1):
            if vlan_id != reserved and vlan_id not in self.vlan_pool_used:
                self.vlan_pool_used.append(vlan_id)
                return vlan_id
        return None

    def vm(self, vm_id: int) -> VM | None:
        """The VM with this id, or None."""
        return next((vm for vm in self.vms if vm.vm_id == vm_id), None)

    def link(self, link_id: int | None) -> Link | None:
        """The link with this id, or None."""
        return next((link for link in self.links if link.link_id == link_id), None)

    @property
    def placed(self) -> list[VM]:
        """Return the VMs that have a worker."""
        return [vm for vm in self.vms if vm.worker_ip != NOWHERE]

    @property
    def workers(self) -> list[str]:
        """Return the workers of the VMs, each once."""
        return list(dict.fromkeys(vm.worker_ip for vm in self.placed))

    @property
    def uses_internet(self) -> bool:
        """Whether some VM is on the shared internet VLAN."""
        return any(internet_interfaces(self))

    def address_of(self, vm: VM, interface: Interface) -> str | None:
        """The address that DHCP reserves for `interface`, or None where there is no DHCP."""
        if interface.ip_config:
            return str(interface.ip_config["ip"])
        link = self.link(interface.link_id)
        return link.address_of(vm.vm_id) if link else None

    def connect(
        self, vm1_id: int, vm1_interface: str, vm2_id: int, vm2_interface: str, reserved: int = INTERNET_VLAN
    ) -> Link:
        """Join two unconnected data interfaces of two VMs by a link on the pool's next VLAN.

        `Refused` where an end may not be linked or the pool is exhausted; then no VLAN is spent.
        """
        self.vm_to_link(vm2_id, vm1_id)
        ends = [self.free_interface(vm1_id, vm1_interface), self.free_interface(vm2_id, vm2_interface)]
        vlan_id = self.get_next_vlan(reserved)
        if vlan_id is None:
            count = POOL_SIZE - (self.vlan_pool_start <= reserved <= self.vlan_pool_end)
            raise Refused(f"VLAN pool exhausted: this slice can have {count} links; put further VMs into another slice")
        link_id = max((link.link_id for link in self.links), default=0) + 1
        link = Link(link_id, vlan_id, vm1_id, vm1_interface, vm2_id, vm2_interface)
        for interface in ends:
            interface.vlan_id, interface.link_id = vlan_id, link_id
        self.links.append(link)
        self.networks.append(Network.of_vlan(vlan_id))
        return link

    def vm_to_link(self, vm_id: int, other_id: int | None = None) -> VM:
        """Return a VM to link with VM `other_id`. Raise `Refused` if the ids are equal, or there is no VM."""
        if vm_id == other_id:
            raise Refused(f"A link joins two different VMs; VM {vm_id} was given twice")
        vm = self.vm(vm_id)
        if vm is None:
            raise Refused(f"Slice {self.slice_id} has no VM {vm_id}; its VMs: {_listed(v.vm_id for v in self.vms)}")
        return vm

    def free_interface(self, vm_id: int, name: str) -> Interface:
        """Return a data interface without a link. Raise `Refused` if this one cannot be linked."""
        vm = self.vm_to_link(vm_id)
        interface = vm.interface(name)
        if interface is None or not interface.can_be_linked:
            why = f"{name} is taken" if interface and name != "eth0" else f"{name!r} cannot be linked"
            free = _listed(i.name for i in vm.interfaces if i.can_be_linked)
            raise Refused(f"VM {vm_id} ({vm.name}): {why}; its free data interfaces: {free}")
        return interface

    def to_dict(self) -> Record:
        """The slice's entry in `database.yaml`."""
        record: Record = {
            "slice_id": self.slice_id,
            "owner": self.owner,
            "topology_type": self.topology_type,
            "vlan_pool_start": self.vlan_pool_start,
            "vlan_pool_end": self.vlan_pool_end,
            "vlan_pool_used": list(self.vlan_pool_used),
            "status": self.status.value,
            "vms": [vm.to_dict() for vm in self.vms],
            "links": [link.to_dict() for link in self.links],
            "networks": [network.to_dict() for network in self.networks],
        }
        return record | _filled({"name": self.name, "left": list(self.left)})

    @classmethod
    def from_dict(cls, record: Record) -> Slice:
        """The slice that `to_dict` wrote; the pool's bounds follow from the id."""
        slice_ = cls(record["slice_id"], record["owner"], record.get("topology_type", "custom"))
        slice_.vlan_pool_used = list(record.get("vlan_pool_used", ()))
        slice_.status = SliceStatus(record.get("status", SliceStatus.DESIGN))
        slice_.vms = [VM.from_dict(vm) for vm in record.get("vms", ())]
        slice_.links = [Link.from_dict(link) for link in record.get("links", ())]
        slice_.networks = [Network.from_dict(network) for network in record.get("networks", ())]
        slice_.name = record.get("name", "")
        slice_.left = list(record.get("left", ()))
        return slice_


def is_valid_name(name: str) -> bool:
    """Whether `name` may name a VM, a slice or a user: letters, digits, hyphen, underscore, at most 32."""
    return _NAME.fullmatch(name) is not None


def internet_interfaces(slice_: Slice) -> Iterator[tuple[VM, Interface]]:
    """The interfaces of a slice that are on the shared internet VLAN."""
    for vm in slice_.vms:
        for interface in vm.interfaces:
            if interface.ip_config:
                yield vm, interface


def _filled(record: Record) -> Record:
    return {key: value for key, value in record.items() if value not in (None, "", [])}


def _listed(items: Iterable[object]) -> str:
    return ", ".join(map(str, items)) or "none"
