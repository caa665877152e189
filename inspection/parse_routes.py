"""Parse the routes and connections of a host. Pure."""

from __future__ import annotations

import itertools
from ipaddress import IPv4Network, ip_address
from typing import Any

from core.errors import BadAnswer
from inspection import checked
from inspection.facts import Route

_MOST_NETWORKS = 256
"""Networks that a host is connected to."""


def parse_routes(text: str) -> dict[str, Any]:
    """Parse the output of `ip -4 -o route show`."""
    found = tuple(_route(line.split()) for line in text.splitlines() if line.strip())
    if len([route for route in found if route.is_link]) > _MOST_NETWORKS:
        raise BadAnswer("routes")
    return {"routes": found}


def _route(words: list[str]) -> Route:
    """Parse one route. Some lines begin with its kind (ip-route(8))."""
    network = words[0] if words[0][0].isdigit() or words[0] == "default" else words[1]
    named = dict(itertools.pairwise(words))
    is_link = "via" not in named and named.get("scope") == "link" and network != "default"
    device = checked.name(named.get("dev", ""))
    return Route(network if network == "default" else str(IPv4Network(network)), device, is_link)


def parse_peers(text: str) -> dict[str, Any]:
    """Parse the addresses of the other ends of connections, from `ss -Htn state established`."""
    found = dict.fromkeys(line.split()[3].rpartition(":")[0].strip("[]") for line in text.splitlines())
    if len(found) > _MOST_NETWORKS:
        raise BadAnswer("peers")
    return {"peers": tuple(str(ip_address(address)) for address in found)}
