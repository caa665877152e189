"""Find orphans, objects that carry our mark and belong to no slice, and plan their removal. Pure.

The commands that remove check the ownership again on the host: a mark, a pid file, an alias, a folder. An object
without proof is reported and never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from core.names import (
    VMFiles,
    dhcp_namespace,
    dhcp_port,
    flow_cookie,
    gateway_port,
    ids_of_process,
    is_staged_part,
    number_in,
    slice_of_part,
    slice_of_router,
    slice_of_upload,
    slice_part,
    tap_group,
    vlan_of_dhcp,
    vm_file,
    vm_of_tap,
)
from core.status import SliceStatus
from inspection import tunnels
from inspection.facts import Facts
from inspection.findings import Comparison, Finding
from inspection.firewall_rules import our_rules
from machines.taps import remove_taps
from models import VM, Slice
from network import namespaces, ovs, shaping, stack, tunnel
from network.dhcp import log_link, remove_log_links, remove_servers
from remote.plan import Command, Plan, Stage, Step
from shell import daemon

MOST = 1000
"""The most orphans of a host that are found at once, because a host may lie."""

_PROOF = ("_img.qcow2", ".id-", ".pid", ".console", ".vnc", ".qmp", ".seed")
"""A file whose ending begins with one of these is proof that a VM's files are ours.

A `.log` proves nothing: it may be a foreign file.
"""


_OF_PROCESS = (".pid", ".console", ".log", ".log-old", ".log-end", ".qemu", ".vnc", ".qmp", ".seed", ".seed.part")
"""Endings of files that exist only for VMs with a process. A slice in design has disks and none of these."""


@dataclass(frozen=True)
class Orphan:
    """An object without a slice, with its finding and the step that removes it. `removal` None: proof is missing."""

    finding: Finding
    removal: Step | None

    @classmethod
    def of(cls, finding: Finding, *commands: Command) -> Orphan:
        """Return an orphan that these commands remove."""
        return cls(finding, Step(finding.host, "", commands))

    @property
    def steps(self) -> list[Step]:
        """Return the removal, titled with the object, or an empty list."""
        title = f"{self.finding.code}: {self.finding.what}"
        return [replace(self.removal, title=title)] if self.removal else []


def _all_vms(slice_: Slice) -> list[VM]:
    """Return the VMs of a slice, with those that an unfinished change removes."""
    return [*slice_.vms, *slice_.leaving]


class Owners:
    """All slices and the objects that each may own. `busy` tells whether a change has claimed the slice.

    `staging` tells whether a session brings base images to workers.

    A slice in design owns its overlays only; `active` slices may own more. A slice owns objects on a
    worker only for its VMs there. A VM that was moved from a written-off worker leaves orphans on it.
    """

    def __init__(
        self, comparison: Comparison, slices: Iterable[Slice], busy: Callable[[int], bool], *, staging: bool = False
    ) -> None:
        self.comparison = comparison
        self.staging = staging
        self.slices = {slice_.slice_id: slice_ for slice_ in slices}
        self._busy = {slice_id for slice_id in self.slices if busy(slice_id)}
        in_use = [
            s for s in self.slices.values() if s.status != SliceStatus.DESIGN or s.left or s.slice_id in self._busy
        ]
        self.active = {s.slice_id: s for s in in_use}
        self._designs = [design for s in in_use for design in s.designs]
        self.vlans = {server.vlan_id for s in self._designs for server in comparison.vlans.servers(s)}
        self.shared_vlan = comparison.inventory.internet.vlan_id

    def has_vm(self, host: str, slice_id: int, vm_id: int) -> bool:
        """Return whether this VM of this slice may run on the host. Ids can repeat, so both are compared."""
        vms = _all_vms(self.active[slice_id]) if slice_id in self.active else []
        vm = next((vm for vm in vms if vm.vm_id == vm_id), None)
        return vm is not None and (vm.worker_ip == host or slice_id in self._busy)

    def on_worker(self, host: str) -> set[int]:
        """Return the slices that may have disks on the worker."""
        here = {s.slice_id for s in self.slices.values() if any(vm.worker_ip == host for vm in _all_vms(s))}
        return here | self._busy

    def active_on_worker(self, host: str) -> set[int]:
        """Return the slices that may have more there than disks."""
        return self.on_worker(host) & self.active.keys()

    def shared_and_unused(self, port: str, host: str) -> bool:
        """Return whether the port is shared on the internet VLAN and no slice uses that VLAN."""
        vlan = self.shared_vlan
        shared = host == self.comparison.inventory.network_node and port in {gateway_port(vlan), dhcp_port(vlan)}
        return shared and vlan not in self.vlans

    def ports(self, host: str) -> dict[str, ovs.Port]:
        """Return the ports that slices may have on the host, by name."""
        return {port.name: port for s in self._designs for port in self.comparison.ports(s, host)}

    def taps(self, host: str) -> set[str]:
        """Return the TAPs that slices may have on the host, by name."""
        return {name for s in self._designs for name in self.comparison.launcher.taps(s, host).names}


def orphans(owners: Owners, facts: Facts) -> list[Orphan]:
    """Return the orphans of the host in the order of their removal, at most `MOST`."""
    # The removal of the last slice on the internet VLAN removes the shared objects too, so `_internet` comes early.
    finders = (
        *(_processes, _internet, _queues, _ports, _tunnels, _taps, _tables, _flows),
        *(_files, _namespaces, _logs, _rules),
    )
    return list(islice((orphan for find in finders for orphan in find(owners, facts)), MOST))


def removal_plan(steps: Iterable[Step], seconds: float) -> Plan:
    """Return the plan that carries out removals, with a deadline in seconds for each host."""
    return Plan((Stage("remove orphans", tuple(steps)),), timeout=seconds, deadline=seconds)


def _processes(owners: Owners, facts: Facts) -> Iterator[Orphan]:
    if not facts.knows("files"):
        return  # the pid files are among them
    by_pid = {pid: path for path, pid in facts.pid_files.items()}
    for process in facts.processes.values():
        ids = ids_of_process(process.name)
        if not process.is_qemu or not ids:
            continue
        pid_file = by_pid.get(process.pid)
        if pid_file is None:
            what = f"process {process.pid} ({process.name}) has no pid file"
            yield Orphan(Finding("stray-process", facts.host, what, *ids), None)
        elif not owners.has_vm(facts.host, *ids):
            finding = Finding("orphan-process", facts.host, f"QEMU {process.name}, process {process.pid}", *ids)
            yield Orphan.of(finding, Command(daemon.stop("KILL", (pid_file, process.name)), as_user=True))


def _queues(owners: Owners, facts: Facts) -> Iterator[Orphan]:
    for tap in sorted(facts.queues.keys() - owners.taps(facts.host)):
        finding = Finding("orphan-queue", facts.host, f"the queue of {tap}", None, vm_of_tap(tap))
        yield Orphan.of(finding, shaping.unshape([tap]))


def _ports(owners: Owners, facts: Facts) -> Iterator[Orphan]:
    owned = owners.ports(facts.host)
    loose = owners.taps(facts.host) - owned.keys()  # `tap-joined` is found for these
    for port in facts.ports.values():
        planned = owned.get(port.name)
        own = planned is not None and dict(planned.marks).get("slice") == port.marks.get("slice")
        if port.is_ours and not own and port.name not in loose and not port.tunnel_key:
            finding = Finding("orphan-port", facts.host, f"port {port.name}", number_in(port.marks.get("slice", "")))
            if owners.shared_and_unused(port.name, facts.host):
                yield Orphan(finding, owners.comparison.vlans.close_internet())
            else:
                yield Orphan.of(finding, ovs.remove_ports([port.name], internal=port.kind == "internal"))


def _tunnels(owners: Owners, facts: Facts) -> Iterator[Orphan]:
    """Yield the tunnels that the settings do not know, and the ports of the known one to hosts that left the cloud."""
    inventory = owners.comparison.inventory
    realm = inventory.tunnel
    marked = [port.tunnel_key for port in facts.ports.values() if port.is_ours]
    bridges = {name: bridge.tunnel for name, bridge in facts.bridge_settings.items()}
    known = inventory.tunnel_bridges
    for key in sorted({*marked, *bridges.values()} - {"", *known}):
        yield Orphan.of(Finding("orphan-tunnel", facts.host, f"tunnel {key}, with its bridge"), tunnel.remove(key))
    for name, key in bridges.items():
        if known.get(key, name) != name and known[key] not in bridges:
            what = f"tunnel {key}, with the bridge {name}: a realm had another name"
            yield Orphan.of(Finding("orphan-tunnel", facts.host, what), tunnel.remove(key))
    ends = realm.ends(facts.host) if realm else {}
    for port in facts.ports.values():
        if realm and port.bridge == realm.bridge and port.kind == "geneve" and port.name not in ends and port.is_ours:
            what = f"port {port.name} of the tunnel, to {port.options.get('remote_ip', 'nowhere')}"
            rest = tunnels.made(realm, facts)
            removal = tunnel.remove_port(rest, facts.host, port.name)
            yield Orphan.of(Finding("orphan-tunnel", facts.host, what), *removal)


def _taps(owners: Owners, facts: Facts) -> Iterator[Orphan]:
    owned = owners.taps(facts.host)
    for device in facts.devices.values():
        vm_id = vm_of_tap(device.name)
        if device.is_ours and vm_id is not None and device.name not in owned:
            finding = Finding("orphan-tap", facts.host, f"TAP {device.name}", None, vm_id)
            yield Orphan.of(finding, remove_taps([device.name], tap_group(vm_id)))


def _tables(owners: Owners, facts: Facts) -> Iterator[Orphan]:
    for slice_id in sorted(facts.drops.keys() - owners.active_on_worker(facts.host)):
        finding = Finding("orphan-table", facts.host, f"the table {stack.table_of(slice_id)} of nftables", slice_id)
        yield Orphan.of(finding, stack.undo_drop(slice_id))


def _flows(owners: Owners, facts: Facts) -> Iterator[Orphan]:
    for slice_id in sorted(facts.flows_by_slice.keys() - owners.active_on_worker(facts.host)):
        finding = Finding("orphan-flows", facts.host, f"flows of slice {slice_id}", slice_id)
        yield Orphan.of(finding, ovs.undo_flows(owners.comparison.inventory.bridge, flow_cookie(slice_id)))


def _files(owners: Owners, facts: Facts) -> Iterator[Orphan]:
    if not facts.knows("processes"):
        return  # a pid file proves the owner of a process, and it is unknown whether that runs
    images, known = owners.comparison.inventory.hypervisor.images_path, owners.on_worker(facts.host)
    of_slice: dict[int, set[str]] = {}
    named = {path: ours for path in facts.files if (ours := vm_file(path))}
    proven = {stem for _, stem, ending in named.values() if ending.startswith(_PROOF)}
    for path in facts.files:
        if (ours := named.get(path)) and ours[0] not in known:
            if ours[1] in proven:
                of_slice.setdefault(ours[0], set()).add(path)
        elif _is_left_upload(path, owners, known):
            slice_id = slice_of_upload(path)
            finding = Finding("orphan-overlay", facts.host, f"a half copied image {path}", slice_id)
            yield Orphan.of(finding, Command(("rm", "-f", f"{images}/{path}"), as_user=True))
    for folder in facts.folders:
        if (slice_id := slice_of_part(folder)) is not None and slice_id not in known:
            of_slice.setdefault(slice_id, set())
    used = {path.partition("/")[0] for path in facts.files if "/" in path}
    yield from _process_files(owners, facts, {path: ours for path, ours in named.items() if ours[1] in proven})
    for slice_id, paths in sorted(of_slice.items()):
        folder = VMFiles(images, slice_id, "").folder
        if slice_part(slice_id) in used and not paths:
            continue  # a foreign folder: it holds files, and none of them proves that we made it
        pid_files = {f"{images}/{path}" for path in paths if path.endswith(".pid")}
        others = sorted({f"{images}/{path}" for path in paths} - pid_files)
        remove = (
            *([Command(("rm", "-f", *others), as_user=True)] if others else []),
            *(_forget_process(facts, pid_file, slice_id) for pid_file in sorted(pid_files)),
        )
        gone = ("test", "!", "-e", folder)
        finding = Finding("orphan-overlay", facts.host, f"{len(paths)} files of slice {slice_id}", slice_id)
        tidy = Command(("rmdir", "--ignore-fail-on-non-empty", folder), unless=gone, as_user=True)
        yield Orphan.of(finding, *remove, tidy)


def _is_left_upload(path: str, owners: Owners, known: Collection[int]) -> bool:
    """Return whether a file is an unfinished copy of a base image that no session goes on with."""
    if is_staged_part(path):
        return not owners.staging
    slice_id = slice_of_upload(path)
    return slice_id is not None and slice_id not in known


def _process_files(owners: Owners, facts: Facts, named: Mapping[str, tuple[int, str, str]]) -> Iterator[Orphan]:
    """Yield files of processes in the folder of a slice in design. They would stop its deployment."""
    images = owners.comparison.inventory.hypervisor.images_path
    in_design = owners.on_worker(facts.host) - owners.active.keys()
    of_slice: dict[int, list[str]] = {}
    for path, (slice_id, _, ending) in sorted(named.items()):
        if slice_id in in_design and ending in _OF_PROCESS:
            of_slice.setdefault(slice_id, []).append(f"{images}/{path}")
    for slice_id, paths in of_slice.items():
        pid_files = [path for path in paths if path.endswith(".pid")]
        others = [path for path in paths if path not in pid_files]
        finding = Finding("orphan-files", facts.host, f"{len(paths)} files of processes of slice {slice_id}", slice_id)
        remove = [Command(("rm", "-f", *others), as_user=True)] if others else []
        yield Orphan.of(finding, *remove, *(_forget_process(facts, pid_file, slice_id) for pid_file in pid_files))


def _forget_process(facts: Facts, pid_file: str, slice_id: int) -> Command:
    """Return the command that removes a pid file. It keeps the file of a VM that runs, as the proof of its owner."""
    process = facts.processes.get(facts.pid_files.get(pid_file, 0))
    ids = ids_of_process(process.name) if process else None
    runs = daemon.is_running(pid_file, process.name) if process and ids and ids[0] == slice_id else ()
    return Command(("rm", "-f", pid_file), unless=runs, as_user=True)


def _internet(owners: Owners, facts: Facts) -> Iterator[Orphan]:
    """Yield slices that left parts on the internet VLAN. The removal of the last one removes the shared objects."""
    vlan = owners.shared_vlan
    if dhcp_namespace(vlan) not in facts.marked:
        return
    hosts = f"{namespaces.folder(dhcp_namespace(vlan))}/hosts/"
    known = [path.removeprefix(hosts) for path in facts.hosts if path.startswith(hosts)]
    chains = [line[1:].partition(" ")[0] for line in facts.dhcp_filter if line.startswith(":")]
    there = {slice_id for name in (*known, *chains) if (slice_id := slice_of_part(name)) is not None}
    for slice_id in sorted(there - owners.active.keys()):
        finding = Finding("orphan-internet", facts.host, f"slice {slice_id} on VLAN {vlan}", slice_id)
        yield Orphan(finding, owners.comparison.vlans.forget_internet(slice_id))


def _namespaces(owners: Owners, facts: Facts) -> Iterator[Orphan]:
    for name in sorted(facts.marked):
        slice_id, vlan = slice_of_router(name), vlan_of_dhcp(name)
        if slice_id is not None and slice_id not in owners.active:
            finding = Finding("orphan-namespace", facts.host, f"namespace {name}", slice_id)
            yield Orphan.of(finding, namespaces.remove_namespaces(name))
        elif vlan is not None and vlan not in owners.vlans:
            finding = Finding("orphan-namespace", facts.host, f"namespace {name} with its dnsmasq")
            if vlan == owners.shared_vlan:
                yield Orphan(finding, owners.comparison.vlans.close_internet())
            else:
                yield Orphan.of(finding, *remove_servers(vlan))


def _logs(owners: Owners, facts: Facts) -> Iterator[Orphan]:
    """Yield the links to logs of VLANs that no slice uses, unless the removal of a namespace removes them."""
    for vlan in sorted(vlan for vlan, ours in facts.logs.items() if ours and vlan not in owners.vlans):
        name = dhcp_namespace(vlan)
        if name not in facts.marked:
            finding = Finding("orphan-log", facts.host, log_link(vlan))
            yield Orphan.of(finding, remove_log_links(vlan, unless=("test", "-d", namespaces.folder(name))))


def _rules(owners: Owners, facts: Facts) -> Iterator[Orphan]:
    if (ours := our_rules(facts)) and owners.shared_vlan not in owners.vlans:
        finding = Finding("orphan-rules", facts.host, f"{len(ours)} rules")
        yield Orphan(finding, owners.comparison.vlans.close_internet())
