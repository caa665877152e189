"""The content of `database.yaml` as models: one value that use-cases read and change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping, ValuesView
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, TypeVar

from allocation.holdings import Holdings
from allocation.placement import recount
from allocation.taken import Taken, TakenBy, TakenNow
from core.inventory import ImportSettings, Inventory, Worker
from core.names import FIRST_ID
from core.records import Recorded
from core.rule import Record
from models import Flavor, Slice, User

V = TypeVar("V")

SECTIONS = (
    *("workers_list", "network_node", "ssh", "hypervisor", "internet", "flavors"),
    *("users", "workers", "slices", "next_vm_id", "next_vlan_id"),
)
"""The sections that every saved file has, in their order: without the last ones a file has lost its end."""

ENTRIES = ("flavors", "users", "workers", "slices")
"""The sections that may have many entries."""

_USUAL = Inventory().to_dict() | {"import": ImportSettings().to_dict()}
"""The settings by section, with their defaults."""


@dataclass(frozen=True)
class Kept:
    """A section or an entry as the file has it. Several states share it; it never changes. Slices have holdings."""

    value: Any
    holdings: Holdings | None = None

    @property
    def realm(self) -> str:
        """Return the realm of a slice."""
        return self.holdings.realm if self.holdings else ""


class Entries(MutableMapping[str, V]):
    """The entries of a section. One that the file has is made when it is first asked for; the state owns it then.

    Those `touched`, in their order, are all that can differ from `kept`, and so all that a change is looked for in.
    """

    def __init__(self, make: Callable[[Record], V], kept: Mapping[str, Kept]) -> None:
        self.kept = kept
        self.touched: dict[str, None] = {}
        self._make = make
        self._entries: dict[str, V | Kept] = dict(kept)

    def __getitem__(self, key: str) -> V:
        entry = self._entries[key]
        if isinstance(entry, Kept):
            entry = self[key] = self._make(entry.value)
        return entry

    def __setitem__(self, key: str, entry: V) -> None:
        self._entries[key] = entry
        self.touched[key] = None

    def __delitem__(self, key: str) -> None:
        del self._entries[key]
        self.touched[key] = None

    def forget(self, keys: Iterable[str]) -> None:
        """Leave out entries that are gone from the file since it was read; this changes nothing there."""
        for key in keys:
            del self._entries[key]

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return repr(self._entries)


class KeptSlices(Taken, Protocol):
    """The slices that a store keeps, where it answers for them without reading them all."""

    def read(self, kept: Mapping[str, Kept]) -> Collection[str]:
        """Read these at once, which are read one by one otherwise; return the keys of those that are gone meanwhile."""


class Slices(MutableMapping[int, Slice]):
    """The slices by id. `entries` has them by the keys of the file.

    `store` answers for the kept ones; without it they are all in memory.
    """

    def __init__(
        self, slices: Mapping[int, Slice], kept: Mapping[str, Kept] | None = None, store: KeptSlices | None = None
    ) -> None:
        self.entries = Entries(Slice.from_dict, kept or {})
        self._store = store
        self.update(slices)

    def __getitem__(self, slice_id: int) -> Slice:
        return self.entries[str(slice_id)]

    def __setitem__(self, slice_id: int, slice_: Slice) -> None:
        self.entries[str(slice_id)] = slice_

    def __delitem__(self, slice_id: int) -> None:
        del self.entries[str(slice_id)]

    def __contains__(self, slice_id: object) -> bool:
        return str(slice_id) in self.entries

    def __iter__(self) -> Iterator[int]:
        return map(int, self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return repr(self.entries)

    def values(self) -> ValuesView[Slice]:
        """Return all slices."""
        self.read(self)
        return super().values()

    def of(self, slice_ids: Iterable[int]) -> list[Slice]:
        """Return the slices with these ids, without those that another session deleted or created meanwhile."""
        ids = [*slice_ids]
        self.read(ids)
        return [self[slice_id] for slice_id in ids if slice_id in self]

    def read(self, slice_ids: Iterable[int]) -> None:
        """Let the store read several slices at once, which are asked for next. Those that are gone meanwhile go."""
        entries = self.entries
        if self._store:
            unread = [key for key in map(str, slice_ids) if key in entries.kept and key not in entries.touched]
            entries.forget(self._store.read({key: entries.kept[key] for key in unread if key in entries}))

    def held(self, slice_id: int) -> Holdings | None:
        """Return the present holdings of the slice, or None without one. A kept slice is not made for it."""
        key = str(slice_id)
        if key not in self.entries:
            return None
        kept = None if key in self.entries.touched else self.entries.kept[key].holdings
        return kept or Holdings.of(self.entries[key])

    def by_realm(self) -> Counter[str]:
        """Return the number of slices in each realm."""
        touched, kept = self.entries.touched, self.entries.kept
        return Counter(self.entries[key].realm if key in touched else kept[key].realm for key in self.entries)

    @property
    def holdings(self) -> dict[int, Holdings]:
        """Return the present holdings of each slice, without making the slices that no caller asked for."""
        self.read(self)
        return {slice_id: holdings for slice_id in self if (holdings := self.held(slice_id))}

    @property
    def taken(self) -> TakenNow:
        """Return the resources that the slices hold at present."""
        touched, kept = self.entries.touched, self.entries.kept
        gone = [self._held_before(key) for key in touched if key in kept]
        fresh = [Holdings.of(self.entries[key]) for key in touched if key in self.entries]
        return TakenNow(self.kept_taken, gone, fresh)

    @cached_property
    def kept_taken(self) -> Taken:
        """Return the resources that the kept slices hold, as they are kept."""
        return self._store or TakenBy(map(self._held_before, self.entries.kept))

    def _held_before(self, key: str) -> Holdings:
        entry = self.entries.kept[key]
        return entry.holdings or Holdings.of(Slice.from_dict(entry.value))


@dataclass
class State:
    """Inventory, users, workers and slices, and the counters; `flavors` is the file's own section.

    `in_use`: the settings with which the slices were made (`Inventory.in_use`), or None where the file does not say.
    `named` are sections that the file has: one that may be left out stays also where it says what is the default.
    """

    inventory: Inventory
    flavors: MutableMapping[str, Flavor]
    users: MutableMapping[str, User]
    workers: MutableMapping[str, Worker]
    slices: Slices
    next_vm_id: int
    next_vlan_id: int
    in_use: Record | None = None
    imports: ImportSettings = field(default_factory=ImportSettings)
    named: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def all_flavors(self) -> dict[str, Flavor]:
        """Return the flavors by name: the file adds to the built-in ones, and replaces those with the same name."""
        return Flavor.built_in() | dict(self.flavors)

    def recount(self) -> None:
        """Count the promised resources of workers again, wherever this state may have changed them."""
        touched = self.workers.touched if isinstance(self.workers, Entries) else self.workers
        taken = self.slices.taken
        recount(self.workers, taken, {**dict.fromkeys(touched), **dict.fromkeys(taken.changed_workers)})

    @property
    def inventory_in_use(self) -> Inventory:
        """Return the inventory with the workers that are listed no more and have VMs: what runs still needs them."""
        lists = {"": self.inventory.workers_list}
        lists |= {name: realm.workers_list for name, realm in self.inventory.realms.items()}
        used: dict[str, set[str]] = {name: set() for name in lists}
        for name, worker in self.slices.taken.places():
            used.setdefault(name, set()).add(worker)
        return replace(
            self.inventory, unlisted={name: tuple(sorted(used[name].difference(own))) for name, own in lists.items()}
        )

    def inventory_of(self, slice_: Slice) -> Inventory:
        """Return the inventory of the slice's realm."""
        return self.inventory.of_realm(slice_.realm)

    def to_dict(self) -> Record:
        """Return the content of `database.yaml`, in values that only the caller has."""
        self.slices.read(self.slices)
        return {
            section: {key: record_of(entry) for key, entry in value.items()} if section in ENTRIES else value
            for section, value in self.sections.items()
        }

    @property
    def sections(self) -> Record:
        """Return the sections of `database.yaml` in their order. Their entries are models."""
        settings = self.inventory.to_dict() | {"import": self.imports.to_dict()}
        always = {*SECTIONS, *self.named}
        return {
            **{name: value for name, value in settings.items() if name in always or value != _USUAL[name]},
            **({} if self.in_use is None else {"in_use": self.in_use}),
            "flavors": self.flavors,
            "users": self.users,
            "workers": self.workers,
            "slices": self.slices.entries,
            "next_vm_id": self.next_vm_id,
            "next_vlan_id": self.next_vlan_id,
        }

    def take_settings(self, other: State) -> None:
        """Take the settings and flavors of another state; users, workers, slices and counters stay."""
        self.inventory, self.imports = other.inventory, other.imports
        self.flavors, self.named = dict(other.flavors), other.named

    def note_in_use(self) -> None:
        """Note the settings that the slices depend on; a file that never had a slice needs no such section."""
        if self.slices or self.in_use is not None:
            self.in_use = self.inventory.in_use

    @classmethod
    def from_dict(cls, record: Record) -> State:
        """Return the state that `to_dict` wrote. It shares nothing with `record`; missing keys have their default."""
        kept = {
            section: {key: Kept(entry) for key, entry in entries_of(section, value).items()}
            for section, value in record.items()
        }
        state = cls.of_kept(kept)
        for section in ENTRIES:
            list(state.sections[section].values())  # so that all of them are made
        return state

    @classmethod
    def of_kept(cls, kept: Mapping[str, Mapping[str, Kept]], store: KeptSlices | None = None) -> State:
        """Return the state of a file's pieces, by section and key. Each entry is made at its first use.

        `store`: it answers for the slices where they are not all in memory.
        """
        settings = {section: entries[""].value for section, entries in kept.items() if "" in entries}
        many = {section: {} if section in settings else kept.get(section, {}) for section in ENTRIES}
        return cls(
            Inventory.from_dict(settings),
            Entries(Flavor.from_dict, many["flavors"]),
            Entries(User.from_dict, many["users"]),
            Entries(Worker.from_dict, many["workers"]),
            Slices({}, many["slices"], store),
            settings.get("next_vm_id", FIRST_ID),
            settings.get("next_vlan_id", 100),
            settings.get("in_use"),
            ImportSettings.from_dict(settings.get("import", {})),
            frozenset(settings),
        )


def entries_of(section: str, value: Any) -> Mapping[str, Any]:
    """Return the entries of a section by their keys. A section of one piece has one entry, with the key ""."""
    return value if section in ENTRIES and value and isinstance(value, Mapping) else {"": value}


def record_of(entry: Any) -> Any:
    """Return an entry, or a section of one piece, as it stands in the file, in values that only the caller has."""
    match entry:
        case Recorded():
            return entry.to_dict()
        case Mapping():
            return dict(entry)
    return entry
