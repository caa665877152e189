"""The agreement of hosts and database: the owner of each object on the fake hosts, and its right to exist.

It is derived from the names alone (docs/architecture.md), not from the plans that made the objects.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from core import names
from core.inventory import INTERNET_VLAN
from core.status import SliceStatus, VMStatus
from database import State
from models import Slice
from tests.support.fake_hosts import FakeHost, FakeHosts

SHARED = 0
"""A placeholder for the slice's id on objects that all slices with internet access share."""

_PATTERNS = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"vm_images/slice-(\d+)(?:/.*)?", "slice"),
        (r"(?:/run/)?ns-gw-slice(\d+)(?:/.*)?", "slice"),
        (rf"/run/ns-dhcp-vlan{INTERNET_VLAN}/hosts/slice-(\d+)", "slice"),
        (r"(?:/run/)?ns-dhcp-vlan(\d+)(?:/.*)?", "vlan"),
        (r"/tmp/dnsmasq_vlan(\d+)\.log", "vlan"),
        (r"gw_vlan(\d+)|dhcp_v(\d+)", "vlan"),
        (r"tap_(\d+)_eth\d+", "vm"),
        (r"cookie=0xc10d([0-9a-f]{12})", "cookie"),
    )
)


def nothing_has_two_owners(state: State) -> None:
    """Check ids, VLANs, ports, MACs, addresses, files and names."""
    slices = list(state.slices.values())
    machines = [(slice_, vm) for slice_ in slices for vm in slice_.vms]
    nics = [(vm, interface) for _, vm in machines for interface in vm.interfaces]
    links = [(slice_, link) for slice_ in slices for link in slice_.links]
    kinds: dict[str, list[Any]] = {
        "id": [slice_.slice_id for slice_ in slices] + [vm.vm_id for _, vm in machines],
        "VLAN of a pool": [vlan for s in slices for vlan in range(s.vlan_pool_start, s.vlan_pool_end + 1)],
        "VLAN of a link": [link.vlan_id for _, link in links],
        "end of a link": [end for _, link in links for end in link.ends],
        "VNC port": [vm.vnc_port for _, vm in machines],
        "MAC": [interface.mac for _, interface in nics],
        "address": [interface.ip_config.ip for _, interface in nics if interface.ip_config],
        "address in a subnet": [(link.vlan_id, each) for slice_, link in links for each in slice_.addresses_on(link)],
        "disk": [(vm.worker_ip, vm.qcow_image) for _, vm in machines],
        "disk id": [vm.disk_id or vm.vm_id for _, vm in machines],
        "TAP": [names.tap_name(vm.vm_id, interface.name) for vm, interface in nics],
        "process": [names.process_name(slice_.slice_id, vm.vm_id) for slice_, vm in machines],
    }
    for kind, things in kinds.items():
        assert len(set(things)) == len(things), f"a {kind} has two owners: {sorted(map(str, things))}"
    assert INTERNET_VLAN not in kinds["VLAN of a link"]


def counts_are_right(state: State) -> None:
    """Check `used_vms`, the owner of each slice, and the promises of the workers."""
    for name, user in state.users.items():
        owned = [slice_ for slice_ in state.slices.values() if slice_.owner == name]
        assert sorted(user.slices) == sorted(slice_.slice_id for slice_ in owned)
        assert user.used_vms == sum(len(slice_.vms) + len(slice_.leaving) for slice_ in owned)
    for address, worker in state.workers.items():
        vms = [vm for slice_ in state.slices.values() for vm in (*slice_.vms, *slice_.leaving)]
        held = [vm.held for vm in vms if vm.worker_ip == address]
        assert worker.used_cores == sum(size.cores for size in held), address
        assert worker.used_ram_gb == pytest.approx(sum(size.ram_gb for size in held), abs=0.001), address
        assert worker.used_disk_gb == pytest.approx(sum(size.disks_gb for size in held), abs=0.001), address


def hosts_agree(cloud: FakeHosts, state: State) -> None:
    """Check that a record allows every object on the hosts, and that the hosts have all promised objects."""
    found = owners(cloud, state)
    for (address, slice_id), things in found.items():
        if slice_id == SHARED:
            assert any(internet_interfaces_may_be_up(slice_) for slice_ in state.slices.values()), (address, things)
            continue
        slice_ = state.slices.get(slice_id)
        assert slice_, f"{address} has {things}, and there is no slice {slice_id}"
        if not may_have_more(slice_, address):
            assert set(things) <= disks(slice_, address), f"{address} has {things}; slice {slice_id} is {slice_.status}"
    for slice_ in state.slices.values():
        for address in {vm.worker_ip for vm in slice_.vms if slice_.status != SliceStatus.DELETING}:
            missing = disks(slice_, address, made=True) - set(found[address, slice_.slice_id])
            assert not missing, f"{address} lacks {missing} of slice {slice_.slice_id}"


def internet_interfaces_may_be_up(slice_: Slice) -> bool:
    return slice_.uses_internet and (slice_.status != SliceStatus.DESIGN or bool(slice_.left))


def may_have_more(slice_: Slice, address: str) -> bool:
    """Return whether the record allows a host more objects of the slice than its disks."""
    pending = any(vm.status == VMStatus.PENDING and vm.worker_ip == address for vm in slice_.vms)
    left_there = any(entry.endswith(f" on {address}") for entry in slice_.left)
    known = bool(slice_.left) and slice_.status in {SliceStatus.DESIGN, SliceStatus.DELETING}
    return pending or left_there or (slice_.status != SliceStatus.DESIGN and not known)


def disks(slice_: Slice, address: str, *, made: bool = False) -> set[str]:
    """Return overlays, marks and folder of a slice's VMs on a worker; with `made`, only those that were made.

    VMs that an unfinished change adds have no disk yet, or have one.
    """
    there = {vm.vm_id for vm in (slice_.before or slice_).vms}
    unmade = [vm for vm in slice_.vms if made and (vm.status == VMStatus.PENDING or vm.lost_with or vm.old_disk)]
    vms = [vm for vm in slice_.vms if vm.worker_ip == address and vm not in unmade]
    vms = [vm for vm in vms if vm.vm_id in there or not made]
    folder = f"vm_images/slice-{slice_.slice_id}"
    marks = {f"{folder}/{vm.name}.id-{vm.disk_id}" for vm in vms if vm.disk_id}
    return {folder, *marks, *(f"{folder}/{vm.name}_img.qcow2" for vm in vms)} if vms else set()


def owners(cloud: FakeHosts, state: State) -> dict[tuple[str, int], list[str]]:
    """Return (host, slice id) -> the slice's objects there; an object without any possible owner fails the test."""
    found: dict[tuple[str, int], list[str]] = defaultdict(list)
    for address, host in cloud.hosts.items():
        for thing in _things(host):
            found[address, _owner(thing, state)].append(thing)
        if host.rules:
            found[address, SHARED].append(f"{len(host.rules)} rules")
    return found


def _things(host: FakeHost) -> Iterator[str]:
    yield from (path for path in host.files if not re.fullmatch(r"vm_images/[^/]*", path))
    yield from host.folders - {"/run", "/tmp", "vm_images"}
    yield from host.namespaces.keys() - {""}
    for devices in host.namespaces.values():
        yield from devices.keys() - {"ens3", "ens4", "lo"}
    yield from host.ports
    yield from host.flows
    yield from host.processes


def _owner(thing: str, state: State) -> int:
    for pattern, kind in _PATTERNS:
        match = pattern.fullmatch(thing)
        if match:
            number = int(next(filter(None, match.groups())), 16 if kind == "cookie" else 10)
            return _OWNER_OF[kind](number, state.slices.values())
    raise AssertionError(f"whose is {thing}?")


def _of_vm(vm_id: int, slices: Iterable[Slice]) -> int:
    return next((slice_.slice_id for slice_ in slices if slice_.vm(vm_id)), -vm_id)


def _of_vlan(vlan_id: int, slices: Iterable[Slice]) -> int:
    if vlan_id == INTERNET_VLAN:
        return SHARED
    return next((s.slice_id for s in slices if any(link.vlan_id == vlan_id for link in s.links)), -vlan_id)


def _itself(slice_id: int, _: Iterable[Slice]) -> int:
    return slice_id


_OWNER_OF: dict[str, Callable[[int, Iterable[Slice]], int]] = {
    "slice": _itself, "cookie": _itself, "vm": _of_vm, "vlan": _of_vlan
}  # fmt: skip
