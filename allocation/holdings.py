"""Exclusive resources of each slice: ids, pool of VLANs, VNC ports, MACs, addresses. Pure.

Every change needs them; therefore they are computed once per slice and kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from models import NOWHERE, POOL_COUNT, Slice


class Promise(NamedTuple):
    """Resources that were promised to VMs; memory and disk in GiB."""

    cores: int = 0
    ram_gb: float = 0.0
    disk_gb: float = 0.0


@dataclass(frozen=True)
class Holdings:
    """The exclusive resources of a slice, its owner, and the resources `promised` to its VMs by worker.

    `vms` is the number of VMs. The `doors` are VNC ports on workers, which realms may share.
    """

    slice_id: int
    owner: str
    vms: int
    vm_ids: frozenset[int]
    vnc_ports: frozenset[int]
    macs: frozenset[str]
    addresses: frozenset[str]
    promised: Mapping[str, Promise]
    realm: str = ""
    doors: frozenset[str] = frozenset()

    @property
    def pool(self) -> int:
        """Return the number of the slice's pool of VLANs, which follows from its id."""
        return self.slice_id % POOL_COUNT

    @cached_property
    def claims(self) -> frozenset[str]:
        """Return all exclusive resources as strings prefixed by kind."""
        own = (a_pool(self.pool), *map(a_port, self.vnc_ports), *self.macs, *self.addresses)
        return frozenset(
            (*map(an_id, (self.slice_id, *self.vm_ids)), *self.doors, *(in_realm(self.realm, thing) for thing in own))
        )

    @classmethod
    def of(cls, slice_: Slice) -> Holdings:
        """Return the present holdings of `slice_`; a change under way also holds what it gives up at its end."""
        promised: dict[str, Promise] = defaultdict(Promise)
        vms = [*slice_.vms, *slice_.leaving]
        records = [*slice_.vms, *(slice_.before.vms if slice_.before else ())]
        eth0s = (nic.ip_config for vm in records for nic in vm.interfaces if nic.ip_config)
        for vm in (vm for vm in vms if vm.worker_ip != NOWHERE):
            size, total = vm.held, promised[vm.worker_ip]
            promised[vm.worker_ip] = Promise(
                total.cores + size.cores, total.ram_gb + size.ram_gb, total.disk_gb + size.disks_gb
            )
        return cls(
            slice_.slice_id,
            slice_.owner,
            len(vms),
            frozenset(vm.vm_id for vm in vms),
            frozenset(vm.vnc_port for vm in records),
            frozenset(interface.mac.lower() for vm in records for interface in vm.interfaces if interface.mac),
            frozenset(address.ip for address in eth0s),
            dict(promised),
            slice_.realm,
            frozenset(door(vm.worker_ip, vm.vnc_port) for vm in records if vm.worker_ip != NOWHERE),
        )


def an_id(number: int) -> str:
    """Return the name of an id of a slice or VM."""
    return f"id {number}"


def a_pool(number: int) -> str:
    """Return the name of a pool of VLANs in its realm."""
    return f"pool {number}"


def a_port(port: int) -> str:
    """Return the name of a VNC port in its realm."""
    return f"port {port}"


def door(worker: str, port: int) -> str:
    """Return the name of a VNC port on a worker."""
    return f"port {port} on {worker}"


def in_realm(realm: str, thing: str) -> str:
    """Return the name in the whole cloud of something that each realm has once."""
    return f"{realm}/{thing}" if realm else thing
