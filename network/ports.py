"""The ports of VLANs on the network node: the gateway and the DHCP server of each. Pure."""

from __future__ import annotations

from core.names import BRIDGE, dhcp_port, gateway_port
from models import Slice
from network import ovs

Marks = tuple[tuple[str, str], ...]


def marks_of(slice_: Slice) -> Marks:
    """Return the marks of ports that only one slice has."""
    return (("slice", str(slice_.slice_id)),)


def gateway(vlan: int, marks: Marks = (), bridge: str = BRIDGE) -> ovs.Port:
    """Return the gateway of a VLAN."""
    return ovs.Port(gateway_port(vlan), vlan, marks, internal=True, bridge=bridge)


def server(vlan: int, marks: Marks = (), bridge: str = BRIDGE) -> ovs.Port:
    """Return the DHCP server of a VLAN."""
    return ovs.Port(dhcp_port(vlan), vlan, marks, internal=True, bridge=bridge)


def both(vlan: int, marks: Marks = (), bridge: str = BRIDGE) -> list[ovs.Port]:
    """Return gateway and DHCP server of a VLAN."""
    return [gateway(vlan, marks, bridge), server(vlan, marks, bridge)]


def of_links(slice_: Slice, marks: Marks = (), bridge: str = BRIDGE) -> list[ovs.Port]:
    """Return the gateway and the DHCP server of each link, where it has them."""
    routed = {link.vlan_id for link in slice_.routed_links}
    ports = []
    for link in slice_.served_links:
        ports += both(link.vlan_id, marks, bridge) if link.vlan_id in routed else [server(link.vlan_id, marks, bridge)]
    return ports
