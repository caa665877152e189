"""Bound the neighbours that guests make the network node remember: the rules in a namespace, and room for them all.

The kernel has one table of neighbours for all namespaces (arp(7), gc_thresh3), and a guest fills it by packets to all
addresses of its link, or by ARP in the name of all. So each namespace that faces a link speaks with so many addresses
only at a time, whichever these are: guests may give themselves addresses of their own. One that is silent for two
minutes makes room for another, and by then the kernel has forgotten it.

The internet VLAN needs no such bound: flows let each guest speak ARP about its own address only, and what guests send
leaves by the neighbour that the uplink has, or is dropped before a neighbour is looked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from core.names import dhcp_namespace, router_namespace
from remote.plan import Command
from shell.scripts import load

ROUTER_SPARE, SERVER_SPARE = 32, 6
"""Addresses that a router and a DHCP server may know, besides those of the links' ends."""

RECOMMENDED = 65_536
"""Entries of the kernel's table that suffice for 100 slices with 20 links each, and for the host itself."""

TABLE = "cloud-repositorio"

# Each rule is passed where the address is in the set or has room there, and else the policy holds.
_RULES = (("arp", "heard", "input", "arp saddr ip"), ("ip", "sent", "postrouting", "ip daddr"))
_PRIORITY = -500  # one without a name: versions of nft name others differently

_CHECK_NEIGHBOUR_ROOM = load("namespaces/check-neighbour-room")


def has_room(namespaces: Mapping[str, int]) -> Command:
    """Check, read-only, that the kernel has room for the neighbours that these namespaces may have."""
    return Command(_CHECK_NEIGHBOUR_ROOM.argv(str(2 * sum(namespaces.values())), str(RECOMMENDED)))


def bounds(slice_id: int, vlans: Sequence[int]) -> dict[str, int]:
    """Return the namespaces that face links of these VLANs, and how many addresses each may know.

    It may know as many by ARP, and send to as many.
    """
    if not vlans:
        return {}
    servers = {dhcp_namespace(vlan): 2 + SERVER_SPARE for vlan in vlans}
    return {router_namespace(slice_id): 2 * len(vlans) + ROUTER_SPARE, **servers}


def most_of(shown: str) -> int:
    """Return how many neighbours a namespace may have, of which nft lists this; what is not bounded counts nothing."""
    return sum(
        int(size) for size in re.findall(rf"table \w+ {TABLE} {{ set known {{ type ipv4_addr size (\d+) ", shown)
    )


def rules(size: int) -> str:
    """Return the tables that allow a namespace so many addresses, as nft(8) reads them, in place of earlier ones."""
    lines = []
    for rule in _RULES:
        name = f"{rule[0]} {TABLE}"
        lines += [f"add table {name}", f"delete table {name}", _table(*rule, size)]
    return "\n".join(lines)


def listing(size: int) -> str:
    """Return what nft lists of the tables that allow so many addresses, without the addresses, with single spaces."""
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
