"""Slices for the tests, as data: links, and VMs with internet."""

from __future__ import annotations

from dataclasses import dataclass

from allocation.holdings import holdings_of
from core.inventory import Inventory, Worker
from core.status import VMStatus
from deployment import DeploymentAPI
from models import Flavor, Slice

IMAGE = "/tmp/vm_images/cirros.img"
FLAVOR = {"cores": 1, "ram_gb": 0.5, "disk_gb": 1, "image": IMAGE}


@dataclass(frozen=True)
class Design:
    """A design; `nics` is the number of data interfaces of each VM, a link is (VM, interface, VM, interface)."""

    nics: tuple[int, ...]
    links: tuple[tuple[int, str, int, str], ...] = ()
    internet: tuple[int, ...] = ()
    slice_id: int = 1000


DESIGNS = {
    "single": Design(nics=(0,)),
    "internet": Design(nics=(0,), internet=(0,)),
    "line": Design(nics=(1, 2, 1), links=((0, "eth1", 1, "eth1"), (1, "eth2", 2, "eth1")), internet=(0,)),
    "ring": Design(
        nics=(2, 2, 2, 2),
        links=tuple((i, "eth1", (i + 1) % 4, "eth2") for i in range(4)),
        internet=(0, 1, 2, 3),
        slice_id=2015,
    ),
    "unconnected": Design(nics=(2, 2)),
}


def design(name: str, inventory: Inventory | None = None) -> Slice:
    """Return the slice of that name, in design, with fixed ids, secrets and disks."""
    return _made(DESIGNS[name], inventory or Inventory())


def _made(wanted: Design, inventory: Inventory) -> Slice:
    deployment = DeploymentAPI(inventory)
    workers = {address: Worker(100, 640.0, 5000.0) for address in inventory.workers_list}
    slice_ = Slice(wanted.slice_id, "student")
    for number, nics in enumerate(wanted.nics):
        vm = deployment.create_vm_with_qcow(
            slice_,
            wanted.slice_id + 1 + number,
            f"vm{number + 1}",
            "cirros",
            Flavor.from_dict(FLAVOR),
            nics,
            number in wanted.internet,
            workers,
            holdings_of([slice_]),
        )
        vm.status, vm.vnc_secret, vm.disk_id = VMStatus.DESIGN, f"secret{number}", f"{number + 1:016x}"
    for first, eth_a, second, eth_b in wanted.links:
        slice_.connect(slice_.vms[first].vm_id, eth_a, slice_.vms[second].vm_id, eth_b)
    return slice_


def ring_of(vms: int, inventory: Inventory | None = None) -> Slice:
    """Return a ring of `vms` VMs in design, all with internet."""
    links = tuple((number, "eth1", (number + 1) % vms, "eth2") for number in range(vms))
    return _made(Design((2,) * vms, links, tuple(range(vms))), inventory or Inventory())
