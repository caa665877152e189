"""Which worker gets a VM: round robin over those that answer and have room. Pure arithmetic on what was measured."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, MutableMapping
from dataclasses import replace

from allocation import Holdings
from errors import Refused
from inventory import Inventory, Worker
from models import Record


def promised(worker: Worker, address: str, live: Iterable[Holdings]) -> Worker:
    """`worker` with what its VMs were promised, counted anew."""
    promises = [holdings.promised[address] for holdings in live if address in holdings.promised]
    return replace(
        worker,
        used_cores=sum(promise.cores for promise in promises),
        used_ram_gb=round(sum(promise.ram_gb for promise in promises), 3),
        used_disk_gb=round(sum(promise.disk_gb for promise in promises), 3),
    )


def recount(workers: MutableMapping[str, Worker], live: Collection[Holdings]) -> None:
    """Count anew what all workers' VMs were promised."""
    for address, worker in workers.items():
        workers[address] = promised(worker, address, live)


def place(
    flavor_name: str, flavor: Record, inventory: Inventory, workers: Mapping[str, Worker], live: Collection[Holdings]
) -> str:
    """The address of the worker for a new VM: the next after the youngest VM's, among those with room.

    `Refused` when the VM fits nowhere; the sentence names the worker that comes closest.
    """
    up = [address for address in inventory.workers_list if address in workers and workers[address].up]
    if not up:
        raise Refused("No worker answers at present; ask the operator, or log in again to look for them")
    gaps = {
        address: _gaps(flavor, promised(workers[address], address, live), inventory.hypervisor.cpu_overcommit)
        for address in up
    }
    for address in _after_youngest(inventory.workers_list, live):
        if address in gaps and not gaps[address]:
            return address
    closest = min(up, key=lambda address: sum(missing for missing, _ in gaps[address]))
    needs = f"{flavor['cores']} cores, {flavor['ram_gb']:g} GB of memory, {flavor['disk_gb']:g} GB of disk"
    lacks = ", ".join(sentence for _, sentence in gaps[closest])
    raise Refused(f"No worker has room for {flavor_name} ({needs}); {closest} comes closest: {lacks}")


def _gaps(flavor: Record, worker: Worker, cpu_overcommit: float) -> list[tuple[float, str]]:
    """What `worker` lacks for the flavor: how much, as a share of what is wanted, and in words."""
    offers = (
        ("cores", float(flavor["cores"]), worker.max_cores * cpu_overcommit - worker.used_cores),
        ("GB of memory", float(flavor["ram_gb"]), worker.max_ram_gb - worker.used_ram_gb),
        ("GB of disk", float(flavor["disk_gb"]), worker.max_disk_gb - worker.used_disk_gb),
    )
    return [
        ((wanted - free) / wanted, f"{max(free, 0):.4g} {unit} left") for unit, wanted, free in offers if free < wanted
    ]


def _after_youngest(addresses: tuple[str, ...], live: Iterable[Holdings]) -> tuple[str, ...]:
    _, last = max((holdings.youngest for holdings in live), default=(0, ""))
    turn = addresses.index(last) + 1 if last in addresses else 0
    return addresses[turn:] + addresses[:turn]
