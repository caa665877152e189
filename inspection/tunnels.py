"""Compare a host's end of the tunnel with the one that its slices need. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from core.inventory import Inventory
from core.underlay import Tunnel
from inspection.facts import Facts, Flow, SeenPort
from inspection.foundation import Problem
from inspection.parse_switch import parse_tunnel_flow
from models import Slice
from network import tunnel, wire


class _End(NamedTuple):
    """A port as it should be. `target`: what it leads to, in words."""

    name: str
    bridge: str
    kind: str
    options: dict[str, str]
    target: str

    def is_set(self, port: SeenPort) -> bool:
        """Return whether the port leads where it should, for all VLANs."""
        set_up = (port.bridge, port.kind, dict(port.options)) == (self.bridge, self.kind, self.options)
        return set_up and port.tag is None and not port.trunks


def of_slice(inventory: Inventory, slice_: Slice, facts: Facts) -> Iterator[Problem]:
    """Yield the problems of the host's end, if VLANs of the slice pass by it."""
    hosts = wire.hosts_of(wire.spans(inventory, slice_))
    if inventory.tunnel and facts.host in hosts:
        yield from problems(inventory.tunnel, facts, hosts)


def problems(realm: Tunnel, facts: Facts, needed: Collection[str]) -> Iterator[Problem]:
    """Yield the problems of the host's end. It has ports to the hosts in `needed`, and may have ports to all others."""
    if not facts.was_asked("ports") or realm.inner not in facts.bridges:
        return
    bridge = facts.bridge_settings.get(realm.bridge)
    if bridge is None:
        yield Problem("tunnel-missing", f"the bridge {realm.bridge} of the tunnel is not there")
        return
    if bridge.tunnel != str(realm.key):
        yield Problem("tunnel-foreign", f"the bridge {realm.bridge} has not our mark", realm.bridge)
        return
    if not bridge.secure:
        yield Problem("tunnel-wrong", f"the bridge {realm.bridge} would pass frames without our flows")
    if not facts.bridge_settings.get(realm.inner, bridge).passes_bpdus:
        yield Problem("tunnel-wrong", f"{realm.inner} drops the guests' STP and LLDP")
    here = made(realm, facts, needed)
    for end in _ends(here, facts.host):
        if problem := _problem(end, facts.ports.get(end.name)):
            yield problem
    if facts.was_asked("tunnel") and wanted_flows(here, facts.host) != frozenset(facts.tunnel_flows):
        yield Problem("tunnel-flows", f"the flows of {realm.bridge} are not ours, or some are missing")


def leaks(realm: Tunnel, facts: Facts) -> Iterator[str]:
    """Yield the ports and flows by which frames could pass to other places than the hosts of the cloud."""
    ends = {end.name: end for end in _ends(realm, facts.host)}
    for port in facts.ports.values():
        if port.bridge == realm.bridge and port.name != realm.bridge:
            end = ends.get(port.name)
            if end is None or not end.is_set(port):
                yield f"port {port.name} of {realm.bridge} does not lead to a host of the cloud"
    flows = frozenset(facts.tunnel_flows)
    if flows and facts.was_asked("tunnel") and flows != wanted_flows(made(realm, facts), facts.host):
        yield f"the flows of {realm.bridge} are not ours"


def wanted_flows(realm: Tunnel, host: str) -> frozenset[Flow]:
    """Return the flows of the tunnel's bridge, in the form of `Facts.tunnel_flows`."""
    return frozenset(map(parse_tunnel_flow, tunnel.marked_flows(realm, host)))


def made(realm: Tunnel, facts: Facts, needed: Collection[str] = ()) -> Tunnel:
    """Return the tunnel without the hosts to which this one has no port and needs none: they joined the cloud later."""
    there = {name for name, address in realm.addresses.items() if realm.port(address) in facts.ports}
    return realm.among({facts.host, *there, *needed})


def _ends(realm: Tunnel, host: str) -> Iterator[_End]:
    yield _End(realm.patch, realm.inner, "patch", {"peer": realm.peer}, realm.bridge)
    yield _End(realm.peer, realm.bridge, "patch", {"peer": realm.patch}, realm.inner)
    for port, address in realm.ends(host).items():
        options = {"key": str(realm.key), "local_ip": realm.addresses[host], "remote_ip": address}
        yield _End(port, realm.bridge, "geneve", options, address)


def _problem(end: _End, port: SeenPort | None) -> Problem | None:
    name = f"port {end.name} of the tunnel, to {end.target},"
    if port is None:
        return Problem("tunnel-missing", f"{name} is not there")
    if not port.is_ours:
        return Problem("tunnel-foreign", f"{name} has not our mark", end.name)
    if not end.is_set(port):
        return Problem("tunnel-wrong", f"{name} leads elsewhere")
    return Problem("tunnel-missing", f"{name} is not open") if port.number < 0 else None
