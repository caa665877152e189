"""What is given out never has two owners: ids, pools of VLANs, VNC ports, addresses. Pure.

Asked of all slices at every change, so it is answered from what each of them holds, and no slice is looked into for it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from errors import Refused
from inventory import InternetSettings
from models import (
    FIRST_ID,
    FIRST_VNC_PORT,
    LAST_ID,
    LAST_VNC_PORT,
    NOWHERE,
    POOL_COUNT,
    Record,
    Slice,
    internet_interfaces,
)
from names import DHCP_FIRST_HOST, DHCP_LAST_HOST

_MAC_IDS = 65_536
"""A MAC holds the lower 16 bits of a VM's id."""


class Promise(NamedTuple):
    """What VMs were promised together; memory and disk in GiB."""

    cores: int = 0
    ram_gb: float = 0.0
    disk_gb: float = 0.0


@dataclass(frozen=True)
class Holdings:
    """What a slice has that no other may have, whose it is, and what its VMs were `promised`, by worker.

    `vms` is their number.
    """

    slice_id: int
    owner: str
    vms: int
    vm_ids: frozenset[int]
    vnc_ports: frozenset[int]
    macs: frozenset[str]
    addresses: frozenset[str]
    promised: Mapping[str, Promise]

    @property
    def pool(self) -> int:
        """The number of its pool of VLANs, which follows from its id."""
        return self.slice_id % POOL_COUNT

    @cached_property
    def claims(self) -> frozenset[str]:
        """Return all exclusive resources as strings prefixed by kind."""
        ids = (f"id {number}" for number in (self.slice_id, *self.vm_ids))
        ports = (f"port {port}" for port in self.vnc_ports)
        return frozenset((f"pool {self.pool}", *ids, *ports, *self.macs, *self.addresses))

    @classmethod
    def of(cls, tenant: Slice) -> Holdings:
        """What `tenant` has at the moment."""
        promised: dict[str, Promise] = defaultdict(Promise)
        for vm in (vm for vm in tenant.vms if vm.worker_ip != NOWHERE):
            cores, ram_gb, disk_gb = promised[vm.worker_ip]
            promised[vm.worker_ip] = Promise(cores + vm.cores, ram_gb + vm.ram_gb, disk_gb + vm.disk_gb)
        return cls(
            tenant.slice_id,
            tenant.owner,
            len(tenant.vms),
            frozenset(vm.vm_id for vm in tenant.vms),
            frozenset(vm.vnc_port for vm in tenant.vms),
            frozenset(interface.mac.lower() for vm in tenant.vms for interface in vm.interfaces if interface.mac),
            frozenset(str(nic.ip_config["ip"]) for _, nic in internet_interfaces(tenant) if nic.ip_config),
            dict(promised),
        )


def clash(fresh: Iterable[Holdings], rest: Iterable[Holdings]) -> bool:
    """Return whether one of `fresh` claims what another one of them, or one of `rest`, claims as well.

    The claims of `fresh` are collected in one set, so that the cost grows with the number of slices and not its square.
    """
    claimed: set[str] = set()
    for holdings in fresh:
        if not claimed.isdisjoint(holdings.claims):
            return True
        claimed |= holdings.claims
    return not all(claimed.isdisjoint(holdings.claims) for holdings in rest)


def holdings_of(slices: Iterable[Slice]) -> list[Holdings]:
    """What each of the slices has at the moment."""
    return [Holdings.of(tenant) for tenant in slices]


def next_vm_id(start: int, live: Collection[Holdings]) -> int:
    """The first id from `start` on that no live slice or VM has and whose MACs are free.

    A MAC holds the lower 16 bits of an id only, so 65,536 ids later it comes back.
    """
    slices, vms = {holdings.slice_id for holdings in live}, _vm_ids(live)
    return _first(
        start,
        lambda candidate: (
            candidate not in slices and vms.isdisjoint(range(candidate % _MAC_IDS, LAST_ID + 1, _MAC_IDS))
        ),
    )


def next_slice_id(start: int, live: Collection[Holdings]) -> int:
    """The first id from `start` on whose pool of VLANs no live slice holds; `Refused` when all 100 pools are held."""
    vms, pools = _vm_ids(live), {holdings.pool for holdings in live}
    if len(pools) == POOL_COUNT:
        raise Refused(f"All {POOL_COUNT} VLAN pools are in use: delete a slice first")
    return _first(start, lambda candidate: candidate not in vms and candidate % POOL_COUNT not in pools)


def next_vnc_port(live: Iterable[Holdings], listening: Collection[int] = ()) -> int:
    """Return the lowest VNC port that no VM holds, and on which no program of its worker is `listening`."""
    taken = {*listening}.union(*(holdings.vnc_ports for holdings in live))
    for port in range(FIRST_VNC_PORT, LAST_VNC_PORT + 1):
        if port not in taken:
            return port
    raise Refused("All VNC ports are in use: delete a slice first")


def next_internet_address(vm_id: int, live: Iterable[Holdings], internet: InternetSettings) -> Record:
    """The `ip_config` of an `eth0` with internet: the documented address where it is free, else the first free one."""
    taken = {internet.gateway}.union(*(holdings.addresses for holdings in live))
    network = internet.network
    wanted = (100 + vm_id % 100, *range(DHCP_FIRST_HOST, DHCP_LAST_HOST + 1))
    for address in (str(network[host]) for host in wanted):
        if address not in taken:
            return {"ip": address, "cidr": internet.cidr, "gateway": internet.gateway}
    raise Refused(
        f"All addresses of the internet network {internet.cidr} are in use: add the VM without internet access"
    )


def _vm_ids(live: Iterable[Holdings]) -> set[int]:
    return set[int]().union(*(holdings.vm_ids for holdings in live))


def _first(start: int, is_free: Callable[[int], bool]) -> int:
    """The first free id from `start` on; after the last one the search goes on from the first."""
    span = LAST_ID - FIRST_ID + 1
    for offset in range(span):
        candidate = FIRST_ID + (start - FIRST_ID + offset) % span
        if is_free(candidate):
            return candidate
    raise Refused("All ids are in use: delete a slice first")
