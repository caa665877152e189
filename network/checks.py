"""Checks of hosts before a change: programs, names that are taken, and the operator's network. Returns steps.

The operator sets up the flow of br-int, its data port, the uplink and other firewalls; the cloud never changes them.
The steps are read-only. They fail where no deployment could work; the doctor reports the same problems
(inspection/foundation.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.inventory import Inventory
from core.names import gateway_port
from models import Slice
from network import ovs, wire
from remote.plan import Command, Step
from shell.scripts import load

_CHECK_BRIDGE = load("bridge/check-bridge")
_CHECK_WAY_OUT = load("firewall/check-way-out")
_CHECK_PROGRAMS = load("hosts/check-programs")
_CHECK_FREE_PATHS = load("hosts/check-free-paths")


def check_bridge(inventory: Inventory, slice_: Slice, host: str) -> Step:
    """Return the check that the bridge passes frames, and carries the slice's VLANs where no tunnel does."""
    spans = {} if inventory.tunnel else wire.spans(inventory, slice_)
    vlans = [str(vlan) for vlan, hosts in spans.items() if host in hosts]
    words = (inventory.bridge, inventory.data_ports.get(host, ""), *vlans)
    return Step(host, f"bridge {inventory.bridge}", (Command(_CHECK_BRIDGE.argv(*words)),))


def check_programs(host: str, names: Sequence[str]) -> Step:
    """Return the check that the programs are installed on `host`."""
    return Step(host, "programs", (Command(_CHECK_PROGRAMS.argv(*names)),))


def check_port_names(host: str, ports: Iterable[str]) -> Step:
    """Return the check that no foreign port has a name of ours."""
    return Step(host, "names of the ports", (ovs.check_port_names(ports),))


def check_nothing_left(host: str, ports: Iterable[str], paths: Sequence[str], *, as_user: bool = False) -> Step:
    """Return the check that ports and files of a slice that never ran do not exist.

    Ids come again where an older `database.yaml` was put back: the slice would take the objects over.
    """
    files = Command(_CHECK_FREE_PATHS.argv(*paths), as_user=as_user)
    return Step(host, "nothing of a forgotten slice", (Command(ovs.check_free_ports(ports)), files))


def check_way_out(inventory: Inventory) -> Step:
    """Return the check that the uplink exists, the guests' network is unused, and no other firewall drops it."""
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
