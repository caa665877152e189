"""From what a host says of its routes and connections to parts of a `Sight`. Pure."""

from __future__ import annotations

import itertools
from ipaddress import IPv4Network, ip_address
from typing import Any

from core.errors import BadAnswer
from inspection.facts import Route

_MOST_NETWORKS = 256
"""Networks that a host is connected to."""

_LONGEST_NAME = 255


def routes(text: str) -> dict[str, Any]:
    """Read what `ip -4 -o route show` writes."""
    found = tuple(_route(line.split()) for line in text.splitlines() if line.strip())
    if sum(route.is_link for route in found) > _MOST_NETWORKS:
        raise BadAnswer("routes")
    return {"routes": found}


def _route(words: list[str]) -> Route:
    """Some lines begin with the kind of the route (ip-route(8))."""
    network = words[0] if words[0][0].isdigit() or words[0] == "default" else words[1]
    named = dict(itertools.pairwise(words))
    is_link = "via" not in named and named.get("scope") == "link" and network != "default"
    device = named.get("dev", "")
    if len(device) > _LONGEST_NAME or not device.isprintable():
        raise BadAnswer("routes")
    return Route(network if network == "default" else str(IPv4Network(network)), device, is_link)


def peers(text: str) -> dict[str, Any]:
    """Read addresses of the other ends of connections, as `ss -Htn state established` shows them."""
    found = dict.fromkeys(line.split()[3].rpartition(":")[0].strip("[]") for line in text.splitlines())
    if len(found) > _MOST_NETWORKS:
        raise BadAnswer("peers")
    return {"peers": tuple(str(ip_address(address)) for address in found)}
