"""The ways of the VLANs between the hosts: a trunk of the operator, or a tunnel of ours. Pure values."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from core.names import BRIDGE

TRUNK, TUNNEL = "trunk", "tunnel"

MAIN_KEY = 1
"""The key of the realm at the top of the file."""

LEAST_MTU = 1600
"""The least MTU beneath a tunnel: around a packet of 1,500 bytes are two tags and 54 bytes of Geneve (RFC 8926)."""


@dataclass(frozen=True)
class Tunnel:
    """The tunnel between the hosts of a realm: Open vSwitch's own ports on a bridge of ours.

    `addresses`: host -> the address that its end has. `key`: the number of the realm in each packet (VNI). The port
    `patch` of the realm's bridge, `inner`, and the port `peer` of `bridge` are one patch. Open vSwitch knows ports by
    name alone, so names differ by realm.
    """

    addresses: Mapping[str, str]
    key: int = MAIN_KEY
    bridge: str = "br-tun"
    inner: str = BRIDGE
    patch: str = "patch-tun"
    peer: str = "patch-int"

    @classmethod
    def between(cls, hosts: Iterable[str], addresses: Mapping[str, str]) -> Tunnel:
        """Return the tunnel between these hosts; a host without an entry in `addresses` uses its own address."""
        return cls({host: addresses.get(host, host) for host in hosts})

    def of_realm(self, name: str, key: int, inner: str) -> Tunnel:
        """Return the tunnel with the names of a realm."""
        patch, peer = f"{self.patch}-{name}", f"{self.peer}-{name}"
        return replace(self, key=key, bridge=f"{self.bridge}-{name}", inner=inner, patch=patch, peer=peer)

    def among(self, hosts: Container[str]) -> Tunnel:
        """Return the tunnel with only these hosts."""
        return replace(self, addresses={host: address for host, address in self.addresses.items() if host in hosts})

    def ends(self, host: str) -> dict[str, str]:
        """Return the ports of `host` to all other hosts, each with the address to which it leads.

        One flow has all of them, so they are in the order of their names: settings may list hosts in any order.
        """
        others = (address for other, address in self.addresses.items() if other != host)
        return dict(sorted((self.port(address), address) for address in others))

    def port(self, address: str) -> str:
        """Return the name of the port to `address`: at most 15 characters for keys up to 999."""
        return f"tun{self.key}_{int(IPv4Address(address)):08x}"
