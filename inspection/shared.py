"""Parse and check the tables that all guests share: the network node's neighbours and connections. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from core.errors import BadAnswer, figure
from core.inventory import Inventory
from inspection.facts import Facts
from network import firewall, neighbours
from network.dhcp import hosts_folder

Problem = tuple[str, str]
"""The code of a finding, and its sentence without the host."""

_MOST_NAMESPACES = 4096
_MOST_ENTRIES = 1 << 31


def parse_bounds(text: str) -> dict[str, Any]:
    """Parse the listing of nftables in each namespace, with single spaces."""
    parts = re.split(r"^namespace (ns-[a-z0-9-]{1,64})\n", text, flags=re.MULTILINE)
    if parts[0] or len(parts) > 2 * _MOST_NAMESPACES:
        raise BadAnswer("bounds")
    return {"bounds": {name: " ".join(body.split()) for name, body in zip(parts[1::2], parts[2::2], strict=True)}}


def parse_limits(text: str) -> dict[str, Any]:
    """Parse the room for neighbours, the room for connections, and the life of a closed connection.

    The last two are missing if the kernel counts no connections.
    """
    figures = [figure(word, "is out of range", 0, _MOST_ENTRIES) for word in text.split()]
    if len(figures) not in {1, 3}:
        raise BadAnswer("limits")
    room, connections, seconds = [*figures, 0, 0][:3]
    return {"most_neighbours": room, "most_connections": connections, "closed_seconds": seconds}


def unbounded(wanted: Mapping[str, int], facts: Facts) -> Iterator[Problem]:
    """Yield the namespaces that may know more neighbours than `wanted` allows."""
    for name, size in wanted.items():
        if name in facts.bounds and neighbours.listing(size) not in facts.bounds[name]:
            yield "neighbours-unbounded", f"{name} has no limit for the neighbours that guests make it remember"


def too_many(inventory: Inventory, facts: Facts) -> Iterator[Problem]:
    """Yield the tables of the kernel that are smaller than the limits of all guests together."""
    known = sum(map(neighbours.most_of, facts.bounds.values()))
    if 0 < facts.most_neighbours < known:
        what = f"its kernel has room for {facts.most_neighbours} neighbours, but guests may make {known}"
        yield "neighbours-many", what
    shared = hosts_folder(inventory.internet.vlan_id)
    guests = sum(len(lines) for path, lines in facts.hosts.items() if path.startswith(f"{shared}/"))
    held = guests * firewall.most_connections(facts.closed_seconds)
    if 0 < facts.most_connections < held:
        what = f"its kernel has room for {facts.most_connections} connections, but guests may have {held}"
        yield "connections-many", what
