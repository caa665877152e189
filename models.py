"""The domain: users, flavors and slices with their VMs, links and networks. Pure: no file, no host, no clock.

`Slice.connect` gives a link its VLAN, and so its subnet; `allocation/` gives out ids, VNC ports and internet addresses.
`core/names.py` names objects on the hosts. `to_dict` returns the documented layout of `database.yaml`
(docs/spec/models.md). A class declares each key of its record in one line (core/records.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Protocol

from core import formats
from core.errors import Refused
from core.flavors import MAX_DATA_INTERFACES, Devices, Flavor
from core.inventory import ADMIN_SLICES, INTERNET_VLAN, MAX_SLICES, LoginSettings
from core.names import DHCP_FIRST_HOST, vlan_address, vlan_cidr, vlan_dhcp_range
from core.records import Recorded, derived, items, key, part, parts, state
from core.rule import FLAG, Record, one_of, or_nothing, whole
from core.status import NetworkStatus, SliceStatus, VMStatus
from core.values import IPConfig, Size

__all__ = ["MAX_DATA_INTERFACES", "VM", "Devices", "Flavor", "Interface", "Link", "Network", "Slice", "User"]
"""The documented classes (docs/spec/models.md), and what they are made of."""

FIRST_ID = 1000
LAST_ID = 99_999
"""`tap_99999_eth10` has 15 characters, the most that Linux gives an interface's name."""

POOL_SIZE = 20
POOL_COUNT = MAX_SLICES
FIRST_VNC_PORT = 5901
LAST_VNC_PORT = 65_535
MAX_QUOTA = 10_000
NOWHERE = "nowhere"
"""The `worker_ip` of a VM that was lost with its worker, until another worker has room for it."""

STUDENT, ADMIN = "student", "admin"


def pool_of(slice_id: int) -> range:
    """Return the VLANs of a slice's pool, which follows from its id."""
    start = 100 + slice_id % POOL_COUNT * POOL_SIZE
    return range(start, start + POOL_SIZE)


def most_links(slice_id: int, reserved: int = INTERNET_VLAN) -> int:
    """Return the highest number of links of a slice with this id: one for each VLAN of its pool but `reserved`."""
    return len({*pool_of(slice_id)} - {reserved})


ID = whole(FIRST_ID, LAST_ID)
LINK_ID = whole(1, 1_000_000)


class Owned(Protocol):
    """An object that belongs to a user."""

    @property
    def owner(self) -> str:
        """Return the user's name."""


class User(Recorded):
    """A user: the digest of the password, the quota of VMs, and the ids of the user's slices.

    A `student` works on slices of their own, an `admin` on all slices. `quota_slices` is the highest number of slices;
    None is the default of the role.
    """

    username: str = key(formats.NAME)
    password_hash: str = key(formats.DIGEST)
    quota_vms: int = key(whole(0, MAX_QUOTA), default=10)
    used_vms: int = key(whole(0, 1_000_000), default=0)
    slices: list[int] = items(ID)
    role: str = key(one_of(STUDENT, ADMIN), default=STUDENT, brief=True)
    quota_slices: int | None = key(whole(0, MAX_SLICES), default=None, brief=True)

    def __init__(self, username: str, password_hash: str, quota_vms: int = 10, role: str = STUDENT) -> None:
        self.username = username
        self.password_hash = password_hash
        self.quota_vms = quota_vms
        self.slices = []
        self.role = role

    def may_work_on(self, slice_: Owned) -> bool:
        """Return whether the user owns the slice or is an admin."""
        return self.role == ADMIN or slice_.owner == self.username

    def can_create_vms(self, count: int) -> bool:
        """Return whether `count` more VMs stay within the quota."""
        return self.used_vms + count <= self.quota_vms

    def most_slices(self, login: LoginSettings) -> int:
        """Return the highest number of slices that the user may have at a time."""
        if self.quota_slices is not None:
            return self.quota_slices
        return max(login.slices, ADMIN_SLICES) if self.role == ADMIN else login.slices


class Interface(Recorded):
    """A network interface of a VM. Without a link `vlan_id` is None; an `eth0` with internet has an `ip_config`."""

    name: str = key(formats.INTERFACE_NAME)
    vlan_id: int | None = key(or_nothing(formats.VLAN), default=None)
    mac: str | None = key(or_nothing(formats.MAC), default=None)
    ip_config: IPConfig | None = part(IPConfig)
    link_id: int | None = key(or_nothing(LINK_ID), default=None)

    def __init__(
        self,
        name: str,
        vlan_id: int | None = None,
        mac: str | None = None,
        ip_config: IPConfig | Record | None = None,
        link_id: int | None = None,
    ) -> None:
        self.name = name
        self.vlan_id = vlan_id
        self.mac = mac
        self.ip_config = IPConfig.of(ip_config)
        self.link_id = link_id

    @property
    def can_be_linked(self) -> bool:
        """Return whether this is a data interface (`eth1` and up) without a link."""
        return self.name != "eth0" and self.link_id is None


class Link(Recorded):
    """A layer-2 link between two interfaces of a slice: a VLAN of which only these two are members."""

    link_id: int = key(LINK_ID)
    vlan_id: int = key(formats.VLAN)
    vm1_id: int = key(ID)
    vm1_interface: str = key(formats.INTERFACE_NAME)
    vm2_id: int = key(ID)
    vm2_interface: str = key(formats.INTERFACE_NAME)

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
        """Return both ends as (VM id, interface name); the first gets .10 of the subnet, the second .11."""
        return (self.vm1_id, self.vm1_interface), (self.vm2_id, self.vm2_interface)

    def address_of(self, vm_id: int) -> str:
        """Return the address that DHCP reserves for the end at `vm_id`."""
        return vlan_address(self.vlan_id, DHCP_FIRST_HOST + (vm_id == self.vm2_id))

    def peer_of(self, vm_id: int) -> tuple[int, str]:
        """Return the end that is not at `vm_id`."""
        return self.ends[0] if vm_id == self.vm2_id else self.ends[1]


class VM(Recorded):
    """A virtual machine of a slice, placed on one worker.

    `flavor_name` is the name of `flavor` when the VM was added. `disk_id` marks the disk of this VM; VMs of older files
    have none. `vnc_secret` is the password for VNC, a new one at each deployment. `lost_with` is the worker that was
    written off with the VM's disk; the next deployment or repair makes a new disk.
    """

    vm_id: int = key(ID)
    name: str = key(formats.NAME)
    owner: str = key(formats.NAME)
    worker_ip: str = key(formats.HOST)
    vnc_port: int = key(whole(FIRST_VNC_PORT, LAST_VNC_PORT))
    status: VMStatus = state(VMStatus, default=VMStatus.PENDING)
    pid: str | None = key(or_nothing(formats.PROCESS_ID), default=None)
    qcow_image: str | None = key(or_nothing(formats.REMOTE_PATH), default=None)
    flavor: Flavor | None = part(Flavor)
    interfaces: list[Interface] = parts(Interface)
    flavor_name: str | None = key(formats.FLAVOR_NAME, default=None, brief=True)
    disk_id: str | None = key(formats.DISK_ID, default=None, brief=True)
    vnc_secret: str | None = key(formats.VNC_SECRET, default=None, brief=True)
    lost_with: str | None = key(formats.HOST, default=None, brief=True)

    def __init__(
        self,
        vm_id: int,
        name: str,
        owner: str,
        worker_ip: str,
        vnc_port: int,
        interfaces: list[Interface],
        flavor: Flavor | Record | None = None,
        qcow_image: str | None = None,
    ) -> None:
        self.vm_id = vm_id
        self.name = name
        self.owner = owner
        self.worker_ip = worker_ip
        self.vnc_port = vnc_port
        self.interfaces = interfaces
        self.flavor = Flavor.of(flavor)
        self.qcow_image = qcow_image

    @property
    def size(self) -> Size:
        """Return cores, memory and disk of the guest."""
        return (self.flavor or Flavor()).size

    @property
    def devices(self) -> Devices:
        """Return the devices of the guest."""
        return self.flavor.devices if self.flavor else Devices()

    @property
    def ram_mib(self) -> int:
        """Return the memory of the guest in MiB."""
        return int(self.size.ram_gb * 1024)

    @property
    def disk_mib(self) -> int:
        """Return the disk of the guest in MiB."""
        return int(self.size.disk_gb * 1024)

    @property
    def largest_image_mib(self) -> int:
        """Return the size of the largest base image for this disk, in whole MiB."""
        return math.ceil(self.size.disk_gb * 1024)

    @property
    def image(self) -> str | None:
        """Return the base image's path on the manager; None in files that do not record it."""
        return self.flavor.image if self.flavor else None

    def interface(self, name: str) -> Interface | None:
        """Return the interface with this name, or None."""
        return next((interface for interface in self.interfaces if interface.name == name), None)


class Network(Recorded):
    """The subnet of a link's VLAN."""

    vlan_id: int = key(formats.VLAN)
    cidr: str = key(formats.SUBNET)
    gateway_ip: str = key(formats.ADDRESS)
    dhcp_enabled: bool = key(FLAG, default=False)
    dhcp_range: str | None = key(or_nothing(formats.LEASES), default=None)
    status: NetworkStatus = state(NetworkStatus, default=NetworkStatus.PENDING)

    def __init__(
        self, vlan_id: int, cidr: str, gateway_ip: str, dhcp_enabled: bool = False, dhcp_range: str | None = None
    ) -> None:
        self.vlan_id = vlan_id
        self.cidr = cidr
        self.gateway_ip = gateway_ip
        self.dhcp_enabled = dhcp_enabled
        self.dhcp_range = dhcp_range

    @classmethod
    def of_vlan(cls, vlan_id: int) -> Network:
        """Return the network of a link on `vlan_id`: addresses from the VLAN's number, DHCP on."""
        network = cls(vlan_id, vlan_cidr(vlan_id), vlan_address(vlan_id, 1), dhcp_enabled=True)
        network.dhcp_range = vlan_dhcp_range(vlan_id)
        return network


class Slice(Recorded):
    """The topology of a slice: VMs, links and networks, with a pool of 20 VLANs that no other slice holds.

    `left` names the objects on hosts that a deletion could not remove yet.
    """

    slice_id: int = key(ID)
    owner: str = key(formats.NAME)
    topology_type: str = key(formats.WORDS, default="custom")
    vlan_pool_start: int = derived(formats.VLAN, lambda slice_: pool_of(slice_.slice_id)[0])
    vlan_pool_end: int = derived(formats.VLAN, lambda slice_: pool_of(slice_.slice_id)[-1])
    vlan_pool_used: list[int] = items(formats.VLAN)
    status: SliceStatus = state(SliceStatus, default=SliceStatus.DESIGN)
    vms: list[VM] = parts(VM, default=[])
    links: list[Link] = parts(Link, default=[])
    networks: list[Network] = parts(Network, default=[])
    name: str = key(formats.NAME, default="", brief=True)
    left: list[str] = items(formats.REMARK, brief=True)

    def __init__(self, slice_id: int, owner: str, topology_type: str = "custom") -> None:
        self.slice_id = slice_id
        self.owner = owner
        self.topology_type = topology_type
        self.vlan_pool_used, self.left = [], []
        self.vms, self.links, self.networks = [], [], []

    def get_next_vlan(self, reserved: int = INTERNET_VLAN) -> int | None:
        """Take the pool's first unused VLAN, never `reserved`; None when the pool is exhausted."""
        for vlan_id in pool_of(self.slice_id):
            if vlan_id != reserved and vlan_id not in self.vlan_pool_used:
                self.vlan_pool_used.append(vlan_id)
                return vlan_id
        return None

    def vm(self, vm_id: int) -> VM | None:
        """Return the VM with this id, or None."""
        return next((vm for vm in self.vms if vm.vm_id == vm_id), None)

    def link(self, link_id: int | None) -> Link | None:
        """Return the link with this id, or None."""
        return next((link for link in self.links if link.link_id == link_id), None)

    def without_secrets(self) -> Slice:
        """Return a copy without the passwords of its VMs."""
        copied = Slice.from_dict(self.to_dict())
        for vm in copied.vms:
            vm.vnc_secret = None
        return copied

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
        """Return whether a VM of the slice is on the shared internet VLAN."""
        return any(internet_interfaces(self))

    def address_of(self, vm: VM, interface: Interface) -> str | None:
        """Return the address that DHCP reserves for `interface`, or None where there is no DHCP."""
        if interface.ip_config:
            return interface.ip_config.ip
        link = self.link(interface.link_id)
        return link.address_of(vm.vm_id) if link else None

    def connect(
        self, vm1_id: int, vm1_interface: str, vm2_id: int, vm2_interface: str, reserved: int = INTERNET_VLAN
    ) -> Link:
        """Join two unconnected data interfaces of two VMs by a link on the pool's next VLAN.

        Raise `Refused`, and spend no VLAN, where an end cannot be linked or the pool is exhausted.
        """
        self.vm_to_link(vm2_id, vm1_id)
        ends = [self.free_interface(vm1_id, vm1_interface), self.free_interface(vm2_id, vm2_interface)]
        vlan_id = self.get_next_vlan(reserved)
        if vlan_id is None:
            count = most_links(self.slice_id, reserved)
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


def internet_interfaces(slice_: Slice) -> Iterator[tuple[VM, Interface]]:
    """Return the interfaces of a slice on the shared internet VLAN, each with its VM."""
    return ((vm, interface) for vm in slice_.vms for interface in vm.interfaces if interface.ip_config)


def _listed(items: Iterable[object]) -> str:
    return ", ".join(map(str, items)) or "none"
