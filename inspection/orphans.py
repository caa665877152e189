"""What carries our mark and belongs to no slice, and the plan that removes it. Pure.

Proof of ownership is asked for again on the host, by the commands that remove: a mark, a pid file, an alias, a folder.
What only looks like ours is told and never touched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import firewall
from inspection.findings import Finding
from inspection.reading import Sight
from inventory import Inventory
from models import Slice, internet_interfaces
from names import VMFiles, dhcp_namespace, flow_cookie, router_namespace
from namespaces import remove_namespace
from remote import daemon, ovs
from remote.plan import Command, Plan, Stage, Step
from vlan_manager import remove_server
from vm_launcher import remove_tap
from walls import hear_no_more

COOKIE_MARK = 0xC10D
PATIENCE_SECONDS = 20.0
"""Silence endured of a host while orphans are removed: nobody can change the file meanwhile."""

_OUR_FILE = re.compile(r"slice-(\d+)/(.+?)(_img\.qcow2|_img\.qcow2\.part|\.pid|\.console|\.log|\.qemu|\.vnc)")
_UPLOAD = re.compile(r"\.(.+)\.slice-(\d+)\.part")
_PROOF = ("_img.qcow2", "_img.qcow2.part", ".pid", ".console", ".vnc")
"""Endings of which one has to be there: a stranger may well call something `.log`."""


@dataclass(frozen=True)
class Orphan:
    """Something without a slice: what is said of it, and how it is removed; no commands where proof is lacking.

    `lock`: it is a part of what slices share.
    """

    finding: Finding
    remove: tuple[Command, ...] = ()
    lock: bool = False

    @property
    def step(self) -> Step:
        """The removal."""
        return Step(self.finding.host, f"{self.finding.code}: {self.finding.what}", self.remove, lock=self.lock)


class Owners:
    """Which slices there are, and what could belong to each; `busy` are those that somebody works on.

    A slice in design has its overlays and nothing else: `active` are those that may have more.
    """

    def __init__(self, inventory: Inventory, slices: Iterable[Slice], busy: Callable[[int], bool]) -> None:
        self.inventory = inventory
        self.slices = {tenant.slice_id: tenant for tenant in slices}
        in_use = [s for s in self.slices.values() if s.status != "design" or s.left or busy(s.slice_id)]
        self.active = {s.slice_id: s for s in in_use}
        self.vms = {vm.vm_id: tenant for tenant in in_use for vm in tenant.vms}
        self.vlans = {link.vlan_id for tenant in in_use for link in tenant.links}
        self.internet_users = {s.slice_id for s in in_use if any(internet_interfaces(s))}

    def has_vm(self, slice_id: int, vm_id: int) -> bool:
        """Whether this VM of this slice may run: ids come again, so one of another slice is another VM."""
        owner = self.vms.get(vm_id)
        return owner is not None and owner.slice_id == slice_id

    def needs_vlan(self, vlan: int) -> bool:
        """Whether some slice may have something on this VLAN."""
        return vlan in self.vlans or (vlan == self.inventory.internet.vlan_id and bool(self.internet_users))


def orphans(owners: Owners, sight: Sight) -> list[Orphan]:
    """All that is on the host and belongs to no slice, in the order in which it is to be removed."""
    finders = (_processes, _ports, _taps, _flows, _files, _filters, _reservations, _namespaces, _rules)
    return [orphan for find in finders for orphan in find(owners, sight)]


def removal_plan(found: Iterable[Orphan]) -> Plan:
    """The plan that removes what may be removed."""
    steps = (orphan.step for orphan in found if orphan.remove)
    return Plan((Stage("remove orphans", tuple(steps)),), patience=PATIENCE_SECONDS)


def _processes(owners: Owners, sight: Sight) -> Iterator[Orphan]:
    by_pid = {pid: path for path, pid in sight.pid_files.items()}
    for process in sight.processes.values():
        named = re.fullmatch(r"slice(\d+)-vm(\d+)", process.name)
        if not process.is_qemu or not named:
            continue
        slice_id, vm_id = map(int, named.groups())
        pid_file = by_pid.get(process.pid)
        if pid_file is None:
            what = f"process {process.pid} ({process.name}) has no pid file"
            yield Orphan(Finding("stray-process", sight.host, what, slice_id, vm_id))
        elif not owners.has_vm(slice_id, vm_id):
            yield Orphan(
                Finding("orphan-process", sight.host, f"QEMU {process.name}, process {process.pid}", slice_id, vm_id),
                (Command(daemon.stop(pid_file, process.name, "KILL"), as_user=True),),
            )


def _ports(owners: Owners, sight: Sight) -> Iterator[Orphan]:
    for port in sight.ports.values():
        if port.is_ours and not _has_owner(owners, port.name, port.marks.get("slice", "")):
            number = int(port.marks["slice"]) if port.marks.get("slice", "").isdigit() else None
            finding = Finding("orphan-port", sight.host, f"port {port.name}", number)
            yield Orphan(finding, (ovs.remove_ports([ovs.Port(port.name, 0)]),))


def _has_owner(owners: Owners, port: str, slice_mark: str) -> bool:
    if tap := re.fullmatch(r"tap_(\d+)_eth\d+", port):
        return int(tap[1]) in owners.vms
    if vlan := re.fullmatch(r"(?:gw_vlan|dhcp_v)(\d+)", port):
        return owners.needs_vlan(int(vlan[1]))
    return slice_mark.isdigit() and int(slice_mark) in owners.active


def _taps(owners: Owners, sight: Sight) -> Iterator[Orphan]:
    for device in sight.devices.values():
        tap = re.fullmatch(r"tap_(\d+)_eth\d+", device.name)
        if tap and device.is_ours and int(tap[1]) not in owners.vms:
            finding = Finding("orphan-tap", sight.host, f"TAP {device.name}", None, int(tap[1]))
            yield Orphan(finding, (remove_tap(device.name),))


def _flows(owners: Owners, sight: Sight) -> Iterator[Orphan]:
    marked = {flow.cookie & (1 << 48) - 1 for flow in sight.flows if flow.cookie >> 48 == COOKIE_MARK}
    for slice_id in sorted(marked - owners.active.keys()):
        finding = Finding("orphan-flows", sight.host, f"flows of slice {slice_id}", slice_id)
        yield Orphan(finding, (ovs.remove_flows(flow_cookie(slice_id)),))


def _files(owners: Owners, sight: Sight) -> Iterator[Orphan]:
    images = owners.inventory.hypervisor.images_path
    of_slice: dict[int, set[str]] = {}
    for path in sight.files:
        if (ours := _OUR_FILE.fullmatch(path)) and int(ours[1]) not in owners.slices:
            stem = path.removesuffix(ours[3])
            if any(f"{stem}{ending}" in sight.files for ending in _PROOF):
                of_slice.setdefault(int(ours[1]), set()).add(path)
        elif (upload := _UPLOAD.fullmatch(path)) and int(upload[2]) not in owners.slices:
            finding = Finding("orphan-overlay", sight.host, f"a half copied image {path}", int(upload[2]))
            yield Orphan(finding, (Command(("rm", "-f", f"{images}/{path}"), as_user=True),))
    for folder in sight.folders:
        if (ours := re.fullmatch(r"slice-(\d+)", folder)) and int(ours[1]) not in owners.slices:
            of_slice.setdefault(int(ours[1]), set())
    for slice_id, paths in sorted(of_slice.items()):
        folder = VMFiles(images, slice_id, "").folder
        there = {path for path in sight.files if path.startswith(f"slice-{slice_id}/")}
        if there and not paths:
            continue  # a stranger's folder, whatever its name
        pid_files = {f"{images}/{path}" for path in paths if path.endswith(".pid")}
        others = sorted({f"{images}/{path}" for path in paths} - pid_files)
        remove = (
            *([Command(("rm", "-f", *others), as_user=True)] if others else []),
            *(_forget_process(sight, pid_file) for pid_file in sorted(pid_files)),
        )
        gone = ("test", "!", "-e", folder)
        finding = Finding("orphan-overlay", sight.host, f"{len(paths)} files of slice {slice_id}", slice_id)
        tidy = Command(("rmdir", "--ignore-fail-on-non-empty", folder), unless=gone, as_user=True)
        yield Orphan(finding, (*remove, tidy))


def _forget_process(sight: Sight, pid_file: str) -> Command:
    """Removes a pid file, unless its process runs all the same: without it nobody would know whose that is."""
    process = sight.processes.get(sight.pid_files.get(pid_file, 0))
    runs = daemon.is_running(pid_file, process.name) if process else ()
    return Command(("rm", "-f", pid_file), unless=runs, as_user=True)


def _namespaces(owners: Owners, sight: Sight) -> Iterator[Orphan]:
    for name in sorted(sight.marked):
        if (router := re.fullmatch(r"ns-gw-slice(\d+)", name)) and int(router[1]) not in owners.active:
            slice_id = int(router[1])
            finding = Finding("orphan-namespace", sight.host, f"namespace {name}", slice_id)
            yield Orphan(finding, remove_namespace(router_namespace(slice_id)))
        elif (server := re.fullmatch(r"ns-dhcp-vlan(\d+)", name)) and not owners.needs_vlan(int(server[1])):
            vlan = int(server[1])
            finding = Finding("orphan-namespace", sight.host, f"namespace {dhcp_namespace(vlan)} with its dnsmasq")
            yield Orphan(finding, remove_server(vlan))


def _filters(owners: Owners, sight: Sight) -> Iterator[Orphan]:
    """Whom the shared DHCP server still hears; while no slice uses it, all of it goes with its namespace."""
    vlan = owners.inventory.internet.vlan_id
    for line in sight.heard if owners.needs_vlan(vlan) and dhcp_namespace(vlan) in sight.marked else ():
        chain = re.fullmatch(r":slice-(\d+) -", line)
        if chain and int(chain[1]) not in owners.active:
            finding = Finding("orphan-filter", sight.host, f"filter of slice {chain[1]}", int(chain[1]))
            yield Orphan(finding, (hear_no_more(int(chain[1]), vlan),), lock=True)


def _reservations(owners: Owners, sight: Sight) -> Iterator[Orphan]:
    """What the shared DHCP server still knows of a slice; while no slice uses it, all of it goes with its namespace."""
    vlan = owners.inventory.internet.vlan_id
    for path in sorted(sight.hosts) if owners.needs_vlan(vlan) else ():
        own = re.fullmatch(rf"/run/{dhcp_namespace(vlan)}/hosts/slice-(\d+)", path)
        if own and int(own[1]) not in owners.active:
            finding = Finding("orphan-reservations", sight.host, f"addresses of slice {own[1]}", int(own[1]))
            yield Orphan(finding, (Command(("rm", "-f", path)),), lock=True)


def _rules(owners: Owners, sight: Sight) -> Iterator[Orphan]:
    ours = [rule for rule in sight.rules if f"--comment {ovs.OWNER} " in rule]
    if ours and not owners.internet_users:
        yield Orphan(Finding("orphan-rules", sight.host, f"{len(ours)} rules"), (firewall.take_down(),), lock=True)
