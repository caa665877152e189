"""Check what the operator sets up on each host: the bridge br-int with its own flow, data port, uplink. Pure.

The preflight checks the same (network/checks.py). A problem is a code of `codes.py` and a sentence.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from core.inventory import InternetSettings, Inventory
from core.names import gateway_port
from core.underlay import LEAST_MTU, Tunnel
from inspection.facts import Facts, SeenPort
from models import Slice
from network import wire


class Problem(NamedTuple):
    """A problem of a host. `device`: the port or interface that the advice names."""

    code: str
    what: str
    device: str = ""


SHOWN = 4
"""The number of uses of the guests' network that are named."""

_ACCESS = ("", "access", "dot1q-tunnel")
"""Modes of a port that carries only the VLAN of its tag (ovs-vswitchd.conf.db(5), vlan_mode)."""


_TUNNELS = ("bareudp", "erspan", "geneve", "gre", "gtpu", "ip6erspan", "ip6gre", "lisp", "srv6", "stt", "vxlan")
"""Types of interfaces that are tunnels (ovs-vswitchd.conf.db(5))."""


def of_host(inventory: Inventory, facts: Facts) -> Iterator[Problem]:
    """Yield the problems of a host without regard to slices. A cloud of one host needs no data port."""
    yield from of_bridge(inventory, facts, leaves=len(inventory.hosts) > 1)
    if facts.host == inventory.network_node:
        yield from of_internet(inventory, facts)


def of_slice(inventory: Inventory, slice_: Slice, facts: Facts) -> Iterator[Problem]:
    """Yield the problems of the host that matter to the slice: its VLANs between hosts, and the internet."""
    vlans = [vlan for vlan, hosts in wire.spans(inventory, slice_).items() if facts.host in hosts]
    yield from of_bridge(inventory, facts, leaves=bool(vlans), vlans=vlans)
    if slice_.uses_internet and facts.host == inventory.network_node:
        yield from of_internet(inventory, facts)


def of_bridge(inventory: Inventory, facts: Facts, *, leaves: bool, vlans: Collection[int] = ()) -> Iterator[Problem]:
    """Yield the problems that stop the bridge from passing frames, and those of the data port if frames leave the host.

    `vlans`: the VLANs that the data port must carry, for a port that carries a list.
    """
    if not facts.was_asked("ports", "devices") or inventory.bridge not in facts.bridges:
        return
    if facts.was_asked("flows") and not _passes_frames(facts):
        yield Problem(
            "normal-missing", f"{inventory.bridge} passes no frames: its own flow, priority=0 actions=NORMAL, is gone"
        )
    if leaves and inventory.tunnel:
        yield from _of_underlay(inventory, inventory.tunnel, facts)
    elif leaves:
        yield from _of_data_port(inventory, facts, vlans)


def data_ports(inventory: Inventory, facts: Facts) -> list[SeenPort]:
    """Return the ports of the bridge that lead to other hosts: the port of the setting, or all candidates.

    A candidate is a physical port, a bond, a tunnel or a patch to another bridge. Internal ports, our ports and TAPs
    are none. A port with a VLAN of its own is a candidate only if there is no other. Where the cloud makes a tunnel, it
    is the patch to that, and no other port should be one.
    """
    ports = [port for port in facts.ports.values() if port.bridge == inventory.bridge and port.kind != "internal"]
    if inventory.tunnel:
        return [port for port in ports if port.name == inventory.tunnel.patch] + _foreign_ways(ports, facts)
    named = inventory.data_ports.get(facts.host)
    if named:
        return [port for port in ports if port.name == named]
    return _foreign_ways(ports, facts) or _foreign(ports, facts)


def _foreign_ways(ports: Iterable[SeenPort], facts: Facts) -> list[SeenPort]:
    """Return the ports that are not ours, are no TAPs and carry VLANs with their tags."""
    return [port for port in _foreign(ports, facts) if not _is_access(port)]


def _foreign(ports: Iterable[SeenPort], facts: Facts) -> list[SeenPort]:
    devices = {port.name: facts.devices.get(port.name) for port in ports}
    taps = {name for name, device in devices.items() if device and device.kind == "tun"}
    return [port for port in ports if not port.is_ours and port.name not in taps]


def are_one_way(ports: Collection[SeenPort]) -> bool:
    """Return whether there is at most one way to the other hosts. Tunnels count as one, with one for each host."""
    return len(ports) < 2 or all(port.kind in _TUNNELS for port in ports)


def _is_access(port: SeenPort) -> bool:
    return port.mode in _ACCESS and (port.tag is not None or port.mode != "")


def _passes_frames(facts: Facts) -> bool:
    """Return whether the flow that matches all remaining frames does not drop them."""
    rest = [flow for flow in facts.flows if all(word.startswith("priority=") for word in flow.match)]
    last = max(rest, key=lambda flow: _priority(flow.match), default=None)
    return last is not None and last.actions != ("drop",)


def _priority(match: Collection[str]) -> int:
    return next((int(word.removeprefix("priority=")) for word in match), 32768)


def _of_data_port(inventory: Inventory, facts: Facts, vlans: Collection[int]) -> Iterator[Problem]:
    ports = data_ports(inventory, facts)
    if not ports:
        named = inventory.data_ports.get(facts.host)
        what = (
            f"the data port {named} is not on {inventory.bridge}"
            if named
            else f"no port of {inventory.bridge} leads to the other hosts"
        )
        yield Problem("data-port-missing", what, named or "")
        return
    if not are_one_way(ports):
        names = ", ".join(sorted(port.name for port in ports))
        yield Problem("data-port-unclear", f"each of the ports {names} could lead to the other hosts")
    problems = [_problem(port, facts, vlans) for port in ports]
    if None not in problems and problems[-1]:
        yield problems[-1]


def _of_underlay(inventory: Inventory, tunnel: Tunnel, facts: Facts) -> Iterator[Problem]:
    """Yield the problems of the network beneath the tunnel, and the ports that lead to other hosts beside it."""
    address = tunnel.addresses[facts.host]
    device = next((device for device in facts.devices.values() if address in device.addresses), None)
    if device is None:
        yield Problem("tunnel-address", f"no interface has the address {address}, where the tunnel of this host ends")
    elif 0 < device.mtu < LEAST_MTU:
        what = f"{device.name} has an MTU of {device.mtu}, and the tunnel needs {LEAST_MTU} or more"
        yield Problem("tunnel-narrow", what, device.name)
    for port in data_ports(inventory, facts):
        if port.name != tunnel.patch:
            what = (
                f"port {port.name} of {inventory.bridge} leads to other hosts beside the tunnel, so frames would circle"
            )
            yield Problem("tunnel-doubled", what, port.name)


def _problem(port: SeenPort, facts: Facts, vlans: Collection[int]) -> Problem | None:
    name = f"the data port {port.name}"
    if _is_access(port):
        return Problem("data-port-tagged", f"{name} carries the VLAN of its tag only", port.name)
    if lacking := [vlan for vlan in sorted(vlans) if port.vlans and vlan not in port.vlans]:
        return Problem("data-port-tagged", f"{name} does not carry VLAN {lacking[0]}", port.name)
    device = facts.devices.get(port.name)
    if device is None:
        has_none = port.kind in ("", "system") and port.number < 0
        return Problem("data-port-down", f"{name} has no device", port.name) if has_none else None
    if not device.up:
        return Problem("data-port-down", f"{name} is down", port.name)
    return None if device.carrier else Problem("data-port-down", f"{name} has no carrier", port.name)


def of_internet(inventory: Inventory, facts: Facts) -> Iterator[Problem]:
    """Yield the problems between guests and the internet that are not ours."""
    internet = inventory.internet
    if facts.was_asked("devices"):
        yield from _of_uplink(internet, facts)
    for use in itertools.islice(_in_use(internet, facts), SHOWN):
        yield Problem("internet-overlap", f"internet: cidr: {internet.cidr} is in use: {use}")
    for barrier in facts.barriers:
        yield Problem("internet-blocked", f"another firewall drops what guests send to the internet: {barrier}")


def _of_uplink(internet: InternetSettings, facts: Facts) -> Iterator[Problem]:
    uplink = facts.devices.get(internet.uplink)
    if uplink is None:
        yield Problem(
            "uplink-missing",
            f"there is no interface {internet.uplink}, the internet: uplink of database.yaml",
            internet.uplink,
        )
    elif not uplink.up:
        yield Problem("uplink-down", f"the uplink {internet.uplink} is down", internet.uplink)
    elif facts.was_asked("routes") and not any(
        route.network == "default" and route.device == internet.uplink for route in facts.routes
    ):
        yield Problem("uplink-unrouted", f"no default route leads out of the uplink {internet.uplink}", internet.uplink)


def _in_use(internet: InternetSettings, facts: Facts) -> Iterator[str]:
    """Yield each other use of addresses of the guests' network."""
    inside = gateway_port(internet.vlan_id)
    yield from (f"{peer} is connected by SSH" for peer in facts.peers)
    for name, device in facts.devices.items():
        for address in device.addresses if name != inside else ():
            if ipaddress.IPv4Address(address) in internet.network:
                yield f"{address} of {name}"
    for route in facts.routes:
        if route.device == inside or route.network == "default":
            continue
        network = ipaddress.IPv4Network(route.network)
        if network.subnet_of(internet.network) or (route.is_link and internet.network.subnet_of(network)):
            yield f"a route to {route.network} by {route.device or 'nothing'}"
