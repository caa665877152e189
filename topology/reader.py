"""Read a slice file into a design: all defaults filled in, all faults at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from core.first_boot import MAX_BYTES, MAX_BYTES_OF_SLICE
from core.flavors import Devices, Flavor
from core.links import SERVICES
from core.names import DHCP_FIRST_HOST, DHCP_LAST_HOST, in_guests
from models import MAX_DATA_INTERFACES
from topology.design import IMPAIRMENTS, STATES, Design, DesignedLink, DesignedVM, End, Seed
from topology.document import UnreadableError, parse
from topology.faults import BadSliceFile, Fault, FoundFaults, shown
from topology.fields import SLICE
from topology.goals import read_goals
from topology.kinds import Held
from topology.seeds import first_boot

INTERNET = IPv4Network("10.60.7.0/24")
_FORBIDDEN = {
    IPv4Network("0.0.0.0/8"): "the addresses of no host",
    IPv4Network("127.0.0.0/8"): "the addresses of each host itself",
    IPv4Network("169.254.0.0/16"): "link-local addresses",
    IPv4Network("224.0.0.0/3"): "multicast and reserved addresses",
}
_DHCP_PREFIX = (8, 24)
_FREE_PREFIX = (8, 30)


def read(text: str, flavors: Mapping[str, Flavor] | None = None, internet: IPv4Network = INTERNET) -> Design:
    """Return the design of a slice file; raise `BadSliceFile` with all its faults.

    `flavors` are the names that exist, or None to accept any. `internet` is the network of VLAN 400.
    """
    report = FoundFaults()
    try:
        node = parse(text)
    except UnreadableError as fault:
        raise BadSliceFile([Fault(fault.line, str(fault))]) from fault
    found = SLICE.read(node, report)
    if found is None or "vms" not in found:
        report.close()
    return _Reader(report, found or {}, internet, flavors).design()


@dataclass
class _Reader:
    """The parts of one file, as the table of fields read them."""

    report: FoundFaults
    found: Mapping[str, Held]
    internet: IPv4Network
    flavors: Mapping[str, Flavor] | None
    used: dict[str, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    """VM -> number of an interface -> the line that uses it."""

    def design(self) -> Design:
        vms: dict[str, Held] = self.found["vms"].value
        records = {name: Held(held.line, _record_of_vm(held)) for name, held in vms.items()}
        for record in records.values():
            self._check_flavor(record)
        links = [Held(line, _record_of_link(line, value)) for line, value in self._listed("links")]
        ends = self._ends(links, records)
        design = Design(
            _value(self.found, "slice", ""),
            tuple(self._vm(name, record) for name, record in records.items()),
            tuple(self._link(link, ends[number]) for number, link in enumerate(links) if ends[number]),
            _value(self.found, "description", ""),
        )
        self._check_seeds(design)
        self._check_host_names(vms)
        self._check_networks(links)
        self._check_link_names(links)
        goals = read_goals(self.report, self._listed("goals"), design, whole=all(len(each) > 1 for each in ends))
        self.report.close()
        return replace(design, goals=goals)

    def _listed(self, key: str) -> list[Held]:
        return list(_value(self.found, key, []))

    # --- VMs ----------------------------------------------------------------------------------------------------------

    def _check_flavor(self, record: Held) -> None:
        flavor, nics, flavors = record.value.get("flavor"), record.value.get("nics"), self.flavors
        if flavors is None or flavor is None:
            return
        if flavor.value not in flavors:
            known = f"; there are {', '.join(flavors)}" if len(flavors) <= 10 else ""
            wrong = f"there is no flavor {shown(flavor.value)}"
            self.report.add(flavor.line, f"{wrong}{self.report.guess(flavor.value, flavors)}{known}")
        elif nics and (refused := flavors[flavor.value].devices.refused_nics(nics.value)):
            self.report.add(nics.line, f"a VM of flavor {flavor.value} {refused}")

    def _devices(self, flavor: str) -> Devices:
        return self.flavors[flavor].devices if self.flavors and flavor in self.flavors else Devices()

    def _vm(self, name: str, record: Held) -> DesignedVM:
        values = record.value
        highest = max(self.used[name], default=0)
        flavor = _value(values, "flavor", "")
        devices = self._devices(flavor)
        nics = _value(values, "nics", devices.fitting_nics(highest + 1))
        if highest > nics:
            raising = f"raise `nics` of {name}" if nics < devices.max_nics else f"take another flavor than {flavor}"
            line = self.used[name][highest]
            self.report.add(line, f"{name} has {nics} data interfaces; {raising} to use eth{highest}")
        seed = _value(values, "seed", {})
        return DesignedVM(
            name,
            flavor,
            nics,
            _value(values, "internet", default=False),
            Seed(_value(seed, "script", ""), _value(seed, "user_data", {})),
            _value(values, "start", "auto"),
            nics_named="nics" in values,
        )

    def _check_host_names(self, vms: Mapping[str, Held]) -> None:
        seen: dict[str, str] = {}
        for name, (line, _) in vms.items():
            other = seen.setdefault(in_guests(name), name)
            if other != name:
                self.report.add(line, f"{name} and {other} have the same host name in the guest; rename one")

    def _check_seeds(self, design: Design) -> None:
        total = sum(self._checked_seed(vm) for vm in design.vms if vm.seed != Seed())
        if total > MAX_BYTES_OF_SLICE:
            line = self.found["vms"].line
            self.report.add(
                line, f"the seeds of the slice have {total} bytes; at most {MAX_BYTES_OF_SLICE} are allowed"
            )

    def _checked_seed(self, vm: DesignedVM) -> int:
        """Return the size of a VM's seed, and report what is wrong with it."""
        line = self.found["vms"].value[vm.name].value["seed"].line
        if not self._takes_seed(vm.flavor):
            self.report.add(line, f"the flavor {vm.flavor} takes no seed: remove `seed`, or take another flavor")
        try:
            kept = first_boot(vm.seed)
        except ValueError as fault:
            self.report.add(line, f"`user_data` of {vm.name}: {fault}")
            return 0
        size = kept.size if kept else 0
        if size > MAX_BYTES:
            self.report.add(line, f"the seed of {vm.name} has {size} bytes; at most {MAX_BYTES} are allowed")
        return size

    def _takes_seed(self, flavor: str) -> bool:
        """Return whether VMs of a flavor take a seed; those of an unknown one may."""
        return self.flavors is None or flavor not in self.flavors or self._devices(flavor).seed != "none"

    # --- links --------------------------------------------------------------------------------------------------------

    def _ends(self, links: list[Held], vms: Mapping[str, Held]) -> list[tuple[End, ...]]:
        """Return the ends of each link; named interfaces of the whole file are taken before free ones are given."""
        written = [[_end(held) for held in _value(link.value, "ends", [])] for link in links]
        for ends in written:
            for line, (vm, nic) in ends:
                if nic is not None and vm in vms:
                    self._take(line, vm, nic)
        given: list[tuple[End, ...]] = []
        for link, ends in zip(links, written, strict=True):
            self._check_ends(link, [vm for _, (vm, _) in ends], vms)
            whole = all(vm in vms for _, (vm, _) in ends)
            given.append(
                tuple(End(vm, self._nic(line, vm, nic), named=nic is not None) for line, (vm, nic) in ends)
                if whole
                else ()
            )
        return given

    def _take(self, line: int, vm: str, nic: int) -> None:
        if not 1 <= nic <= MAX_DATA_INTERFACES:
            allowed = f"data interfaces are eth1 to eth{MAX_DATA_INTERFACES}"
            hint = "; eth0 is for the internet: write `internet: true`" if nic == 0 else ""
            self.report.add(line, f"eth{nic} of {vm} cannot be linked: {allowed}{hint}")
        elif nic in self.used[vm]:
            self.report.add(line, f"eth{nic} of {vm} is used in line {self.used[vm][nic]} already; choose another one")
        else:
            self.used[vm][nic] = line

    def _nic(self, line: int, vm: str, nic: int | None) -> int:
        if nic is None:
            nic = next((each for each in range(1, MAX_DATA_INTERFACES + 1) if each not in self.used[vm]), None)
            if nic is None:
                self.report.add(line, f"{vm} has no free data interface: {MAX_DATA_INTERFACES} are in use")
                return MAX_DATA_INTERFACES
            self.used[vm][nic] = line
        return nic

    def _check_ends(self, link: Held, names: list[str], vms: Mapping[str, Held]) -> None:
        for name in dict.fromkeys(names):
            if name not in vms:
                self.report.add(
                    link.line, f"there is no VM {shown(name)}{self.report.guess(name, vms)}; add it to `vms`"
                )
            if names.count(name) > 1:
                self.report.add(link.line, f"{name} is on this link twice; a link joins different VMs")
        if len(names) < 2 and "ends" in link.value:
            self.report.add(link.line, "a link needs two ends or more")

    def _link(self, link: Held, ends: tuple[End, ...]) -> DesignedLink:
        values, names = link.value, [end.vm for end in ends]
        network, services = _value(values, "cidr", None), _value(values, "services", SERVICES[0])
        addresses: dict[str, Held] = _value(values, "addresses", {})
        self._check_members(addresses, names, "addresses")
        if network:
            self._check_addresses(addresses, network, services)
        elif addresses:
            self.report.add(values["addresses"].line, "fixed addresses need the network: add `cidr`")
        return DesignedLink(
            ends,
            _value(values, "name", ""),
            services,
            network,
            {name: addresses[name].value for name in names if name in addresses},
            self._impairments(values, names),
            _value(values, "state", STATES[0]),
            _value(values, "transparent", default=False),
        )

    def _impairments(self, values: Mapping[str, Held], names: list[str]) -> dict[str, dict[str, str]]:
        read = {key: self._received(key, values[key], names) for key in IMPAIRMENTS if key in values}
        return {key: received for key, received in read.items() if received}

    def _received(self, key: str, held: Held, names: list[str]) -> dict[str, str]:
        if not isinstance(held.value, dict):
            return dict.fromkeys(names, held.value)
        self._check_members(held.value, names, key)
        return {name: held.value[name].value for name in names if name in held.value}

    def _check_members(self, table: Mapping[str, Held], names: list[str], key: str) -> None:
        for name, held in table.items():
            if name not in names:
                self.report.add(held.line, f"{name} is not on this link: `{key}` may name {', '.join(names)}")

    def _check_addresses(self, addresses: Mapping[str, Held], network: IPv4Network, services: str) -> None:
        owners: dict[IPv4Address, str] = {}
        for name, (line, address) in addresses.items():
            if address in owners:
                self.report.add(line, f"{address} is given to {owners[address]} already; choose another one")
            owners[address] = name
            if services != "none" and network.prefixlen <= _DHCP_PREFIX[1]:
                first, last = network[DHCP_FIRST_HOST], network[DHCP_LAST_HOST]
                if not first <= address <= last:
                    self.report.add(line, f"{address} is not in the range {first} to {last}, which DHCP gives")
            elif address not in network or address in {network.network_address, network.broadcast_address}:
                self.report.add(line, f"{address} is no host of {network}")

    def _check_networks(self, links: Iterable[Held]) -> None:
        seen: list[tuple[IPv4Network, int]] = []
        for link in links:
            if "cidr" not in link.value:
                continue
            line, network = link.value["cidr"]
            least, most = _FREE_PREFIX if _value(link.value, "services", SERVICES[0]) == "none" else _DHCP_PREFIX
            if not least <= network.prefixlen <= most:
                self.report.add(
                    line, f"{network} has the prefix {network.prefixlen}; {least} to {most} are allowed here"
                )
            for forbidden, meaning in {**_FORBIDDEN, self.internet: "the network of the internet VLAN"}.items():
                if network.overlaps(forbidden):
                    self.report.add(line, f"{network} cannot be used: {forbidden} has {meaning}")
            seen.append((network, line))
        self._check_overlaps(seen)

    def _check_overlaps(self, networks: list[tuple[IPv4Network, int]]) -> None:
        """Compare each network with the one before it in the order of addresses that reaches furthest."""
        furthest: tuple[IPv4Network, int] | None = None
        for network, line in sorted(networks):
            if furthest and network.overlaps(furthest[0]):
                (first, where), (second, there) = sorted([furthest, (network, line)], key=lambda each: each[1])
                self.report.add(there, f"{second} overlaps {first} of line {where}; choose another one")
            if furthest is None or network.broadcast_address > furthest[0].broadcast_address:
                furthest = network, line

    def _check_link_names(self, links: Iterable[Held]) -> None:
        seen: dict[str, int] = {}
        for link in links:
            if "name" in link.value:
                line, name = link.value["name"]
                if name in seen:
                    self.report.add(line, f"a link is called {name} in line {seen[name]} already; choose another name")
                seen.setdefault(name, line)


def _record_of_vm(held: Held) -> dict[str, Held]:
    """Return the keys of a VM, which may be written as the name of its flavor only."""
    return held.value if isinstance(held.value, dict) else {"flavor": held}


def _record_of_link(line: int, value: Any) -> dict[str, Held]:
    """Return the keys of a link, which may be written as `A - B` or as a list of its ends."""
    if isinstance(value, dict):
        return value
    ends = value if isinstance(value, list) else [Held(line, end.strip()) for end in value.split(" - ", 1)]
    return {"ends": Held(line, ends)}


def _end(held: Held) -> tuple[int, tuple[str, int | None]]:
    """Return the line, and the VM and the number of the interface, or None for the next free one."""
    vm, _, nic = held.value.partition(":eth")
    return held.line, (vm, int(nic) if nic else None)


def _value(values: Mapping[str, Held], key: str, default: Any) -> Any:
    return values[key].value if key in values else default
