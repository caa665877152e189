"""All that `database.yaml` holds, as models: one value that use-cases read and change."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import models
from inventory import HypervisorSettings, InternetSettings, Inventory, LoginSettings, SSHSettings, Worker
from models import Flavor, Record, Slice, User

SECTIONS = (
    *("workers_list", "network_node", "ssh", "hypervisor", "internet", "flavors"),
    *("users", "workers", "slices", "next_vm_id", "next_vlan_id"),
)
"""What `to_dict` always gives, in its order: a saved file that lacks the last ones has lost its end."""


@dataclass
class State:
    """Inventory, users, workers and slices, and the counters; `flavors` is the file's own section."""

    inventory: Inventory
    flavors: dict[str, Record]
    users: dict[str, User]
    workers: dict[str, Worker]
    slices: dict[int, Slice]
    next_vm_id: int
    next_vlan_id: int

    @property
    def all_flavors(self) -> dict[str, Record]:
        """The built-in flavors, added to or replaced by the file's, by name."""
        return {name: dict(size) for name, size in (Flavor.FLAVORS | self.flavors).items()}

    def to_dict(self) -> Record:
        """The content of `database.yaml`."""
        settings = dataclasses.asdict(self.inventory)
        if self.inventory.login == LoginSettings():
            del settings["login"]
        return {
            **settings,
            "workers_list": list(self.inventory.workers_list),
            "flavors": {name: dict(size) for name, size in self.flavors.items()},
            "users": {name: user.to_dict() for name, user in self.users.items()},
            "workers": {host: dataclasses.asdict(worker) for host, worker in self.workers.items()},
            "slices": {str(slice_id): tenant.to_dict() for slice_id, tenant in self.slices.items()},
            "next_vm_id": self.next_vm_id,
            "next_vlan_id": self.next_vlan_id,
        }

    @classmethod
    def from_dict(cls, record: Record) -> State:
        """The state that `to_dict` wrote, sharing nothing with `record`; what is missing has its default."""
        defaults = Inventory()
        inventory = Inventory(
            tuple(record.get("workers_list", defaults.workers_list)),
            record.get("network_node", defaults.network_node),
            SSHSettings(**record.get("ssh", {})),
            HypervisorSettings(**record.get("hypervisor", {})),
            InternetSettings(**record.get("internet", {})),
            LoginSettings(**record.get("login", {})),
        )
        return cls(
            inventory,
            {name: dict(size) for name, size in record.get("flavors", {}).items()},
            {name: User.from_dict(user) for name, user in record["users"].items()},
            {host: Worker(**worker) for host, worker in record.get("workers", {}).items()},
            {int(slice_id): Slice.from_dict(tenant) for slice_id, tenant in record.get("slices", {}).items()},
            record.get("next_vm_id", models.FIRST_ID),
            record.get("next_vlan_id", 100),
        )
