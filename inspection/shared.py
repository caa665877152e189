"""Read and judge what guests share on the network node: the kernel's tables of neighbours and connections. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from core.errors import BadAnswer, figure
from core.inventory import Inventory
from inspection.facts import Sight
from network import firewall, neighbours
from network.dhcp import hosts_folder

Problem = tuple[str, str]
"""The code of a finding, and its sentence without the host."""

_MOST_NAMESPACES = 4096
_MOST_ENTRIES = 1 << 31


def read_bounds(text: str) -> dict[str, Any]:
    """Read what nftables lists in each namespace, with single spaces."""
    parts = re.split(r"^namespace (ns-[a-z0-9-]{1,64})\n", text, flags=re.MULTILINE)
    if parts[0] or len(parts) > 2 * _MOST_NAMESPACES:
        raise BadAnswer("bounds")
    return {"bounds": {name: " ".join(body.split()) for name, body in zip(parts[1::2], parts[2::2], strict=True)}}


def read_limits(text: str) -> dict[str, Any]:
    """Read room for neighbours, then room for connections and the life of closed ones, where the kernel counts them."""
    figures = [figure(word, "is out of range", 0, _MOST_ENTRIES) for word in text.split()]
    if len(figures) not in {1, 3}:
        raise BadAnswer("limits")
    room, connections, seconds = [*figures, 0, 0][:3]
    return {"most_neighbours": room, "most_connections": connections, "closed_seconds": seconds}


def unbounded(wanted: Mapping[str, int], sight: Sight) -> Iterator[Problem]:
    """Yield the namespaces that may know more neighbours than is `wanted`, among those that were looked at."""
    for name, size in wanted.items():
        if name in sight.bounds and neighbours.listing(size) not in sight.bounds[name]:
            yield "neighbours-unbounded", f"{name} may know as many neighbours as guests like"


def too_many(inventory: Inventory, sight: Sight) -> Iterator[Problem]:
    """Yield where the bounds of all guests add up to more than the kernel has room for."""
    known = sum(map(neighbours.most_of, sight.bounds.values()))
    if 0 < sight.most_neighbours < known:
        what = f"its kernel has room for {sight.most_neighbours} neighbours, and guests may make {known}"
        yield "neighbours-many", what
    shared = hosts_folder(inventory.internet.vlan_id)
    guests = sum(len(lines) for path, lines in sight.hosts.items() if path.startswith(f"{shared}/"))
    held = guests * firewall.most_connections(sight.closed_seconds)
    if 0 < sight.most_connections < held:
        what = f"its kernel has room for {sight.most_connections} connections, and guests may have {held}"
        yield "connections-many", what
