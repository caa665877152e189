"""Placement of VMs: the emptiest worker that answers, on a bounded number of workers per slice. Arithmetic only."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, MutableMapping
from dataclasses import replace

from allocation.holdings import Promise
from allocation.taken import Taken
from core.errors import Refused
from core.inventory import Inventory, Worker
from core.values import Size
from models import VM


class NoRoom(Refused):
    """A VM fits on no worker, by the last measurement."""


def recount(workers: MutableMapping[str, Worker], taken: Taken, addresses: Collection[str]) -> None:
    """Count the promised resources of the workers with these addresses again."""
    known = [address for address in addresses if address in workers]
    for address, promise in taken.promised(known).items():
        workers[address] = _with(workers[address], promise)


def _with(worker: Worker, promise: Promise) -> Worker:
    cores, ram_gb, disk_gb = promise
    return replace(worker, used_cores=cores, used_ram_gb=round(ram_gb, 3), used_disk_gb=round(disk_gb, 3))


def place(
    flavor_name: str,
    size: Size,
    inventory: Inventory,
    workers: Mapping[str, Worker],
    taken: Taken,
    used: Collection[str],
    beside: Collection[str] = (),
) -> str:
    """Return the worker for a new VM of a slice that already has VMs on the workers `used`.

    The workers `beside` come first, where they have room. Until the slice uses `hypervisor: spread` workers, the
    emptiest unused worker with room is taken, then the emptiest used one. After that the order is reversed.
    Raise `NoRoom` when the VM fits nowhere; the sentence names the worker that comes closest.
    """
    up = [address for address in inventory.workers_list if address in workers and workers[address].up]
    if not up:
        raise NoRoom("No worker answers at present; ask the operator")
    overcommit = inventory.hypervisor.cpu_overcommit
    filled = {address: _with(workers[address], promise) for address, promise in taken.promised(up).items()}
    gaps = {address: _gaps(size, worker, overcommit) for address, worker in filled.items()}
    emptiest = sorted(
        (address for address in up if not gaps[address]), key=lambda address: _fullness(filled[address], overcommit)
    )
    known = [address for address in emptiest if address in used]
    further = [address for address in emptiest if address not in used]
    spread = inventory.hypervisor.spread
    first = [address for address in emptiest if address in beside]
    rest = (*further, *known) if len(used) < spread or spread == 0 else (*known, *further)
    for address in (*first, *rest):
        return address
    closest = min(up, key=lambda address: sum(missing for missing, _ in gaps[address]))
    needs = f"{size.cores} cores, {size.ram_gb:g} GiB of memory, {size.disks_gb:g} GiB of disk"
    lacks = ", ".join(sentence for _, sentence in gaps[closest])
    raise NoRoom(f"No worker has room for {flavor_name} ({needs}); {closest} comes closest: {lacks}")


def has_room(worker: Worker, size: Size, inventory: Inventory) -> bool:
    """Return whether a VM of this size fits on a worker, beside what was promised there."""
    return not _gaps(size, worker, inventory.hypervisor.cpu_overcommit)


def require_room(stopped: Iterable[VM], inventory: Inventory, workers: Mapping[str, Worker]) -> None:
    """Raise `NoRoom` where stopped VMs do not fit on their workers any more. Their disks are there already.

    `workers` are the measurements, with what all VMs were promised. A worker without one is not judged.
    """
    wanted: dict[str, list[VM]] = defaultdict(list)
    for vm in stopped:
        wanted[vm.worker_ip].append(vm)
    for address, vms in wanted.items():
        cores, ram_gb = sum(vm.size.cores for vm in vms), sum(vm.size.ram_gb for vm in vms)
        worker = workers.get(address, Worker())
        gaps = _gaps(Size(cores, ram_gb, 0.0), worker, inventory.hypervisor.cpu_overcommit)
        if worker.max_cores and gaps:
            names, needs = ", ".join(vm.name for vm in vms), f"{cores} cores and {ram_gb:g} GiB of memory"
            lacks = ", ".join(sentence for _, sentence in gaps)
            raise NoRoom(f"{address} has no room to start {names} ({needs}): {lacks}; stop or delete other VMs there")


def require_disk(vms: Iterable[VM], inventory: Inventory, workers: Mapping[str, Worker]) -> None:
    """Raise `NoRoom` where workers have no room for one more copy of the disks of these VMs."""
    wanted: dict[str, list[VM]] = defaultdict(list)
    for vm in vms:
        wanted[vm.worker_ip].append(vm)
    for address, here in wanted.items():
        disk, worker = sum(vm.size.disks_gb for vm in here), workers.get(address, Worker())
        gaps = _gaps(Size(0, 0.0, disk), worker, inventory.hypervisor.cpu_overcommit)
        if worker.max_cores and gaps:
            names = ", ".join(vm.name for vm in here)
            raise NoRoom(
                f"{address} has no room for a snapshot of {names} ({disk:g} GiB): {gaps[0][1]}; delete other snapshots "
                "or VMs there"
            )


def fair_share(vms: int, inventory: Inventory, workers: Mapping[str, Worker]) -> int:
    """Return how many of the VMs that are made at once each worker of their slice gets."""
    up = len([address for address in inventory.workers_list if address in workers and workers[address].up])
    return math.ceil(vms / max(1, min(up, inventory.hypervisor.spread or up)))


def _fullness(worker: Worker, cpu_overcommit: float) -> tuple[float, int]:
    """Return the promised share of the worker's scarcest resource, then its promised cores to break ties.

    The share is rounded, because two workers of one kind differ by other files on their disks.
    """
    shares = (
        worker.used_cores / (worker.max_cores * cpu_overcommit),
        worker.used_ram_gb / worker.max_ram_gb,
        worker.used_disk_gb / worker.max_disk_gb,
    )
    return round(max(shares), 3), worker.used_cores


def _gaps(size: Size, worker: Worker, cpu_overcommit: float) -> list[tuple[float, str]]:
    """Return each resource that `worker` lacks for the size: the missing share of the demand, and a phrase."""
    offers = (
        ("cores", size.cores, worker.max_cores * cpu_overcommit - worker.used_cores),
        ("GiB of memory", size.ram_gb, worker.max_ram_gb - worker.used_ram_gb),
        ("GiB of disk", size.disks_gb, worker.max_disk_gb - worker.used_disk_gb),
    )
    return [
        ((wanted - free) / wanted, f"{max(free, 0):.4g} {unit} left")
        for unit, wanted, free in offers
        if wanted and free < wanted
    ]
