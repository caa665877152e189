"""Checks of the hosts' own network: the flow of br-int, its data port, the uplink, other firewalls.

These steps are read-only: the cloud never changes these objects. The steps fail where nothing could work; the doctor
reports the same problems (inspection/foundation.py).
"""

from __future__ import annotations

from core.inventory import Inventory
from core.names import gateway_port
from models import Slice
from network import ovs, wire
from remote.plan import Command, Step
from shell.scripts import load

_CHECK_BRIDGE = load("bridge/check-bridge")
_CHECK_WAY_OUT = load("firewall/check-way-out")


def bridge(inventory: Inventory, slice_: Slice, host: str) -> Step:
    """Check, read-only, that br-int passes frames and carries the slice's VLANs to other hosts."""
    vlans = [str(vlan) for vlan, hosts in wire.spans(inventory, slice_).items() if host in hosts]
    words = (inventory.data_ports.get(host, ""), *vlans)
    return Step(host, f"bridge {ovs.BRIDGE}", (Command(_CHECK_BRIDGE.argv(*words)),))


def way_out(inventory: Inventory) -> Step:
    """Check, read-only, that the uplink exists, the guests' network is unused, and no other firewall drops it."""
    internet = inventory.internet
    words = (*barrier_words(inventory), internet.uplink, str(inventory.ssh.port))
    return Step(inventory.network_node, "way to the internet", (Command(_CHECK_WAY_OUT.argv(*words)),))


def barrier_words(inventory: Inventory) -> tuple[str, str]:
    """Return the words of the scripts that find other firewalls: the gateway's port and the guests' network."""
    return gateway_port(inventory.internet.vlan_id), inventory.internet.cidr


def list_peers(inventory: Inventory) -> tuple[str, ...]:
    """Return the argv that lists connections to sshd from addresses of the guests' network."""
    where = f"( sport = :{inventory.ssh.port} and dst {inventory.internet.cidr} )"
    return ("ss", "-Htn", "state", "established", where)
