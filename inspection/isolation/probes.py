"""Probes: packets that must not pass. Switches and routers say what they would do with them. Pure.

No packet is sent (ovs-vswitchd(8), ofproto/trace; ip-route(8), get).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Literal

from core.inventory import Inventory
from core.names import INTERNET_GATEWAY_MAC, router_namespace, tap_name
from core.status import SliceStatus
from inspection import exposure
from inspection.collect import ANY
from inspection.facts import Facts
from inspection.isolation.proof import Property
from machines.taps import Taps
from models import VM, Interface, Slice, internet_interfaces
from remote.plan import Command, Plan, Stage, Step

FORGED_MAC = "52:54:00:ff:ff:ff"


@dataclass(frozen=True)
class Probe:
    """A packet that must not pass, and the command that asks the host about it.

    `allowed_vlan`: the only VLAN that a frame may reach. `dropped`: the packet is dropped before it is routed.
    """

    kind: Literal["frame", "way in", "way out"]
    host: str
    what: str
    slice_id: int
    command: Command
    allowed_vlan: int | None = None
    dropped: bool = False

    def holds(self, answer: str) -> bool:
        """Return whether the packet is dropped, or stays on its own VLAN."""
        if self.kind != "frame":
            refused = re.search(r"unreachable|prohibit|cross-device", answer) and " dev " not in answer
            return self.dropped or bool(refused)
        actions = re.findall(r"^Datapath actions: (.*)$", answer, re.MULTILINE)
        if self.allowed_vlan is not None and actions:
            return set(re.findall(r"vid=(\d+)", actions[-1])) <= {str(self.allowed_vlan)}
        return actions == ["drop"]


class Probes:
    """The probes between all slices of the cloud. One with an unfinished change is another's neighbour only."""

    def __init__(self, inventory: Inventory, slices: Iterable[Slice], facts_by_host: Mapping[str, Facts]) -> None:
        self._inventory = inventory
        self._facts_by_host = facts_by_host
        self._internet = inventory.internet
        slices = list(slices)
        self._all = [design for slice_ in slices for design in slice_.designs]
        self._running = [s for s in slices if s.status == SliceStatus.RUNNING and not s.before]
        self._vlans = {link.vlan_id: slice_.slice_id for slice_ in self._all for link in slice_.links}

    def all(self) -> list[Probe]:
        """Return the probes of all hosts whose facts are known."""
        kinds = (self._frames, self._ways_in, self._ways_out)
        found = [probe for slice_ in self._running for kind in kinds for probe in kind(slice_)]
        return [probe for probe in found if probe.host in self._facts_by_host]

    def _frames(self, slice_: Slice) -> Iterator[Probe]:
        for vm in slice_.vms:
            for interface in vm.interfaces:
                if interface.vlan_id is not None:
                    tagged = f"dl_vlan={self._foreign_vlan(slice_)},dl_src={interface.mac},dl_dst=ff:ff:ff:ff:ff:ff"
                    probe = self._frame(slice_, vm, interface, "a frame with another VLAN's tag", tagged)
                    link = slice_.link(interface.link_id)
                    # A transparent link passes it inside the link's own tag.
                    yield replace(probe, allowed_vlan=interface.vlan_id) if link and link.transparent else probe
                    if interface.vlan_id == self._internet.vlan_id:
                        yield from self._forgeries(slice_, vm, interface)
                    else:
                        flood = f"dl_src={interface.mac},dl_dst=ff:ff:ff:ff:ff:ff"
                        probe = self._frame(slice_, vm, interface, "a broadcast leaves its VLAN", flood)
                        yield replace(probe, allowed_vlan=interface.vlan_id)
                        lie = f"dl_src={INTERNET_GATEWAY_MAC},dl_dst=ff:ff:ff:ff:ff:ff"
                        yield self._frame(slice_, vm, interface, "a frame with the internet gateway's MAC", lie)

    def _forgeries(self, slice_: Slice, vm: VM, nic: Interface) -> Iterator[Probe]:
        own, gateway = slice_.address_of(vm, nic), self._internet.gateway
        victim, victim_mac = self._victim(vm)
        source = f"dl_src={nic.mac}"
        out = f"dl_dst={INTERNET_GATEWAY_MAC},ip"
        yield self._frame(slice_, vm, nic, "a forged MAC", f"dl_src={FORGED_MAC},{out},nw_src={own},nw_dst=192.0.2.1")
        yield self._frame(slice_, vm, nic, "a forged address", f"{source},{out},nw_src={victim},nw_dst=192.0.2.1")
        direct = f"{source},dl_dst={victim_mac},ip,nw_src={own},nw_dst={victim}"
        yield self._frame(slice_, vm, nic, "a packet to another VM", direct)
        lie = f"{source},dl_dst=ff:ff:ff:ff:ff:ff,arp,arp_op=2,arp_spa={gateway},arp_tpa={victim}"
        yield self._frame(slice_, vm, nic, "an ARP answer in the gateway's name", lie)

    def _victim(self, vm: VM) -> tuple[str, str]:
        """Return address and MAC of another VM on the internet VLAN, or of an invented one."""
        for slice_ in self._running:
            for other, nic in internet_interfaces(slice_):
                if other is not vm:
                    return str(slice_.address_of(other, nic)), str(nic.mac)
        return str(self._internet.network[9]), FORGED_MAC

    def _foreign_vlan(self, slice_: Slice) -> int:
        """Return a VLAN of another slice, or the internet VLAN if there is none."""
        own = {link.vlan_id for link in slice_.links}
        return next((vlan for vlan in sorted(self._vlans) if vlan not in own), self._internet.vlan_id)

    def _ways_in(self, slice_: Slice) -> Iterator[Probe]:
        """Yield packets to each worker itself, from a TAP, with the address of another host."""
        for host in dict.fromkeys(vm.worker_ip for vm in slice_.vms):
            vms = [vm for vm in slice_.vms if vm.worker_ip == host]
            taps = Taps.of(slice_, vms, self._internet.vlan_id, self._inventory.bridge)
            facts = self._facts_by_host.get(host)
            forged = next((other for other in self._inventory.hosts if other != host), self._internet.dns)
            dropped = facts is not None and exposure.is_dropped(facts, slice_.slice_id, taps.names)
            for tap in taps.linked:
                route = Command(("ip", "route", "get", host, "from", forged, "iif", tap), ok=ANY)
                what = f"the host takes a packet to {host} from {tap}"
                yield Probe("way in", host, what, slice_.slice_id, route, dropped=dropped)

    def _ways_out(self, slice_: Slice) -> Iterator[Probe]:
        """Yield packets from the slice's router to other slices, to the hosts and to the internet VLAN."""
        if not slice_.routed_links:
            return
        own = [slice_.network_of(link).addresses for link in slice_.links]
        foreign = ((other, link) for other in self._all if other is not slice_ for link in other.routed_links)
        gateways = (other.network_of(link).gateway_ip for other, link in foreign)
        targets = dict.fromkeys(sorted(filter(None, gateways)), "another slice's gateway")
        targets |= {
            host: "a host of the cloud" for host in self._inventory.all_addresses if re.fullmatch(r"[\d.]+", host)
        }
        targets |= {self._internet.gateway: "the internet VLAN", self._internet.dns: "the internet"}
        name = router_namespace(slice_.slice_id)
        for address, where in targets.items():
            if any(IPv4Address(address) in network for network in own):
                continue  # the way leads to a link of the slice itself
            route = Command(("ip", "-n", name, "route", "get", address), ok=ANY)
            what = f"{name} has a way to {address}, {where}"
            yield Probe("way out", self._inventory.network_node, what, slice_.slice_id, route)

    def _frame(self, slice_: Slice, vm: VM, interface: Interface, what: str, packet: str) -> Probe:
        tap = tap_name(vm.vm_id, interface.name)
        trace = ("ovs-appctl", "--timeout=5", "ofproto/trace", self._inventory.bridge, f"in_port={tap},{packet}")
        return Probe("frame", vm.worker_ip, f"{tap} lets through: {what}", slice_.slice_id, Command(trace, ok=ANY))


def probe_plan(probes: Sequence[Probe], seconds: float) -> Plan:
    """Return the plan with one step of probes per host, side by side, with a deadline in seconds."""
    hosts = dict.fromkeys(probe.host for probe in probes)
    asked = [(probe.host, replace(probe.command, name=probe.what)) for probe in probes]
    steps = (Step(host, "probes", tuple(command for at, command in asked if at == host)) for host in hosts)
    return Plan((Stage("probe", tuple(steps)),), timeout=seconds, deadline=seconds, repeatable=True)


def verdicts(probes: Sequence[Probe], answers: Mapping[str, Mapping[str, str]]) -> list[Property]:
    """Return the properties that the probes show. `answers`: by host, and by the probe's `what`."""
    frames = Property("probes of the switches: forged, tagged and misdirected frames are dropped")
    ways = Property("probes of the routers: no way leads to others")
    doors = Property("probes of the hosts: their kernels route nothing that comes from a TAP")
    for probe in probes:
        found = {"frame": frames, "way out": ways, "way in": doors}[probe.kind]
        answer = answers.get(probe.host, {}).get(probe.what)
        if answer is not None:
            found.check(probe.host, probe.what, probe.slice_id, holds=probe.holds(answer))
    return [frames, doors, ways]
