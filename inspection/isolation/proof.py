"""Check the properties that keep slices apart, from the facts of hosts, without touching a guest. Pure.

The proof has two parts: the facts, and the answers of switches and routers to probes (`probes.py`). No part sends a
packet.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from core.errors import printable
from core.inventory import Inventory
from core.names import flow_cookie, gateway_port, ids_of_process, number_in, process_name, router_namespace
from core.status import SliceStatus
from inspection import exposure, foundation
from inspection.facts import Facts, Flow, Process, SeenPort
from inspection.findings import Comparison
from inspection.firewall_rules import dhcp_filter_of, our_rules, wanted_rules
from machines.disks import further_disks
from models import VM, Slice
from network import ovs, port_security

PORT_SECURITY_PRIORITY = 10
"""The lowest priority of the port security flows."""


@dataclass(frozen=True)
class Breach:
    """A place where a property does not hold. `slices`: the ids of slices whose isolation it concerns."""

    host: str
    what: str
    slices: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "what", printable(self.what))  # a host may have written it

    @property
    def sentence(self) -> str:
        """Return the host and the breach in words."""
        return f"{self.host}: {self.what}"


@dataclass
class Property:
    """A property of isolation, the number of its checks, and its breaches."""

    title: str
    checked: int = 0
    breaches: list[Breach] = field(default_factory=list)

    def check(self, host: str, what: str, *slices: int, holds: bool) -> None:
        """Count one check, and add a breach if the property does not hold there."""
        self.checked += 1
        if not holds:
            self.breaches.append(Breach(host, what, frozenset(slices)))

    def seen_by(self, slices: Collection[int]) -> Property:
        """Return the property with the breaches of these slices. Breaches of others are only counted."""
        own = [breach for breach in self.breaches if breach.slices and breach.slices <= set(slices)]
        others = len(self.breaches) - len(own)
        counted = [Breach("elsewhere", f"{others} more, which an operator sees")] if others else []
        return Property(self.title, self.checked, [*own, *counted])


class Proof:
    """The isolation proof of one realm, from its slices and the facts of its hosts.

    While a change of a running slice is unfinished, objects of both its designs are its own, and any may be missing.
    Such a slice is in `_all` and `_live` with both designs, and not in `_running`. `elsewhere` are the
    processes of VMs of other realms, which may be on workers of this one.
    """

    def __init__(
        self,
        inventory: Inventory,
        slices: Iterable[Slice],
        facts_by_host: Mapping[str, Facts],
        elsewhere: Collection[str] = (),
    ) -> None:
        self._inventory = inventory
        self._internet = inventory.internet
        self._comparison = Comparison(inventory)
        self._all = [design for slice_ in slices for design in slice_.designs]
        self._live = [design for design in self._all if design.status == SliceStatus.RUNNING]
        changing = {slice_.slice_id for slice_ in self._all if slice_.before}
        self._running = [slice_ for slice_ in self._live if slice_.slice_id not in changing]
        self._elsewhere = elsewhere
        self._facts_by_host = facts_by_host
        self._vlans = {link.vlan_id: slice_.slice_id for slice_ in self._all for link in slice_.links}

    def properties(self) -> list[Property]:
        """Return the properties that the facts show."""
        return [
            self._tags(), self._loose(), self._vlan_owners(), self._stacks(), self._routers(), self._macs(),
            self._vnc_ports(), self._disks(), self._port_security(), self._rules(), self._dhcp_filter(),
        ]  # fmt: skip

    # --- layer 2 ------------------------------------------------------------------------------------------------------

    def _tags(self) -> Property:
        """Check that all ports but one trunk have a tag, and that a slice's VLAN has our ports only."""
        found = Property("ports: every port has its tag, and no foreign port is on a slice's VLAN")
        wanted: defaultdict[tuple[str, str], list[ovs.Port]] = defaultdict(list)
        owners: dict[tuple[str, str], int] = {}
        for design in self._all:
            for host in self._facts_by_host:
                for planned in self._comparison.ports(design, host):
                    wanted[host, planned.name].append(planned)
                    owners[host, planned.name] = design.slice_id
        for host, facts in self._facts_by_host.items():
            ports = [port for port in facts.ports.values() if port.bridge == self._inventory.bridge]
            ways = [port for port in foundation.data_ports(self._inventory, facts) if _carries_all(port)]
            trunks = {port.name for port in ways}
            names = _listed(trunks)
            for port in ports:
                designed, owner = wanted.get((host, port.name), []), owners.get((host, port.name), 0)
                if port.name in trunks:
                    what = f"ports {names} carry every VLAN; only one may, the port of the data network"
                    found.check(host, what, holds=foundation.are_one_way(ways))
                elif _carries_all(port):
                    what = f"port {port.name} carries every VLAN"
                    found.check(host, what, *([owner] if owner else []), holds=port.name == port.bridge)
                elif designed:
                    tags = {each.tag for each in designed}
                    what = f"port {port.name} is on VLAN {port.tag} instead of {_listed(tags)}"
                    found.check(host, what, owner, holds=port.tag in tags and port.is_ours)
                    if any(each.protected for each in designed):
                        what = f"port {port.name} may send to other slices: it is not protected"
                        found.check(host, what, owner, holds=port.protected)
                else:
                    slice_ = self._vlans.get(port.tag or 0)
                    used = slice_ is not None or (port.tag == self._internet.vlan_id and self._uses_internet)
                    what = f"port {port.name}, which is not ours, is on VLAN {port.tag}"
                    found.check(host, what, *([slice_] if slice_ else []), holds=not used)
        return found

    def _loose(self) -> Property:
        """Check that no TAP without a link can pass a frame. Where it is not there, none passes either."""
        found = Property("interfaces without a link: their TAPs are down, and no ports")
        for host, facts in self._facts_by_host.items():
            for slice_ in self._running if facts.knows("devices", "ports") else ():
                for tap in self._comparison.launcher.taps(slice_, host).loose:
                    is_up = tap in facts.devices and facts.devices[tap].up
                    found.check(host, f"{tap} has no link and is up", slice_.slice_id, holds=not is_up)
                    what = f"{tap} has no link and is a port"
                    found.check(host, what, slice_.slice_id, holds=tap not in facts.ports)
        return found

    @property
    def _uses_internet(self) -> bool:
        return any(slice_.uses_internet for slice_ in self._all)

    def _vlan_owners(self) -> Property:
        found = Property("VLANs: each has one slice")
        owners: dict[int, set[int]] = defaultdict(set)
        for slice_ in self._all:
            for link in slice_.links:
                owners[link.vlan_id].add(slice_.slice_id)
        for vlan, slices in sorted(owners.items()):
            what = f"VLAN {vlan} has the slices {_listed(slices)}"
            found.check("database", what, *slices, holds=len(slices) == 1 and vlan != self._internet.vlan_id)
        for host, facts in self._facts_by_host.items():
            others = {realm.bridge for realm in self._inventory.realms.values()} - {self._inventory.bridge}
            for port in (each for each in facts.ports.values() if each.bridge not in others):
                slice_id = number_in(port.marks.get("slice", ""))
                if port.is_ours and port.tag in owners and slice_id is not None:
                    what = f"port {port.name} of slice {slice_id} is on VLAN {port.tag}"
                    found.check(host, what, *owners[port.tag], slice_id, holds={slice_id} == owners[port.tag])
        return found

    def _stacks(self) -> Property:
        """Check that guests reach no host's own IP stack, except by IPv4 at the gateways."""
        found = Property("hosts: their own IP stacks take no frame from a TAP, gateway or DHCP port")
        for host, facts in self._facts_by_host.items():
            for slice_ in self._running if facts.knows("stack", "drops", "devices") else ():
                taps = self._comparison.launcher.taps(slice_, host).names
                number = slice_.slice_id
                if taps:
                    what = f"frames of slice {number} are not dropped before the host's IP stack"
                    found.check(host, what, number, holds=exposure.is_dropped(facts, number, taps))
                for tap in filter(None, map(facts.devices.get, taps)):
                    self._note(found, host, number, [*exposure.of_tap(tap, facts), *exposure.ways(tap.name, facts)])
            if host == self._inventory.network_node and facts.knows("stack", "namespaces"):
                self._note_network(found, facts)
        return found

    def _note_network(self, found: Property, facts: Facts) -> None:
        gateway = facts.devices.get(gateway_port(self._internet.vlan_id))
        if gateway:
            self._note(found, facts.host, 0, exposure.of_gateway(gateway, facts))
        for slice_ in self._running:
            for name in dict.fromkeys(place.namespace for place in self._comparison.vlans.places(slice_)):
                if namespace := facts.namespaces.get(name):
                    self._note(found, facts.host, slice_.slice_id, exposure.of_namespace(namespace))

    @staticmethod
    def _note(found: Property, host: str, slice_id: int, openings: Iterable[str]) -> None:
        """Count one check of a device or namespace, and add a breach for each opening."""
        openings = list(openings)
        for what in openings:
            found.check(host, what, *([slice_id] if slice_id else []), holds=False)
        if not openings:
            found.check(host, "", holds=True)

    # --- layer 3 ------------------------------------------------------------------------------------------------------

    def _routers(self) -> Property:
        """Check that each slice's router holds its gateways and no other device."""
        found = Property("subnets: each router has its slice's gateways only")
        host = self._inventory.network_node
        facts = self._facts_by_host.get(host)
        for slice_ in self._running if facts else ():
            assert facts  # noqa: S101 - for the type checker
            places = {p.port.name: p for p in self._comparison.vlans.places(slice_) if p.namespace}
            for name in {place.namespace for place in places.values()}:
                namespace = facts.namespaces.get(name)
                for device in namespace.devices.values() if namespace else ():
                    place = places.get(device.name)
                    holds = device.name == "lo" or (
                        place is not None and place.namespace == name and device.addresses == (place.address,)
                    )
                    what = f"{device.name} with {_listed(device.addresses) or 'no address'} is in {name}"
                    found.check(host, what, slice_.slice_id, holds=holds)
                if namespace and name != router_namespace(slice_.slice_id):
                    found.check(host, f"{name} forwards", slice_.slice_id, holds=not namespace.routes)
            for name in places:
                found.check(host, f"{name} is in the root namespace", slice_.slice_id, holds=name not in facts.devices)
        return found

    def _rules(self) -> Property:
        """Check that our rules are complete and in order, and that no rule before them lets guests pass."""
        found = Property("network node: our rules, in their order, decide what VLAN 400 may reach")
        host = self._inventory.network_node
        facts = self._facts_by_host.get(host)
        if facts is None or not any(slice_.uses_internet for slice_ in self._running):
            return found
        wanted, ours = wanted_rules(self._inventory, facts), our_rules(facts)
        for number, rule in enumerate(wanted):
            there = number < len(ours) and ours[number] == rule
            found.check(host, f"rule {number + 1} of ours is not '{rule}'", holds=there)
        found.check(host, f"{len(ours)} rules carry our mark instead of {len(wanted)}", holds=len(ours) == len(wanted))
        for chain in ("INPUT", "FORWARD"):
            rules = [rule for rule in facts.rules if rule.startswith(f"filter -A {chain} ")]
            known = set(ours)
            first = next((n for n, rule in enumerate(rules) if rule in known), len(rules))
            for rule in rules[:first]:
                found.check(
                    host,
                    f"the rule '{rule}' comes before ours and lets guests pass",
                    holds=not self._lets_guests_in(rule),
                )
        return found

    def _dhcp_filter(self) -> Property:
        """Check that the filter of the shared DHCP server lets in each slice by its own chain, and nothing else."""
        found = Property("DHCP of VLAN 400: its filter lets in each VM for its own address only")
        host = self._inventory.network_node
        facts = self._facts_by_host.get(host)
        slices = [slice_ for slice_ in self._running if slice_.uses_internet]
        if facts is None or not slices:
            return found
        for slice_ in slices:
            whole = self._comparison.wanted_dhcp_filter(
                slice_, self._comparison.vlans.servers(slice_)
            ) == dhcp_filter_of(slice_, facts)
            what = f"the rules for slice {slice_.slice_id} are incomplete, or there are others"
            found.check(host, what, slice_.slice_id, holds=whole)
        known = {f"-a input -j {port_security.chain(slice_.slice_id)}" for slice_ in self._all}
        for line in facts.dhcp_filter:
            if line.startswith("-a input "):
                found.check(host, f"the rule '{line}' lets in more", holds=line in known or line.endswith("-j drop"))
        return found

    def _lets_guests_in(self, rule: str) -> bool:
        inside = gateway_port(self._internet.vlan_id)
        interface = re.search(r"(?<!! )-i (\S+)", rule)
        concerns = interface is None or inside.startswith(interface[1].removesuffix("+"))
        return concerns and not re.search(r"-j (DROP|REJECT|LOG)\b", rule)

    # --- VMs ----------------------------------------------------------------------------------------------------------

    def _machines(self) -> Iterator[tuple[str, Process]]:
        for host, facts in self._facts_by_host.items():
            machines = (process for process in facts.processes.values() if process.is_qemu)
            yield from ((host, process) for process in machines if process.name not in self._elsewhere)

    def _vms(self) -> Iterator[tuple[Slice, VM]]:
        yield from ((slice_, vm) for slice_ in self._live for vm in slice_.vms)

    def _macs(self) -> Property:
        found = Property("MACs: each has one VM")
        owner = {
            nic.mac: (slice_.slice_id, process_name(slice_.slice_id, vm.vm_id))
            for slice_, vm in self._vms()
            for nic in vm.interfaces
        }
        holders: dict[str, list[str]] = defaultdict(list)
        concerned: dict[str, set[int]] = defaultdict(set)
        for host, process in self._machines():
            for mac in process.macs:
                holders[mac].append(f"{_title(process)} on {host}")
                slice_id, name = owner.get(mac, (0, process.name))
                concerned[mac] |= _concerned(slice_id, process.name)
                what = f"{_title(process)} has the MAC {mac} of {name}"
                found.check(host, what, *_concerned(slice_id, process.name), holds=process.name == name)
        for mac, machines in holders.items():
            what = f"{mac} belongs to {_listed(machines)}"
            found.check("workers", what, *concerned[mac], holds=len(machines) == 1)
        return found

    def _vnc_ports(self) -> Property:
        found = Property("VNC: each port of a worker has one VM, asks for its secret, and is on its address only")
        wanted = {
            (vm.worker_ip, vm.vnc_port): (slice_.slice_id, process_name(slice_.slice_id, vm.vm_id))
            for slice_, vm in self._vms()
        }
        for host, process in self._machines():
            words = iter(process.argv)
            vnc = next((next(words, "") for word in words if word == "-vnc"), "")
            number = re.match(r"[0-9.]{0,15}:([0-9]{1,5})", vnc)
            if not number:
                continue
            slice_id, name = wanted.get((host, 5900 + int(number[1])), (0, process.name))
            what = f"{_title(process)} has VNC port {5900 + int(number[1])} of {name}"
            secret = not slice_id or "password-secret=" in vnc
            found.check(host, what, *_concerned(slice_id, process.name), holds=process.name == name and secret)
            for socket in sorted(self._facts_by_host[host].sockets.get(process.pid, ())) if slice_id else ():
                what = f"{process.name} listens on {socket}"
                found.check(host, what, slice_id, holds=socket.rpartition(":")[0] == host)
        return found

    def _disks(self) -> Property:
        found = Property("disks: each is open in its own VM only")
        owner: dict[tuple[str, str], tuple[int, str]] = {}
        for slice_, vm in self._vms():
            files = self._comparison.launcher.files(slice_, vm)
            for path in (files.overlay, *(disk.path for disk in further_disks(vm, files))):
                disk = "/".join(path.split("/")[-2:])
                owner[vm.worker_ip, disk] = slice_.slice_id, process_name(slice_.slice_id, vm.vm_id)
        for host, process in self._machines():
            for disk in sorted(self._facts_by_host[host].disks.get(process.pid, ())):
                slice_id, name = owner.get((host, "/".join(disk.split("/")[-2:])), (0, ""))
                if slice_id:
                    what = f"{_title(process)} has the disk of {name} open"
                    found.check(host, what, *_concerned(slice_id, process.name), holds=process.name == name)
        return found

    def _port_security(self) -> Property:
        found = Property("port security: the flows of every VM are complete, and no other flow overrides them")
        for host, facts in self._facts_by_host.items():
            taps: dict[str, int] = {}
            known: set[Flow] = set()
            for slice_ in self._live:
                wanted = self._comparison.wanted_flows(slice_, host)
                known |= {*wanted}
                taps |= {_in_port(each.match): slice_.slice_id for each in wanted}
                for each in wanted if slice_ in self._running else ():
                    what = f"the flow {','.join(sorted(each.match))} is missing"
                    there = facts.flows_by_slice.get(slice_.slice_id, ())
                    found.check(host, what, slice_.slice_id, holds=each in there)
            steady = {SliceStatus.RUNNING, SliceStatus.DESIGN}
            changing = {int(flow_cookie(slice_.slice_id), 0) for slice_ in self._all if slice_.status not in steady}
            for each in facts.flows if taps else ():
                port, priority = _in_port(each.match), _priority(each.match)
                is_foreign = each not in known and each.cookie not in changing
                if is_foreign and priority >= PORT_SECURITY_PRIORITY and port in {"", *taps}:
                    what = f"the flow {','.join(sorted(each.match))} overrides the port security"
                    slices = [taps[port]] if port else []
                    found.check(host, what, *slices, holds=each.actions == ("drop",))
        return found


def _concerned(slice_id: int, name: str) -> set[int]:
    """Return the slices that a breach by a process concerns: the harmed one, and the one that its name claims."""
    own = ids_of_process(name)
    return {number for number in (slice_id, own[0] if own else 0) if number}


def _title(process: Process) -> str:
    return f"process {process.pid} ({process.name or 'a foreign VM'})"


def _carries_all(port: SeenPort) -> bool:
    return port.tag is None or port.trunks


def _in_port(match: Iterable[str]) -> str:
    return next((word.removeprefix("in_port=") for word in match if word.startswith("in_port=")), "")


def _priority(match: Iterable[str]) -> int:
    return next((int(word.removeprefix("priority=")) for word in match if word.startswith("priority=")), 32768)


def _listed(items: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, items)))
