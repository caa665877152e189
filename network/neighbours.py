"""Limits on how many addresses guests can put into the network node's neighbour (ARP) table. Returns commands.

The kernel has one table of neighbours for all namespaces (arp(7), gc_thresh3). A guest could fill it by packets to all
addresses of its link, or by ARP in the name of all. So rules limit the number of addresses with which a namespace at a
link exchanges packets at a time. They may be any addresses, because guests may choose their own. An address without
packets for two minutes makes room for another one; by then the kernel has forgotten it.

The internet VLAN needs no such limit: flows let each guest use ARP for its own address only. Packets of guests leave by
the uplink's neighbour, or are dropped before the kernel looks for a neighbour.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from core.names import dhcp_namespace, router_namespace
from remote.plan import Command
from shell.scripts import load

ROUTER_SPARE, SERVER_SPARE = 32, 6
"""Number of addresses that a router and a DHCP server may know, in addition to those of the links' ends."""

RECOMMENDED = 65_536
"""Number of entries of the kernel's table that suffice for 100 slices with 20 links each, and the host itself."""

TABLE = "cloud-repositorio"

# A rule accepts an address that is in the set, or that still has room there; otherwise the policy drops it.
_RULES = (("arp", "heard", "input", "arp saddr ip"), ("ip", "sent", "postrouting", "ip daddr"))
_PRIORITY = -500  # a number, because versions of nft print names differently

_CHECK_NEIGHBOUR_ROOM = load("namespaces/check-neighbour-room")


def check_room(namespaces: Mapping[str, int]) -> Command:
    """Check, read-only, that the kernel has room for as many neighbours as these namespaces may have."""
    return Command(_CHECK_NEIGHBOUR_ROOM.argv(str(2 * sum(namespaces.values())), str(RECOMMENDED)))


def bounds(slice_id: int, ends: Mapping[int, int], routed: Sequence[int]) -> dict[str, int]:
    """Return the namespaces at links of a slice, each with its maximum number of addresses.

    `ends`: by VLAN with DHCP, the number of ends of its link; `routed`: those of the VLANs with a gateway. The same
    maximum holds for ARP and for packets to addresses.
    """
    routers = {router_namespace(slice_id): sum(ends[vlan] for vlan in routed) + ROUTER_SPARE} if routed else {}
    return routers | {dhcp_namespace(vlan): count + SERVER_SPARE for vlan, count in ends.items()}


def most_of(shown: str) -> int:
    """Return the maximum number of neighbours of a namespace, by nft's listing of it; 0 where it has no limit."""
    return sum(
        int(size) for size in re.findall(rf"table \w+ {TABLE} {{ set known {{ type ipv4_addr size (\d+) ", shown)
    )


def rules(size: int) -> str:
    """Return the tables that allow a namespace `size` addresses, for nft(8), in place of earlier ones."""
    lines = []
    for rule in _RULES:
        name = f"{rule[0]} {TABLE}"
        lines += [f"add table {name}", f"delete table {name}", _table(*rule, size)]
    return "\n".join(lines)


def listing(size: int) -> str:
    """Return nft's listing of the tables that allow `size` addresses, without addresses and with single spaces."""
    return " ".join(" ".join(_table(*rule, size) for rule in _RULES).split())


def _table(family: str, chain: str, hook: str, address: str, size: int) -> str:
    return f"""table {family} {TABLE} {{
  set known {{
    type ipv4_addr
    size {size}
    flags dynamic,timeout
    timeout 2m
  }}
  chain {chain} {{
    type filter hook {hook} priority {_PRIORITY}; policy drop;
    update @known {{ {address} }} accept
  }}
}}"""
