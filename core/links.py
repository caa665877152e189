"""Links of a slice: the interfaces at their ends, and the network on each (docs/spec/models.md)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from itertools import count

from core import formats
from core.impairments import Impairment
from core.names import DHCP_FIRST_HOST, DHCP_LAST_HOST, vlan_cidr
from core.records import Recorded, key, part, parts
from core.records import state as member
from core.rule import FLAG, Record, or_nothing
from core.status import LinkState, NetworkStatus
from core.values import IPConfig

DHCP_GATEWAY, DHCP, NONE = "dhcp+gateway", "dhcp", "none"
"""The services on a link: DHCP and a gateway, DHCP alone, or nothing but the ends."""

SERVICES = (DHCP_GATEWAY, DHCP, NONE)
GATEWAY_HOST = 1
LONGEST_DHCP_PREFIX = 24
MOST_LEASES = DHCP_LAST_HOST - DHCP_FIRST_HOST + 1
"""Number of addresses that DHCP gives on a link."""


class Interface(Recorded):
    """A network interface of a VM. Without a link `vlan_id` is None; an `eth0` with internet has an `ip_config`.

    `address` is a fixed address on the link.
    """

    name: str = key(formats.INTERFACE_NAME)
    vlan_id: int | None = key(or_nothing(formats.VLAN), default=None)
    mac: str | None = key(or_nothing(formats.MAC), default=None)
    ip_config: IPConfig | None = part(IPConfig)
    link_id: int | None = key(or_nothing(formats.LINK_ID), default=None)
    address: str | None = key(formats.ADDRESS, default=None, brief=True)

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


class LinkEnd(Recorded):
    """A further end of a LAN, after the two ends that each link has."""

    vm_id: int = key(formats.ID)
    interface: str = key(formats.INTERFACE_NAME)

    def __init__(self, vm_id: int, interface: str) -> None:
        self.vm_id = vm_id
        self.interface = interface


End = tuple[int, str]
"""An end of a link: VM id and interface name."""


class Link(Recorded):
    """A layer-2 link between interfaces of a slice: a VLAN of which only these are members. With more than two: a LAN.

    `name` is empty for the default name. `impairments` has at most one entry for each end. A
    `transparent` link passes frames that have VLAN tags already.
    """

    link_id: int = key(formats.LINK_ID)
    vlan_id: int = key(formats.VLAN)
    vm1_id: int = key(formats.ID)
    vm1_interface: str = key(formats.INTERFACE_NAME)
    vm2_id: int = key(formats.ID)
    vm2_interface: str = key(formats.INTERFACE_NAME)
    further_ends: list[LinkEnd] = parts(LinkEnd, default=[], brief=True)
    name: str = key(formats.LINK_NAME, default="", brief=True)
    state: LinkState = member(LinkState, default=LinkState.UP, brief=True)
    impairments: list[Impairment] = parts(Impairment, default=[], brief=True)
    transparent: bool = key(FLAG, default=False, brief=True)

    def __init__(
        self, link_id: int, vlan_id: int, vm1_id: int, vm1_interface: str, vm2_id: int, vm2_interface: str
    ) -> None:
        self.link_id = link_id
        self.vlan_id = vlan_id
        self.vm1_id = vm1_id
        self.vm1_interface = vm1_interface
        self.vm2_id = vm2_id
        self.vm2_interface = vm2_interface
        self.further_ends, self.impairments = [], []

    @property
    def passes(self) -> bool:
        """Return whether the link passes frames."""
        return self.state == LinkState.UP

    @property
    def ends(self) -> tuple[End, ...]:
        """Return all ends in their order."""
        first = ((self.vm1_id, self.vm1_interface), (self.vm2_id, self.vm2_interface))
        return (*first, *((end.vm_id, end.interface) for end in self.further_ends))

    def peers_of(self, vm_id: int) -> list[End]:
        """Return the ends that are not at `vm_id`."""
        return [end for end in self.ends if end[0] != vm_id]


class Network(Recorded):
    """The network of a link's VLAN. Without a gateway `gateway_ip` is None."""

    vlan_id: int = key(formats.VLAN)
    cidr: str = key(formats.LINK_SUBNET)
    gateway_ip: str | None = key(or_nothing(formats.ADDRESS))
    dhcp_enabled: bool = key(FLAG, default=False)
    dhcp_range: str | None = key(or_nothing(formats.LEASES), default=None)
    status: NetworkStatus = member(NetworkStatus, default=NetworkStatus.PENDING)

    def __init__(
        self,
        vlan_id: int,
        cidr: str,
        gateway_ip: str | None,
        dhcp_enabled: bool = False,
        dhcp_range: str | None = None,
    ) -> None:
        self.vlan_id = vlan_id
        self.cidr = cidr
        self.gateway_ip = gateway_ip
        self.dhcp_enabled = dhcp_enabled
        self.dhcp_range = dhcp_range

    @classmethod
    def of_vlan(cls, vlan_id: int, services: str = DHCP_GATEWAY, cidr: str = "") -> Network:
        """Return the network of a link on `vlan_id` with these services; its addresses follow from the VLAN's number.

        `cidr` are other addresses.
        """
        network = cls(vlan_id, cidr or vlan_cidr(vlan_id), None, dhcp_enabled=services != NONE)
        if services == DHCP_GATEWAY:
            network.gateway_ip = network.host(GATEWAY_HOST)
        if network.dhcp_enabled:
            network.dhcp_range = f"{network.host(DHCP_FIRST_HOST)},{network.host(DHCP_LAST_HOST)}"
        return network

    @property
    def services(self) -> str:
        """Return the services on the link. A network with a gateway has DHCP, whatever an older file says of it."""
        if self.gateway_ip:
            return DHCP_GATEWAY
        return DHCP if self.dhcp_enabled else NONE

    @property
    def addresses(self) -> IPv4Network:
        """Return the addresses of the network."""
        return formats.network_of(self.cidr)

    def host(self, number: int) -> str:
        """Return address number `number`."""
        return str(self.addresses[number])

    def may_have(self, address: str) -> bool:
        """Return whether an end can have this fixed address: with DHCP one that DHCP gives, else any host's."""
        if self.services == NONE:
            given = IPv4Address(address)
            return given in self.addresses and given not in (self.addresses[0], self.addresses[-1])
        return self.addresses[DHCP_FIRST_HOST] <= IPv4Address(address) <= self.addresses[DHCP_LAST_HOST]

    def leases(self, fixed: Sequence[str | None]) -> list[str | None]:
        """Return the address of each end by DHCP: its `fixed` one, or else the next free one from .10 on.

        Without DHCP an end has its fixed address or None.
        """
        if self.services == NONE:
            return [*fixed]
        taken = {*fixed}
        free = (address for number in count(DHCP_FIRST_HOST) if (address := self.host(number)) not in taken)
        return [address or next(free) for address in fixed]
