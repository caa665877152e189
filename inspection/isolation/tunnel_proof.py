"""Check where the tunnel between the hosts leads, from their facts. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from core.inventory import Inventory
from inspection import tunnels
from inspection.facts import Facts
from inspection.isolation.proof import Property


def properties(inventory: Inventory, facts_by_host: Mapping[str, Facts]) -> list[Property]:
    """Return the property of the tunnel, or an empty list where there is none."""
    if inventory.tunnel is None:
        return []
    found = Property("tunnel: it leads to the cloud's hosts only, and from none of them to another")
    for host, facts in facts_by_host.items():
        if facts.knows("ports", "tunnel"):
            found.check(host, "", holds=True)
            for what in tunnels.leaks(inventory.tunnel, facts):
                found.check(host, what, holds=False)
    return [found]
