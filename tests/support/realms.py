"""A desk over two realms that share a worker: the same VLANs, addresses and MACs in both, on bridges of their own."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from storage.location import ServerURL
from tests.support.desk import NETWORK, WORKERS, Desk, open_desk

OWN, SHARED, NODE = "10.0.20.1", WORKERS[1], "10.0.20.3"
"""The workers of realm `b`, of which realm `main` has the second, too, and its network node."""

BRIDGE = "br-int-b"
REALMS: dict[str, Any] = {
    "realms": {"b": {"network_node": NODE, "workers_list": [OWN, SHARED], "bridge": BRIDGE}},
    "login": {"slices": 100},
}
HOSTS = {"": {*WORKERS, NETWORK}, "b": {OWN, SHARED, NODE}}


def open_realms(folder: Path, url: ServerURL | None = None, *, tunnel: bool = False) -> Desk:
    """Return a desk over the realms `main` and `b`, each with a trunk of its own; or `b` has a `tunnel`."""
    settings: dict[str, Any] = copy.deepcopy(REALMS)
    if tunnel:
        settings["realms"]["b"] |= {"underlay": "tunnel", "tunnel_key": 7}
    desk = open_desk(folder, url, settings)
    for address in HOSTS["b"]:
        host = desk.cloud.connect(address)
        host.further[BRIDGE] = "" if tunnel else "ens5"
        host.namespaces[""].setdefault("ens5", set())
        host.namespaces[""]["ens3"].add(address)
    with desk.database.transaction() as state:
        for user in state.users.values():
            user.quota_vms = 1000
    return desk
