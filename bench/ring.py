"""The ring that both contenders build: VMs in a circle over two workers, each with internet. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deployment import DeploymentAPI
from inventory import Inventory, Worker
from models import Record, Slice

OWNER = "admin"
FLAVOR = "blank"
SLICE_ID = 1000
MIN_VMS = 2
MAX_VMS = 20
"""A slice's pool has 20 VLANs, and a ring needs one for each of its VMs."""

_BIG = Worker(max_cores=1000, max_ram_gb=1000.0, max_disk_gb=10_000.0)


def flavor(image: Path) -> Record:
    """The smallest VM that the file may describe: 64 MB, and a disk with nothing on it to boot."""
    return {"cores": 1, "ram_gb": 0.0625, "disk_gb": 1, "image": str(image)}


@dataclass(frozen=True)
class Ring:
    """So many VMs, each linked by its `eth1` to the `eth2` of the next one."""

    vms: int

    @property
    def names(self) -> list[str]:
        """The VMs' names, in the order in which they are added."""
        return [f"vm{number}" for number in range(1, self.vms + 1)]

    @property
    def links(self) -> list[tuple[int, str, int, str]]:
        """VM, interface, VM, interface; VMs by their place, from 0 up."""
        return [(place, "eth1", (place + 1) % self.vms, "eth2") for place in range(self.vms)]

    def slice(self, inventory: Inventory, image: Path) -> Slice:
        """The ring as a slice in design, without any database: the same ids, names and places as the menu gives it."""
        deployment = DeploymentAPI(inventory)
        workers = dict.fromkeys(inventory.workers_list, _BIG)
        tenant = Slice(SLICE_ID, OWNER)
        for vm_id, name in enumerate(self.names, start=SLICE_ID + 1):
            deployment.create_vm_with_qcow(
                tenant,
                vm_id,
                name,
                FLAVOR,
                flavor(image),
                2,
                internet_enabled=True,
                workers=workers,
                slices=[tenant],
            )
        ids = [vm.vm_id for vm in tenant.vms]
        for first, eth_a, second, eth_b in self.links:
            tenant.connect(ids[first], eth_a, ids[second], eth_b)
        return tenant
