"""Compare the facts of hosts with the database, and return findings, each with a code. Pure.

The modules that plan a slice say which objects it has (`vm_launcher.py`, `vlan_manager.py`, `network/firewall.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from core.errors import CloudError, HostUnreachable, HostUnusable, InvalidAnswer, NotBegun, SudoRefused, printable
from core.inventory import Inventory
from core.names import flow_cookie, process_name, router_namespace, vm_file, vm_of_tap
from core.status import VMStatus
from deployment import MAX_SKEW_SECONDS
from inspection import disks, exposure, foundation, seeds, shared, tunnels, vms
from inspection.codes import CODES, OWNER_CODES, REPAIR, Severity
from inspection.facts import Device, Facts, Flow, SeenPort
from inspection.firewall_rules import dhcp_filter_of, leading_rules, wanted_rules
from inspection.parse_switch import parse_flow
from models import NOWHERE, VM, Slice
from network import ovs, port_security
from network.dhcp import Server, log_link
from network.namespaces import Place
from vlan_manager import VLANManager
from vm_launcher import VMLauncher

LEAST_DISK_MIB, LEAST_MEMORY_MIB = 512, 256

OLDEST = {"dnsmasq": (2, 73), "ovs-vsctl": (2, 8), "qemu-system-x86_64": (6, 1)}
"""Needed for `--dhcp-hostsdir`, `ovs-ofctl --names` and `-vnc password-secret=`."""

_NAME = re.compile(r"(?<!the )(?<!a )\b[A-Z]+\b")
"""A name in an advice: not the word in `restart the VM`."""


@dataclass(frozen=True)
class Finding:
    """A difference between the database and a host."""

    code: str
    host: str
    what: str
    slice_id: int | None = None
    vm_id: int | None = None
    device: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "what", printable(self.what))  # a host may have written it

    @property
    def severity(self) -> Severity:
        """Return `error` if something does not work, else `warning`."""
        return CODES[self.code][0]

    @property
    def sentence(self) -> str:
        """Return the host and the problem."""
        return f"{self.host}: {self.what}"

    @property
    def advice(self) -> str:
        """Return the sentence that says what to do, with the host, the device, and the ids of slice and VM."""
        names = {"ADDRESS": self.host, "HOST": self.host, "PORT": self.device, "UPLINK": self.device}
        names |= {name: str(number or "") for name, number in (("SLICE", self.slice_id), ("VM", self.vm_id))}
        return _NAME.sub(lambda word: names.get(word[0]) or word[0], CODES[self.code][2])

    @property
    def is_repairable(self) -> bool:
        """Return whether a repair of the slice solves the problem."""
        return CODES[self.code][2].startswith(REPAIR)

    @property
    def is_for_owner(self) -> bool:
        """Return whether the slice's owner can follow the advice, without rights on the host."""
        return self.is_repairable or self.code in OWNER_CODES

    def record(self) -> dict[str, str | int | None]:
        """Return the finding as a record for `--json`."""
        return {
            "code": self.code, "severity": self.severity, "host": self.host, "slice": self.slice_id, "vm": self.vm_id,
            "sentence": self.sentence, "advice": self.advice,
        }  # fmt: skip


def of_error(host: str, error: CloudError) -> Finding:
    """Return the error of a host as a finding."""
    if isinstance(error, HostUnusable | NotBegun) and not isinstance(error, SudoRefused):
        return Finding("host-unusable", host, str(error).removeprefix(host).lstrip(": "))
    if isinstance(error, InvalidAnswer):
        return Finding("invalid-answer", host, error.problem)
    if isinstance(error, HostUnreachable):
        return Finding("host-unreachable", host, f"{error.PREDICATE}: {error.reason}")
    code = "sudo-refused" if isinstance(error, SudoRefused) else "look-failed"
    return Finding(code, host, str(error).removeprefix(f"{host}: "))


def shared_folders(facts_by_host: Iterable[Facts]) -> Iterator[Finding]:
    """Yield the workers that share their folder of images: the mark of one disk is in both."""
    owners: dict[str, str] = {}
    reported: set[tuple[str, str]] = set()
    for facts in facts_by_host:
        for path in facts.files:
            if ".id-" not in path or not vm_file(path):
                continue
            other = owners.setdefault(path, facts.host)
            if other != facts.host and (other, facts.host) not in reported:
                reported.add((other, facts.host))
                yield Finding("images-shared", facts.host, f"its folder of images is also the folder of {other}")


def of_host(inventory: Inventory, facts: Facts, began: float, ended: float) -> Iterator[Finding]:
    """Yield the problems of a host itself. `began` and `ended` of the collection are in seconds since the epoch."""
    host = facts.host
    yield from _of_collection(facts, inventory.bridge)
    yield from (Finding(p.code, host, p.what, device=p.device) for p in foundation.of_host(inventory, facts))
    for program, said in facts.programs.items():
        if said is None:
            yield Finding("tool-missing", host, f"{program} is not installed")
        elif (oldest := OLDEST.get(program)) and not _is_new_enough(said, oldest):
            yield Finding("tool-too-old", host, f"{said}; {'.'.join(map(str, oldest))} is needed")
    if facts.clock is not None and not began - MAX_SKEW_SECONDS <= facts.clock <= ended + MAX_SKEW_SECONDS:
        yield Finding("clock-skew", host, f"its clock is {facts.clock - ended:+.0f} s from the manager's")
    if facts.disk_mib is not None and facts.disk_mib < LEAST_DISK_MIB and host in inventory.workers_list:
        yield Finding("no-room", host, f"{facts.disk_mib} MiB are left for disks")
    if facts.memory_mib is not None and facts.memory_mib < LEAST_MEMORY_MIB:
        yield Finding("no-room", host, f"{facts.memory_mib} MiB of memory are free")
    yield from (Finding(code, host, what) for code, what in shared.too_many(inventory, facts))


def _of_collection(facts: Facts, bridge: str) -> Iterator[Finding]:
    """Yield the parts of the host that could not be read.

    Without a bridge there are neither flows nor MACs. With one, only a dead ovs-vswitchd gives none.
    """
    has_bridge = bridge in facts.bridges or not facts.knows("ports")
    if not has_bridge:
        yield Finding("bridge-missing", facts.host, f"there is no bridge {bridge}")
    for part in facts.unread:
        if part in facts.invalid:
            yield Finding("invalid-answer", facts.host, f"gives an invalid answer about its {part}")
        elif part not in {"flows", "learned"}:
            yield Finding("unread", facts.host, f"its {part} could not be read")
        elif has_bridge and part == "flows":
            yield Finding("switch-down", facts.host, "ovs-vswitchd does not answer")


def _is_new_enough(said: str, oldest: tuple[int, ...]) -> bool:
    found = re.search(r"([0-9]{1,6})\.([0-9]{1,6})", said)
    return found is None or tuple(map(int, found.groups())) >= oldest


class Comparison:
    """Compares the objects that slices should have with the facts of the hosts."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self.launcher = VMLauncher(inventory)
        self.vlans = VLANManager(inventory)

    def ports(self, slice_: Slice, host: str) -> list[ovs.Port]:
        """Return the ports of the slice on the host, which may be a worker, the network node, or both."""
        ports = [*self.launcher.taps(slice_, host).ports]
        return [*ports, *self.vlans.ports(slice_)] if host == self.inventory.network_node else ports

    def of_slice(self, slice_: Slice, facts_by_host: Mapping[str, Facts]) -> list[Finding]:
        """Return the findings of a slice that should run. A part that was not read gives no finding.

        While a change is unfinished, any of its objects may be there or not.
        """
        if slice_.before:
            what = f"a change of VMs and links of slice {slice_.slice_id} was not finished"
            host = next(iter(self.hosts_of([slice_, slice_.earlier()])), self.inventory.network_node)
            return [Finding("change-unfinished", host, what, slice_.slice_id)]
        found = [_lost(slice_, vm) for vm in slice_.vms if vm.lost_with]
        for host in self.hosts_of([slice_]):
            if facts := facts_by_host.get(host):
                found += (
                    replace(finding, slice_id=slice_.slice_id)
                    for finding in _of_collection(facts, self.inventory.bridge)
                )
                problems = (each(self.inventory, slice_, facts) for each in (foundation.of_slice, tunnels.of_slice))
                found += (Finding(p.code, host, p.what, slice_.slice_id, device=p.device) for p in chain(*problems))
                found += self._of_worker(slice_, facts)
                if host == self.inventory.network_node:
                    found += self._of_network(slice_, facts)
        return found

    def hosts_of(self, slices: Iterable[Slice]) -> list[str]:
        """Return the hosts on which the slices have objects, each once."""
        hosts: dict[str, None] = {}
        for slice_ in slices:
            hosts |= dict.fromkeys(vm.worker_ip for vm in slice_.vms if vm.worker_ip != NOWHERE)
            if slice_.served_links or slice_.uses_internet:
                hosts[self.inventory.network_node] = None
        return list(hosts)

    def unfinished(self, slice_: Slice) -> Iterator[Finding]:
        """Yield the VMs whose addition was begun, when no session works on the slice."""
        for vm in slice_.vms:
            if vm.status == VMStatus.PENDING:
                yield self._finding("vm-unfinished", slice_, vm, f"the addition of VM {vm.name} was not finished")

    def _has_ports(self, facts: Facts) -> bool:
        """Return whether the ports of the host are known: they were read, and the bridge is there."""
        return facts.knows("ports", "devices") and self.inventory.bridge in facts.bridges

    # --- workers ------------------------------------------------------------------------------------------------------

    def _of_worker(self, slice_: Slice, facts: Facts) -> Iterator[Finding]:
        lost = {vm.vm_id for vm in slice_.vms if vm.lost_with}
        ports = ((port, int(dict(port.marks)["vm"])) for port in self.launcher.taps(slice_, facts.host).ports)
        switching = {vm.vm_id for vm in slice_.vms if vm.unfinished}
        planned = [(port, vm_id) for port, vm_id in ports if vm_id not in lost | switching]
        here = [vm for vm in slice_.vms if vm.worker_ip == facts.host and not vm.lost_with]
        for vm in here:
            yield from self._of_vm(slice_, vm, facts)
        for port, vm_id in planned if self._has_ports(facts) else ():
            yield from self._of_port(slice_, port, facts, facts.devices.get(port.name), vm_id)
        for tap, words in self.launcher.queues(slice_, facts.host).items() if self._has_ports(facts) else ():
            own = vm_of_tap(tap)
            for code, what in vms.of_queue(tap, words, facts) if own not in lost | switching else ():
                yield Finding(code, facts.host, what, slice_.slice_id, own)
        taps = self.launcher.taps_of(slice_, here).names
        if taps and facts.was_asked("drops") and not exposure.is_dropped(facts, slice_.slice_id, taps):
            what = "frames of TAPs are not dropped before the host's IP stack: our table of nftables is incomplete"
            yield Finding("stack-open", facts.host, what, slice_.slice_id)
        wanted, there = (
            frozenset(self.wanted_flows(slice_, facts.host)),
            facts.flows_by_slice.get(slice_.slice_id, frozenset()),
        )
        if wanted != there and facts.knows("flows") and not lost:
            missing, foreign = len(wanted - there), len(there - wanted)
            what = f"{missing} flows of the port security of VMs are missing, {foreign} are not ours"
            yield Finding("flows-missing", facts.host, what, slice_.slice_id)

    def wanted_flows(self, slice_: Slice, worker: str) -> list[Flow]:
        """Return the port security flows of the slice on `worker`, in the form of `Facts.flows`."""
        cookie = flow_cookie(slice_.slice_id)
        return [parse_flow(f"cookie={cookie},{line}") for line in self.launcher.flows(slice_, worker)]

    def overlays(self, slice_: Slice, facts: Facts) -> Iterator[Finding]:
        """Yield the disks that are missing. A VM has one whether it runs or not."""
        for vm in slice_.vms:
            if vm.worker_ip == facts.host:
                yield from self._of_disks(slice_, vm, facts)

    def _of_disks(self, slice_: Slice, vm: VM, facts: Facts) -> Iterator[Finding]:
        if vm.status == VMStatus.PENDING or vm.lost_with or not facts.knows("files"):
            return
        images, files = self.inventory.hypervisor.images_path, self.launcher.files(slice_, vm)
        for code, what in disks.problems(vm, files, images, facts):
            yield self._finding(code, slice_, vm, what)

    def _of_vm(self, slice_: Slice, vm: VM, facts: Facts) -> Iterator[Finding]:
        if vm.unfinished:  # any state of its disk and process may be on the worker
            yield self._finding("power-unfinished", slice_, vm, f"a {vm.unfinished} of VM {vm.name} was not finished")
            return
        files, taps = self.launcher.files(slice_, vm), self.launcher.taps_of(slice_, [vm])
        process = facts.process_of(files.pid_file, process_name(slice_.slice_id, vm.vm_id))
        yield from self._of_disks(slice_, vm, facts)
        designed = process is not None and self.launcher.runs_as_designed(slice_, vm, process.argv)
        problems = [*vms.of_process(vm, process, files, facts, designed=designed)]
        if not vm.stays_off and (found := seeds.problem_of(vm, files, facts)):
            problems.append(found)
        problems += vms.of_taps(vm.name, process, taps, facts) if facts.knows("devices") else ()
        yield from (self._finding(code, slice_, vm, what) for code, what in problems)

    @staticmethod
    def _of_port(
        slice_: Slice, wanted: ovs.Port, facts: Facts, device: Device | None, vm_id: int | None = None
    ) -> Iterator[Finding]:
        seen = facts.ports.get(wanted.name)
        problem = _port_problem(wanted, seen, device)
        if problem:
            yield Finding(problem[0], facts.host, f"port {wanted.name} {problem[1]}", slice_.slice_id, vm_id)

    @staticmethod
    def _finding(code: str, slice_: Slice, vm: VM, what: str) -> Finding:
        return Finding(code, vm.worker_ip, what, slice_.slice_id, vm.vm_id)

    # --- network node -------------------------------------------------------------------------------------------------

    def _of_network(self, slice_: Slice, facts: Facts) -> Iterator[Finding]:
        number = slice_.slice_id
        routers = [router_namespace(number)] if slice_.routed_links else []
        servers = self.vlans.servers(slice_)
        if facts.knows("namespaces", "marks"):
            names = [*routers, *(server.namespace for server in servers)]
            yield from (replace(each, slice_id=number) for each in _of_namespaces(names, routers, facts))
        for code, what in shared.unbounded(self.vlans.bounds(slice_), facts):
            yield Finding(code, facts.host, what, number)
        if self._has_ports(facts) and facts.knows("namespaces"):
            for place in self.vlans.places(slice_):
                yield from self._of_place(slice_, place, facts)
        for server in servers:
            yield from self._of_server(slice_, server, facts)
        if slice_.uses_internet:
            yield from self._of_internet(slice_, servers, facts)

    def _of_place(self, slice_: Slice, place: Place, facts: Facts) -> Iterator[Finding]:
        name, number = place.port.name, slice_.slice_id
        inside = facts.namespaces[place.namespace].devices if place.namespace in facts.namespaces else {}
        device = inside.get(name) if place.namespace else facts.devices.get(name)
        yield from self._of_port(slice_, place.port, facts, device)
        if place.namespace and place.namespace not in facts.namespaces:
            return  # `_of_namespaces` has a finding for it
        for what in exposure.of_gateway(device, facts) if device and not place.namespace else ():
            yield Finding("stack-open", facts.host, what, number)
        if device is None or (place.namespace and name in facts.devices):
            where = place.namespace or "the root namespace"
            yield Finding("port-astray", facts.host, f"port {name} is not in {where}", number)
        elif place.address not in device.addresses or not device.up or (place.mac and device.mac != place.mac):
            mac = f" and MAC {place.mac}" if place.mac else ""
            yield Finding(
                "address-missing", facts.host, f"{name} has not its address {place.address}{mac}, or is down", number
            )

    @staticmethod
    def _of_server(slice_: Slice, server: Server, facts: Facts) -> Iterator[Finding]:
        if not facts.knows("marks"):
            return  # the marks hold its pid and its reservations
        number, name = slice_.slice_id, f"dnsmasq of VLAN {server.vlan_id}"
        namespace = facts.namespaces.get(server.namespace)
        if facts.knows("processes") and not facts.process_of(server.pid_file, server.mark):
            yield Finding("dnsmasq-dead", facts.host, f"{name} does not run", number)
        elif namespace and not namespace.serves:
            yield Finding("dnsmasq-deaf", facts.host, f"{name} does not listen on its interface", number)
        if facts.logs.get(server.vlan_id) is False:
            yield Finding("log-foreign", facts.host, f"{log_link(server.vlan_id)} is not ours", number)
        if set(facts.hosts.get(server.hosts, ())) != set(server.reservations):
            yield Finding("reservations-missing", facts.host, f"{name} does not know the slice's addresses", number)

    def _of_internet(self, slice_: Slice, servers: Sequence[Server], facts: Facts) -> Iterator[Finding]:
        number = slice_.slice_id
        if facts.knows("forwarding") and not facts.forwards:
            yield Finding("forwarding-off", facts.host, "net.ipv4.ip_forward is off", number)
        if facts.knows("rules", "routes") and wanted_rules(self.inventory, facts) != leading_rules(facts):
            what = "rules of VLAN 400 are missing, or not in their order"
            yield Finding("rules-missing", facts.host, what, number)
        if facts.knows("filter") and self.wanted_dhcp_filter(slice_, servers) != dhcp_filter_of(slice_, facts):
            what = f"the DHCP filter of VLAN {self.inventory.internet.vlan_id} does not let in exactly this slice's VMs"
            yield Finding("filter-missing", facts.host, what, number)

    def wanted_dhcp_filter(self, slice_: Slice, servers: Iterable[Server]) -> list[str]:
        """Return the rules for the slice before the shared one of its DHCP `servers`, as `dhcp_filter_of` does."""
        shared = (server for server in servers if server.vlan_id == self.inventory.internet.vlan_id)
        listings = (port_security.filter_listing(slice_.slice_id, server.reservations) for server in shared)
        return [line.lower() for listing in listings for line in listing]


def _of_namespaces(names: Iterable[str], routers: Sequence[str], facts: Facts) -> Iterator[Finding]:
    for name in names:
        namespace = facts.namespaces.get(name)
        if namespace is None or name not in facts.marked:
            yield Finding("namespace-missing", facts.host, f"namespace {name} is not there")
        if namespace and name in routers and not namespace.routes:
            yield Finding("forwarding-off", facts.host, f"{name} does not forward")
        for what in exposure.of_namespace(namespace) if namespace else ():
            yield Finding("stack-open", facts.host, what)


def _lost(slice_: Slice, vm: VM) -> Finding:
    if vm.worker_ip == NOWHERE:
        what = f"VM {vm.name} was lost with this host, and no other had room for it"
        return Finding("vm-lost", str(vm.lost_with), what, slice_.slice_id, vm.vm_id)
    what = f"VM {vm.name} was lost with {vm.lost_with}; its new disk will be empty"
    return Finding("vm-lost", vm.worker_ip, what, slice_.slice_id, vm.vm_id)


def _port_problem(wanted: ovs.Port, seen: SeenPort | None, device: Device | None) -> tuple[str, str] | None:
    if seen is None or seen.bridge != wanted.bridge:
        return "port-missing", f"is not on {wanted.bridge}"
    if not seen.is_ours:
        return "port-foreign", "has not our mark"
    if seen.number < 0 and device:
        return "port-closed", "is not opened by ovs-vswitchd"
    return _reach_problem(wanted, seen)


def _reach_problem(wanted: ovs.Port, seen: SeenPort) -> tuple[str, str] | None:
    if seen.tag is None or seen.trunks:
        return "untagged-port", f"carries every VLAN instead of {wanted.tag}"
    if seen.tag != wanted.tag:
        return "wrong-tag", f"is on VLAN {seen.tag} instead of {wanted.tag}"
    if seen.tunnel != wanted.tunnel:
        return "wrong-tag", f"{'drops' if wanted.tunnel else 'passes'} tags of guests, unlike its link"
    if seen.protected != wanted.protected:
        return "port-unprotected", f"is {'not ' if wanted.protected else ''}protected from others of its kind"
    return None
