"""The domain: slices; VMs, users, flavors, links and networks are passed on from `core/`. Pure: no file, no host.

`Slice.join` gives a link its VLAN, and so its subnet; `allocation/` gives out ids, VNC ports and internet addresses.
`core/names.py` names objects on the hosts. `to_dict` returns the documented layout of `database.yaml`
(docs/spec/models.md). A class declares each key of its record in one line (core/records.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from core import formats
from core.errors import Refused
from core.flavors import MAX_DATA_INTERFACES, Devices, Flavor
from core.goals import MOST_GOALS, Goal
from core.inventory import INTERNET_VLAN, MAX_SLICES
from core.links import DHCP_GATEWAY, MOST_LEASES, NONE, Interface, Link, LinkEnd, Network
from core.records import Recorded, addition, derived, items, key, parts, state
from core.rule import FLAG, whole
from core.status import LinkState, SliceStatus, VMStatus
from core.users import ADMIN, MAX_KEYS, MAX_QUOTA, STUDENT, User
from core.vms import FIRST_VNC_PORT, LAST_VNC_PORT, NOWHERE, VM

__all__ = [
    "ADMIN",
    "FIRST_VNC_PORT",
    "LAST_VNC_PORT",
    "MAX_DATA_INTERFACES",
    "MAX_KEYS",
    "MAX_QUOTA",
    "NOWHERE",
    "STUDENT",
    "VM",
    "Devices",
    "Flavor",
    "Interface",
    "Link",
    "Network",
    "Slice",
    "User",
]
"""The documented classes (docs/spec/models.md), and what they are made of."""

POOL_SIZE = 20
POOL_COUNT = MAX_SLICES
NO_ADDRESSES: Mapping[int, str] = MappingProxyType({})


def pool_of(slice_id: int) -> range:
    """Return the VLANs of a slice's pool, which follows from its id."""
    start = 100 + slice_id % POOL_COUNT * POOL_SIZE
    return range(start, start + POOL_SIZE)


def most_links(slice_id: int, reserved: int = INTERNET_VLAN) -> int:
    """Return the highest number of links of a slice with this id: one for each VLAN of its pool but `reserved`."""
    return len({*pool_of(slice_id)} - {reserved})


class Before(Recorded):
    """The parts of a running slice before a change that is under way; the slice itself has those after it.

    `past`: the change can only be finished, because disks of VMs that leave may be gone.
    """

    vms: list[VM] = parts(VM)
    links: list[Link] = parts(Link)
    networks: list[Network] = parts(Network)
    vlan_pool_used: list[int] = items(formats.VLAN)
    description: str = key(formats.REMARK, default="")
    goals: list[Goal] = parts(Goal, default=[], most=MOST_GOALS)
    past: bool = key(FLAG, default=False, brief=True)

    def __init__(self, vms: list[VM], links: list[Link], networks: list[Network], vlan_pool_used: list[int]) -> None:
        self.vms = vms
        self.links = links
        self.networks = networks
        self.vlan_pool_used = vlan_pool_used
        self.goals = []


class Slice(Recorded):
    """The topology of a slice: VMs, links and networks, with a pool of 20 VLANs that no other slice of its realm holds.

    `before` exists while VMs and links of a running slice are being changed. `left` names the objects on hosts that a
    deletion could not remove yet. `keys` are the owner's public keys at the last start of a VM with a seed,
    `ssh_secret` is that of the slice's own key, which opens these VMs as well.
    """

    slice_id: int = key(formats.SLICE_ID)
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
    realm: str = key(formats.REALM, default="", brief=True)
    description: str = key(formats.REMARK, default="", brief=True)
    goals: list[Goal] = parts(Goal, default=[], most=MOST_GOALS, brief=True)
    left: list[str] = items(formats.REMARK, brief=True)
    last_link_id: int = key(whole(0, 1_000_000), default=0, brief=True)
    keys: list[str] = items(formats.PUBLIC_KEY, most=MAX_KEYS, brief=True)
    ssh_secret: str | None = key(formats.SSH_SECRET, default=None, brief=True)
    before: Before | None = addition(Before)

    def __init__(self, slice_id: int, owner: str, topology_type: str = "custom") -> None:
        self.slice_id = slice_id
        self.owner = owner
        self.topology_type = topology_type
        self.vlan_pool_used, self.left, self.keys = [], [], []
        self.vms, self.links, self.networks, self.goals = [], [], [], []

    def get_next_vlan(self, reserved: int = INTERNET_VLAN) -> int | None:
        """Take the pool's first unused VLAN, never `reserved`; None when the pool is exhausted."""
        for vlan_id in pool_of(self.slice_id):
            if vlan_id not in (reserved, *self.vlan_pool_used):
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
        """Return a copy without passwords and private keys."""
        copied = Slice.from_dict(self.to_dict())
        copied.ssh_secret = None
        for vm in (*copied.vms, *(copied.before.vms if copied.before else ())):
            vm.vnc_secret = vm.password = vm.host_secret = vm.old_disk = None
        return copied

    def earlier(self) -> Slice:
        """Return a copy with the parts before the change that is under way."""
        record = self.to_dict()
        return Slice.from_dict(record | record.pop("before", {}))

    def with_off(self, vm_ids: Collection[int | None]) -> Slice:
        """Return a copy in which these VMs are stopped."""
        copied = Slice.from_dict(self.to_dict())
        for vm in copied.vms:
            if vm.vm_id in vm_ids:
                vm.status = VMStatus.STOPPED
        return copied

    @property
    def designs(self) -> tuple[Slice, ...]:
        """Return the slice, and before it a copy with its earlier parts while a change of these is under way."""
        return (self.earlier(), self) if self.before else (self,)

    @property
    def is_running(self) -> bool:
        """Return whether the slice is deployed."""
        return self.status == SliceStatus.RUNNING

    @property
    def leaving(self) -> list[VM]:
        """Return the VMs that the change under way removes."""
        ids = {vm.vm_id for vm in self.vms}
        return [vm for vm in self.before.vms if vm.vm_id not in ids] if self.before else []

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

    @property
    def served_links(self) -> list[Link]:
        """Return the links with DHCP."""
        return [link for link in self.links if self.network_of(link).services != NONE]

    @property
    def routed_links(self) -> list[Link]:
        """Return the links with DHCP and a gateway."""
        return [link for link in self.links if self.network_of(link).services == DHCP_GATEWAY]

    def has_carrier(self, vm: VM, interface: Interface) -> bool:
        """Return whether a guest sees a carrier: its link is not down, and the only other VM on it is not off."""
        link = self.link(interface.link_id)
        others = [self.vm(vm_id) for vm_id, _ in link.peers_of(vm.vm_id)] if link else []
        alone = len(others) == 1 and others[0] is not None and others[0].stays_off
        is_down = link is not None and link.state == LinkState.DOWN
        return interface.vlan_id is not None and not alone and not is_down

    def network_of(self, link: Link) -> Network:
        """Return the network of a link; an older file may not record it."""
        found = next((network for network in self.networks if network.vlan_id == link.vlan_id), None)
        return found or Network.of_vlan(link.vlan_id)

    def addresses_on(self, link: Link) -> list[str | None]:
        """Return the address of each end of a link: reserved with DHCP, fixed, or None."""
        return self.network_of(link).leases([self.fixed_address(*end) for end in link.ends])

    def fixed_address(self, vm_id: int, interface: str) -> str | None:
        """Return the fixed address of an end of a link, or None."""
        vm = self.vm(vm_id)
        end = vm.interface(interface) if vm else None
        return end.address if end else None

    def address_of(self, vm: VM, interface: Interface) -> str | None:
        """Return the address that `interface` has by DHCP, or by its seed; None where it has none."""
        if interface.ip_config:
            return interface.ip_config.ip
        link = self.link(interface.link_id)
        if link is None:
            return None
        addresses = zip(link.ends, self.addresses_on(link), strict=True)
        return next((address for (vm_id, _), address in addresses if vm_id == vm.vm_id), None)

    def connect(
        self, vm1_id: int, vm1_interface: str, vm2_id: int, vm2_interface: str, reserved: int = INTERNET_VLAN
    ) -> Link:
        """Join two unconnected data interfaces of two VMs, as `join` does."""
        return self.join([(vm1_id, vm1_interface), (vm2_id, vm2_interface)], reserved=reserved)

    def join(
        self,
        ends: Sequence[tuple[int, str]],
        *,
        name: str = "",
        services: str = DHCP_GATEWAY,
        cidr: str = "",
        addresses: Mapping[int, str] = NO_ADDRESSES,
        reserved: int = INTERNET_VLAN,
    ) -> Link:
        """Join the unconnected data interfaces of two VMs or more by a link on the pool's next VLAN.

        `cidr`: other addresses than those by the VLAN's number. `addresses`: fixed ones, by VM id. Raise `Refused`, and
        spend no VLAN, where an end cannot be linked or the pool is exhausted.
        """
        (vm1_id, vm1_interface), (vm2_id, vm2_interface), *others = ends
        for place, (vm_id, _) in enumerate(ends):
            for other_id, _ in ends[:place]:
                self.vm_to_link(vm_id, other_id)
        for vm_id, interface in ends:
            self.free_interface(vm_id, interface)
        vlan_id = self.get_next_vlan(reserved)
        if vlan_id is None:
            count = most_links(self.slice_id, reserved)
            raise Refused(f"VLAN pool exhausted: this slice can have {count} links; put further VMs into another slice")
        network = Network.of_vlan(vlan_id, services, cidr)
        try:
            self.check_network(network, len(ends))
        except Refused:
            self.vlan_pool_used.remove(vlan_id)
            raise
        link_id = max([self.last_link_id, *(link.link_id for link in self.links)]) + 1
        link = Link(link_id, vlan_id, vm1_id, vm1_interface, vm2_id, vm2_interface)
        link.name, link.further_ends = name, [LinkEnd(*end) for end in others]
        self.attach(link, addresses)
        self.links.append(link)
        self.networks.append(network)
        return link

    def attach(self, link: Link, addresses: Mapping[int, str] = NO_ADDRESSES) -> None:
        """Record the link at the interfaces of its ends; `addresses` are fixed ones, by VM id."""
        for vm_id, interface in self._interfaces_on(link):
            interface.vlan_id, interface.link_id, interface.address = link.vlan_id, link.link_id, addresses.get(vm_id)

    def detach(self, link: Link) -> None:
        """Free the interfaces at the ends of a link."""
        for _, interface in self._interfaces_on(link):
            interface.vlan_id = interface.link_id = interface.address = None

    def _interfaces_on(self, link: Link) -> Iterator[tuple[int, Interface]]:
        for vm_id, name in link.ends:
            interface = (vm := self.vm(vm_id)) and vm.interface(name)
            if interface:
                yield vm_id, interface

    def unlink(self, link: Link) -> None:
        """Remove a link; its VLAN is free again, and its id is not used again."""
        self.detach(link)
        self.last_link_id = max([self.last_link_id, *(each.link_id for each in self.links)])
        self.links.remove(link)
        self.networks = [network for network in self.networks if network.vlan_id != link.vlan_id]
        self.vlan_pool_used.remove(link.vlan_id)

    def check_network(self, network: Network, ends: int) -> None:
        """Raise `Refused` where a new network overlaps another one, or has too few addresses for its ends."""
        for other in self.networks:
            if other.vlan_id != network.vlan_id and network.addresses.overlaps(other.addresses):
                raise Refused(f"The network {network.cidr} overlaps {other.cidr} of another link; choose another one")
        if network.services != NONE and ends > MOST_LEASES:
            raise Refused(f"DHCP has {MOST_LEASES} addresses, and this link has {ends} ends; link some of them apart")

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
