"""What is wrong on the hosts, each thing with a code: the database's word against what was seen. Pure.

What a slice has to have comes from those who plan it (`vm_launcher.py`, `vlan_manager.py`, `network/firewall.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from core.errors import CloudError, HostUnreachable, HostUnusable, InvalidAnswer, NotBegun, SudoRefused, printable
from core.inventory import Inventory
from core.names import flow_cookie, process_name, router_namespace, vm_file
from core.status import VMStatus
from deployment import MAX_SKEW_SECONDS
from inspection import exposure, foundation, shared
from inspection.codes import CODES, REPAIR, Severity
from inspection.facts import Device, Flow, Port, Sight
from inspection.parse import flow
from inspection.rules import heard_of, standing_rules, wanted_rules
from models import NOWHERE, VM, Slice
from network import ovs, port_security
from network.dhcp import Server, log_link
from network.namespaces import Place
from vlan_manager import VLANManager
from vm_launcher import VMLauncher

SHOWN = 4
"""So many sentences about one slice are shown in the menu."""

LEAST_DISK_MIB, LEAST_MEMORY_MIB = 512, 256

OLDEST = {"dnsmasq": (2, 73), "ovs-vsctl": (2, 8), "qemu-system-x86_64": (6, 1)}
"""Since when: `--dhcp-hostsdir`; `ovs-ofctl --names`; `-vnc password-secret=`."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be."""

    code: str
    host: str
    what: str
    slice_id: int | None = None
    vm_id: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "what", printable(self.what))  # names in it may be those that a host gave

    @property
    def severity(self) -> Severity:
        """How bad: `error` keeps something from working, a `warning` does not."""
        return CODES[self.code][0]

    @property
    def sentence(self) -> str:
        """What is wrong, and where."""
        return f"{self.host}: {self.what}"

    @property
    def advice(self) -> str:
        """What to do."""
        return CODES[self.code][2]

    @property
    def is_repairable(self) -> bool:
        """Whether Repair Slice brings it back."""
        return self.advice.startswith(REPAIR)

    def record(self) -> dict[str, str | int | None]:
        """The finding for `--json`."""
        return {
            "code": self.code, "severity": self.severity, "host": self.host, "slice": self.slice_id, "vm": self.vm_id,
            "sentence": self.sentence, "advice": self.advice,
        }  # fmt: skip


def of_error(host: str, error: CloudError) -> Finding:
    """Why a host could not be looked at."""
    if isinstance(error, HostUnusable | NotBegun) and not isinstance(error, SudoRefused):
        return Finding("host-unusable", host, str(error).removeprefix(host).lstrip(": "))
    if isinstance(error, InvalidAnswer):
        return Finding("invalid-answer", host, error.problem)
    if isinstance(error, HostUnreachable):
        return Finding("host-unreachable", host, f"{error.PREDICATE}: {error.reason}")
    code = "sudo-refused" if isinstance(error, SudoRefused) else "look-failed"
    return Finding(code, host, str(error).removeprefix(f"{host}: "))


def shared_folders(sights: Iterable[Sight]) -> Iterator[Finding]:
    """Yield the workers whose folder of images is also another's: the mark of one disk is in both."""
    owners: dict[str, str] = {}
    told: set[tuple[str, str]] = set()
    for sight in sights:
        for path in sight.files:
            if ".id-" not in path or not vm_file(path):
                continue
            other = owners.setdefault(path, sight.host)
            if other != sight.host and (other, sight.host) not in told:
                told.add((other, sight.host))
                yield Finding("images-shared", sight.host, f"its folder of images is the one that {other} has, too")


def of_host(inventory: Inventory, sight: Sight, began: float, ended: float) -> Iterator[Finding]:
    """What is wrong with a host itself; `began` and `ended` are when it was looked at, in seconds since the epoch."""
    host = sight.host
    yield from _of_look(sight)
    yield from (Finding(code, host, what) for code, what in foundation.of_host(inventory, sight))
    for tool, said in sight.tools.items():
        if said is None:
            yield Finding("tool-missing", host, f"{tool} is not installed")
        elif (oldest := OLDEST.get(tool)) and not _is_new_enough(said, oldest):
            yield Finding("tool-too-old", host, f"{said}; {'.'.join(map(str, oldest))} is needed")
    if sight.clock is not None and not began - MAX_SKEW_SECONDS <= sight.clock <= ended + MAX_SKEW_SECONDS:
        yield Finding("clock-skew", host, f"its clock is {sight.clock - ended:+.0f} s from the manager's")
    if sight.disk_mib is not None and sight.disk_mib < LEAST_DISK_MIB and host in inventory.workers_list:
        yield Finding("no-room", host, f"{sight.disk_mib} MiB are left for disks")
    if sight.memory_mib is not None and sight.memory_mib < LEAST_MEMORY_MIB:
        yield Finding("no-room", host, f"{sight.memory_mib} MiB of memory are free")
    yield from (Finding(code, host, what) for code, what in shared.too_many(inventory, sight))


def _of_look(sight: Sight) -> Iterator[Finding]:
    """What of the host cannot be seen. Without a bridge there are no flows; the other one to be asked is the switch."""
    has_bridge = ovs.BRIDGE in sight.bridges or not sight.knows("ports")
    if not has_bridge:
        yield Finding("bridge-missing", sight.host, "there is no bridge br-int")
    for part in sight.unread:
        if part in sight.invalid:
            yield Finding("invalid-answer", sight.host, f"gives an invalid answer about its {part}")
        elif part != "flows":
            yield Finding("unread", sight.host, f"its {part} could not be read")
        elif has_bridge:
            yield Finding("switch-down", sight.host, "ovs-vswitchd does not answer")


def _is_new_enough(said: str, oldest: tuple[int, ...]) -> bool:
    found = re.search(r"([0-9]{1,6})\.([0-9]{1,6})", said)
    return found is None or tuple(map(int, found.groups())) >= oldest


class Comparison:
    """The slices' parts on the hosts, against what was seen there."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self.launcher = VMLauncher(inventory)
        self.vlans = VLANManager(inventory)

    def ports(self, slice_: Slice, host: str) -> list[ovs.Port]:
        """The ports of the slice on the host, as a worker, as the network node, or as both."""
        ports = self.launcher.ports(slice_, host)
        return [*ports, *self.vlans.ports(slice_)] if host == self.inventory.network_node else ports

    def of_slice(self, slice_: Slice, sights: Mapping[str, Sight]) -> list[Finding]:
        """What is missing of a slice that shall run, on the hosts that were seen; what was not read misses nothing."""
        found = [_lost(slice_, vm) for vm in slice_.vms if vm.lost_with]
        for host in self.hosts_of([slice_]):
            if sight := sights.get(host):
                found += (replace(finding, slice_id=slice_.slice_id) for finding in _of_look(sight))
                lacking = foundation.of_slice(self.inventory, slice_, sight)
                found += (Finding(code, host, what, slice_.slice_id) for code, what in lacking)
                found += self._of_worker(slice_, sight)
                if host == self.inventory.network_node:
                    found += self._of_network(slice_, sight)
        return found

    def hosts_of(self, slices: Iterable[Slice]) -> list[str]:
        """Where the slices have anything, each host once."""
        hosts: dict[str, None] = {}
        for slice_ in slices:
            hosts |= dict.fromkeys(vm.worker_ip for vm in slice_.vms if vm.worker_ip != NOWHERE)
            if slice_.links or slice_.uses_internet:
                hosts[self.inventory.network_node] = None
        return list(hosts)

    # --- workers ------------------------------------------------------------------------------------------------------

    def _of_worker(self, slice_: Slice, sight: Sight) -> Iterator[Finding]:
        lost = {vm.vm_id for vm in slice_.vms if vm.lost_with}
        ports = ((port, int(dict(port.marks)["vm"])) for port in self.launcher.ports(slice_, sight.host))
        planned = [(port, vm_id) for port, vm_id in ports if vm_id not in lost]
        for vm in slice_.vms:
            if vm.worker_ip == sight.host and not vm.lost_with:
                taps = [port.name for port, vm_id in planned if vm_id == vm.vm_id]
                yield from self._of_vm(slice_, vm, taps, sight)
        for port, vm_id in planned if _has_ports(sight) else ():
            yield from self._of_port(slice_, port, sight, sight.devices.get(port.name), vm_id)
        taps = [port.name for port, _ in planned]
        if taps and sight.was_asked("drops") and not exposure.is_dropped(sight, slice_.slice_id, taps):
            what = "frames of TAPs are not dropped before the host's IP stack: its table of nftables is not whole"
            yield Finding("stack-open", sight.host, what, slice_.slice_id)
        wanted, there = frozenset(self.wanted_flows(slice_, sight.host)), sight.walls.get(slice_.slice_id, frozenset())
        if wanted != there and sight.knows("flows") and not lost:
            missing, foreign = len(wanted - there), len(there - wanted)
            what = f"{missing} flows of the walls around VMs are missing, {foreign} are not ours"
            yield Finding("flows-missing", sight.host, what, slice_.slice_id)

    def wanted_flows(self, slice_: Slice, worker: str) -> list[Flow]:
        """The walls of the slice on `worker`, to be compared with what the switch shows."""
        cookie = flow_cookie(slice_.slice_id)
        return [flow(f"cookie={cookie},{line}") for line in self.launcher.flows(slice_, worker)]

    def overlays(self, slice_: Slice, sight: Sight) -> Iterator[Finding]:
        """Which disks are not there that have to be, whether the VMs run or not."""
        for vm in slice_.vms:
            if vm.worker_ip == sight.host:
                yield from self._of_overlay(slice_, vm, sight)

    def _of_overlay(self, slice_: Slice, vm: VM, sight: Sight) -> Iterator[Finding]:
        if vm.status == VMStatus.PENDING or vm.lost_with or not sight.knows("files"):
            return
        images, files = f"{self.inventory.hypervisor.images_path}/", self.launcher.files(slice_, vm)
        if files.overlay.removeprefix(images) not in sight.files:
            yield self._finding("overlay-missing", slice_, vm, f"the disk of {vm.name} is not there")
        elif vm.disk_id and (mark := files.mark(vm.disk_id)).removeprefix(images) not in sight.files:
            yield self._finding(
                "disk-foreign", slice_, vm, f"the disk of {vm.name} is not its own: {mark} is not there"
            )
        if vm.image and (what := _image_problem(PurePosixPath(vm.image).name, sight)):
            yield self._finding("image-changed", slice_, vm, what)

    def _of_vm(self, slice_: Slice, vm: VM, taps: Sequence[str], sight: Sight) -> Iterator[Finding]:
        process = sight.has_process(self.launcher.files(slice_, vm).pid, process_name(slice_.slice_id, vm.vm_id))
        yield from self._of_overlay(slice_, vm, sight)
        if process is None and sight.knows("processes", "files"):
            yield self._finding("qemu-dead", slice_, vm, f"VM {vm.name} does not run")
        elif process and not self.launcher.runs_as_designed(slice_, vm, process.argv):
            yield self._finding("qemu-wrong", slice_, vm, f"VM {vm.name} runs with another command line")
        for name in taps if sight.knows("devices") else ():
            yield from self._of_tap(slice_, vm, sight, name, alive=process is not None)

    def _of_tap(self, slice_: Slice, vm: VM, sight: Sight, name: str, *, alive: bool) -> Iterator[Finding]:
        tap = sight.devices.get(name)
        if tap is None:
            yield self._finding("tap-missing", slice_, vm, f"{name} of VM {vm.name} is not there")
        elif not tap.up or not tap.is_ours:
            yield self._finding("tap-down", slice_, vm, f"{name} of VM {vm.name} is down, or without our mark")
        elif alive and not tap.carrier:
            yield self._finding("tap-dead", slice_, vm, f"VM {vm.name} runs and does not hold {name}")
        for what in exposure.of_tap(tap, sight) if tap else ():
            yield self._finding("stack-open", slice_, vm, what)

    @staticmethod
    def _of_port(
        slice_: Slice, wanted: ovs.Port, sight: Sight, device: Device | None, vm_id: int | None = None
    ) -> Iterator[Finding]:
        seen = sight.ports.get(wanted.name)
        problem = _port_problem(wanted, seen, device)
        if problem:
            yield Finding(problem[0], sight.host, f"port {wanted.name} {problem[1]}", slice_.slice_id, vm_id)

    @staticmethod
    def _finding(code: str, slice_: Slice, vm: VM, what: str) -> Finding:
        return Finding(code, vm.worker_ip, what, slice_.slice_id, vm.vm_id)

    # --- network node -------------------------------------------------------------------------------------------------

    def _of_network(self, slice_: Slice, sight: Sight) -> Iterator[Finding]:
        number = slice_.slice_id
        routers = [router_namespace(number)] if slice_.links else []
        servers = self.vlans.servers(slice_)
        if sight.knows("namespaces", "marks"):
            names = [*routers, *(server.namespace for server in servers)]
            yield from (replace(each, slice_id=number) for each in _of_namespaces(names, routers, sight))
        for code, what in shared.unbounded(self.vlans.bounds(slice_), sight):
            yield Finding(code, sight.host, what, number)
        if _has_ports(sight) and sight.knows("namespaces"):
            for place in self.vlans.places(slice_):
                yield from self._of_place(slice_, place, sight)
        for server in servers:
            yield from self._of_server(slice_, server, sight)
        if slice_.uses_internet:
            yield from self._of_internet(slice_, servers, sight)

    def _of_place(self, slice_: Slice, place: Place, sight: Sight) -> Iterator[Finding]:
        name, number = place.port.name, slice_.slice_id
        inside = sight.namespaces[place.namespace].devices if place.namespace in sight.namespaces else {}
        device = inside.get(name) if place.namespace else sight.devices.get(name)
        yield from self._of_port(slice_, place.port, sight, device)
        if place.namespace and place.namespace not in sight.namespaces:
            return  # said already
        for what in exposure.of_gateway(device, sight) if device and not place.namespace else ():
            yield Finding("stack-open", sight.host, what, number)
        if device is None or (place.namespace and name in sight.devices):
            where = place.namespace or "the root namespace"
            yield Finding("port-astray", sight.host, f"port {name} is not in {where}", number)
        elif place.address not in device.addresses or not device.up or (place.mac and device.mac != place.mac):
            mac = f" and MAC {place.mac}" if place.mac else ""
            yield Finding("address-missing", sight.host, f"{name} has not its address {place.address}{mac}, up", number)

    @staticmethod
    def _of_server(slice_: Slice, server: Server, sight: Sight) -> Iterator[Finding]:
        if not sight.knows("marks"):
            return  # neither its pid nor what it shall know
        number, name = slice_.slice_id, f"dnsmasq of VLAN {server.vlan_id}"
        namespace = sight.namespaces.get(server.namespace)
        if sight.knows("processes") and not sight.has_process(server.pid_file, server.mark):
            yield Finding("dnsmasq-dead", sight.host, f"{name} does not run", number)
        elif namespace and not namespace.serves:
            yield Finding("dnsmasq-deaf", sight.host, f"{name} does not listen on its interface", number)
        if sight.logs.get(server.vlan_id) is False:
            yield Finding("log-foreign", sight.host, f"{log_link(server.vlan_id)} is not ours", number)
        if set(sight.hosts.get(server.hosts, ())) != set(server.reservations):
            yield Finding("reservations-missing", sight.host, f"{name} does not know the slice's addresses", number)

    def _of_internet(self, slice_: Slice, servers: Sequence[Server], sight: Sight) -> Iterator[Finding]:
        number = slice_.slice_id
        if sight.knows("forwarding") and not sight.forwards:
            yield Finding("forwarding-off", sight.host, "net.ipv4.ip_forward is off", number)
        if sight.knows("rules", "routes") and wanted_rules(self.inventory, sight) != standing_rules(sight):
            what = "the rules around VLAN 400 are not whole, or not in their order"
            yield Finding("rules-missing", sight.host, what, number)
        if sight.knows("filter") and self.wanted_heard(slice_, servers) != heard_of(slice_, sight):
            what = f"the DHCP server of VLAN {self.inventory.internet.vlan_id} does not hear this slice's VMs only"
            yield Finding("filter-missing", sight.host, what, number)

    def wanted_heard(self, slice_: Slice, servers: Iterable[Server]) -> list[str]:
        """What the shared one of the slice's DHCP `servers` hears when all is well, to be compared with `heard_of`."""
        shared = (server for server in servers if server.vlan_id == self.inventory.internet.vlan_id)
        return [line.lower() for server in shared for line in port_security.heard(slice_.slice_id, server.reservations)]


def _of_namespaces(names: Iterable[str], routers: Sequence[str], sight: Sight) -> Iterator[Finding]:
    for name in names:
        namespace = sight.namespaces.get(name)
        if namespace is None or name not in sight.marked:
            yield Finding("namespace-missing", sight.host, f"namespace {name} is not there")
        if namespace and name in routers and not namespace.routes:
            yield Finding("forwarding-off", sight.host, f"{name} does not forward")
        for what in exposure.of_namespace(namespace) if namespace else ():
            yield Finding("stack-open", sight.host, what)


def _lost(slice_: Slice, vm: VM) -> Finding:
    if vm.worker_ip == NOWHERE:
        what = f"VM {vm.name} was lost with this host, and no other had room for it"
        return Finding("vm-lost", str(vm.lost_with), what, slice_.slice_id, vm.vm_id)
    what = f"VM {vm.name} was lost with {vm.lost_with}; its new disk will be empty"
    return Finding("vm-lost", vm.worker_ip, what, slice_.slice_id, vm.vm_id)


def summary(found: Sequence[Finding]) -> list[str]:
    """A slice's findings in a few sentences for its owner: the worst first, and at the end what to do."""
    ordered = sorted(found, key=lambda finding: finding.severity != "error")
    sentences = list(dict.fromkeys(finding.sentence for finding in ordered))
    shown = sentences[:SHOWN]
    if len(sentences) > SHOWN:
        shown.append(f"and {len(sentences) - SHOWN} more parts")
    if any(finding.is_repairable for finding in found):
        return [*shown, "11 repairs it"]
    return [*shown, *dict.fromkeys(finding.advice for finding in ordered)]


def _image_problem(name: str, sight: Sight) -> str:
    if name not in sight.images:
        return f"the base image {name} is not there"
    if sight.files.get(name) == 0:
        return f"the base image {name} is empty, as a power cut can leave it"
    sealed = sight.seals.get(name, sight.images[name])  # none was made by older versions
    return "" if sealed == sight.images[name] else f"{name} is not the image that disks of VMs were built on"


def _port_problem(wanted: ovs.Port, seen: Port | None, device: Device | None) -> tuple[str, str] | None:
    if seen is None or seen.bridge != ovs.BRIDGE:
        return "port-missing", "is not on br-int"
    if not seen.is_ours:
        return "port-foreign", "has not our mark"
    if seen.number < 0 and device:
        return "port-closed", "is not opened by ovs-vswitchd"
    return _reach_problem(wanted, seen)


def _has_ports(sight: Sight) -> bool:
    """Whether what is said of ports makes sense: the host was read, and has the bridge."""
    return sight.knows("ports", "devices") and ovs.BRIDGE in sight.bridges


def _reach_problem(wanted: ovs.Port, seen: Port) -> tuple[str, str] | None:
    if seen.tag is None or seen.trunks:
        return "untagged-port", f"carries every VLAN instead of {wanted.tag}"
    if seen.tag != wanted.tag:
        return "wrong-tag", f"is on VLAN {seen.tag} instead of {wanted.tag}"
    if seen.protected != wanted.protected:
        return "port-unprotected", f"is {'not ' if wanted.protected else ''}protected from others of its kind"
    return None
