"""All that `database.yaml` holds, as models: one value that use-cases read and change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass

import models
from allocation import Holdings
from inventory import HypervisorSettings, InternetSettings, Inventory, LoginSettings, SSHSettings, Worker
from models import Flavor, Record, Slice, User

SECTIONS = (
    *("workers_list", "network_node", "ssh", "hypervisor", "internet", "flavors"),
    *("users", "workers", "slices", "next_vm_id", "next_vlan_id"),
)
"""What `to_dict` always gives, in its order: a saved file that lacks the last ones has lost its end."""


@dataclass(frozen=True)
class Kept:
    """A slice as the file has it; several states share it, so nobody changes it."""

    record: Record
    holdings: Holdings


class Slices(MutableMapping[int, Slice]):
    """The slices by id. One that the file has is made when it is first asked for; from then on the state owns it."""

    def __init__(self, entries: Mapping[int, Slice | Kept]) -> None:
        self._entries = dict(entries)

    def __getitem__(self, slice_id: int) -> Slice:
        entry = self._entries[slice_id]
        if isinstance(entry, Kept):
            entry = self._entries[slice_id] = Slice.from_dict(entry.record)
        return entry

    def __setitem__(self, slice_id: int, tenant: Slice) -> None:
        self._entries[slice_id] = tenant

    def __delitem__(self, slice_id: int) -> None:
        del self._entries[slice_id]

    def __iter__(self) -> Iterator[int]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return repr(self._entries)

    @property
    def holdings(self) -> dict[int, Holdings]:
        """What each slice holds at the moment, without making those that nobody asked for."""
        return {
            slice_id: entry.holdings if isinstance(entry, Kept) else Holdings.of(entry)
            for slice_id, entry in self._entries.items()
        }

    @property
    def records(self) -> dict[str, Record]:
        """The section of the file; what nobody asked for is still the file's own record."""
        return {
            str(slice_id): entry.record if isinstance(entry, Kept) else entry.to_dict()
            for slice_id, entry in self._entries.items()
        }


@dataclass
class State:
    """Inventory, users, workers and slices, and the counters; `flavors` is the file's own section."""

    inventory: Inventory
    flavors: dict[str, Record]
    users: dict[str, User]
    workers: dict[str, Worker]
    slices: Slices
    next_vm_id: int
    next_vlan_id: int

    @property
    def all_flavors(self) -> dict[str, Record]:
        """The built-in flavors, added to or replaced by the file's, by name."""
        return {name: dict(size) for name, size in (Flavor.FLAVORS | self.flavors).items()}

    def to_dict(self) -> Record:
        """The content of `database.yaml`, the caller's own."""
        return self.record | {"slices": {str(slice_id): tenant.to_dict() for slice_id, tenant in self.slices.items()}}

    @property
    def record(self) -> Record:
        """The same as `to_dict`, to be looked at only: it has the file's own records of slices."""
        inventory = self.inventory
        login = {} if inventory.login == LoginSettings() else {"login": dict(vars(inventory.login))}
        return {
            "workers_list": list(inventory.workers_list),
            "network_node": inventory.network_node,
            "ssh": dict(vars(inventory.ssh)),
            "hypervisor": dict(vars(inventory.hypervisor)),
            "internet": dict(vars(inventory.internet)),
            **login,
            "flavors": {name: dict(size) for name, size in self.flavors.items()},
            "users": {name: user.to_dict() for name, user in self.users.items()},
            "workers": {host: dict(vars(worker)) for host, worker in self.workers.items()},
            "slices": self.slices.records,
            "next_vm_id": self.next_vm_id,
            "next_vlan_id": self.next_vlan_id,
        }

    @classmethod
    def from_dict(cls, record: Record) -> State:
        """The state that `to_dict` wrote, sharing nothing with `record`; what is missing has its default.

        A slice may also be given as it is kept, and then is not made before it is asked for.
        """
        defaults = Inventory()
        inventory = Inventory(
            tuple(record.get("workers_list", defaults.workers_list)),
            record.get("network_node", defaults.network_node),
            SSHSettings(**record.get("ssh", {})),
            HypervisorSettings(**record.get("hypervisor", {})),
            InternetSettings(**record.get("internet", {})),
            LoginSettings(**record.get("login", {})),
        )
        slices = {
            int(key): entry if isinstance(entry, Kept) else Slice.from_dict(entry)
            for key, entry in record.get("slices", {}).items()
        }
        return cls(
            inventory,
            {name: dict(size) for name, size in record.get("flavors", {}).items()},
            {name: User.from_dict(user) for name, user in record["users"].items()},
            {host: Worker(**worker) for host, worker in record.get("workers", {}).items()},
            Slices(slices),
            record.get("next_vm_id", models.FIRST_ID),
            record.get("next_vlan_id", 100),
        )
