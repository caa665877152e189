"""The work of every contender: rings and lines of VMs with internet, in several slices where needed. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from allocation.ids import next_slice_id
from allocation.taken import taken_by
from core.inventory import Inventory, Worker
from deployment import DeploymentAPI
from models import Flavor, Slice

OWNER = "admin"
FLAVOR = "blank"
FIRST_ID = 1000
MIN_VMS = 2
MAX_VMS = 80
MAX_WORKERS = 8
POOL = 20
"""A slice's pool has 20 VLANs, and a ring needs one for each of its VMs."""

SHAPES = ("ring", "line")
SECRET = "yardstk0"  # noqa: S105 - of guests without a disk, in a lab without a way in
_BIG = Worker(max_cores=1000, max_ram_gb=1000.0, max_disk_gb=10_000.0)
_TEXT = re.compile(r"(ring|line):(\d+)(?::(\d+))?")

Link = tuple[int, str, int, str]
"""VM, interface, VM, interface; VMs by their position in the slice, from 0 up."""


@dataclass(frozen=True)
class Work:
    """A number of VMs in slices of at most `per_slice`, over the first `workers` workers.

    A VM is linked by its `eth1` to the `eth2` of the next one; in a ring also the last one to the first. Guests have a
    disk that halts them, unless the work `boots`.
    """

    shape: str
    vms: int
    workers: int = 2
    per_slice: int = POOL
    boots: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the work of `SHAPE:VMS[:WORKERS]`; raise ValueError with a sentence for another text."""
        found = _TEXT.fullmatch(text)
        if not found:
            raise ValueError(f"work is written like ring:8 or line:20:4 (shape, VMs, workers), not {text!r}")
        work = cls(found[1], int(found[2]), int(found[3] or 2))
        if not (MIN_VMS <= work.vms <= MAX_VMS and 1 <= work.workers <= MAX_WORKERS):
            raise ValueError(f"work has {MIN_VMS} to {MAX_VMS} VMs and 1 to {MAX_WORKERS} workers, not {text!r}")
        return work

    def __str__(self) -> str:
        return f"{self.shape}:{self.vms}:{self.workers}"

    @property
    def title(self) -> str:
        """Return a title such as `ring of 8 VMs, 2 workers`."""
        several = f" in {len(self.parts)} slices" if len(self.parts) > 1 else ""
        return f"{self.shape} of {self.vms} VMs{several}, {self.workers} workers"

    @property
    def parts(self) -> list[int]:
        """Return the number of VMs of each slice, as equal as possible."""
        count = math.ceil(self.vms / self.per_slice)
        return [self.vms // count + (number < self.vms % count) for number in range(count)]

    def flavor(self, image: Path) -> Flavor:
        """Return the smallest flavor: 64 MB where no system boots, 128 MB for the lab's guest."""
        return Flavor(cores=1, ram_gb=0.125 if self.boots else 0.0625, disk_gb=1, image=str(image))

    def links(self, vms: int) -> list[Link]:
        """Return the links of a slice with this number of VMs."""
        joined = vms if self.shape == "ring" else vms - 1
        return [(place, "eth1", (place + 1) % vms, "eth2") for place in range(joined)]

    @property
    def link_count(self) -> int:
        """Return the number of links in all slices, which is one VLAN each."""
        return sum(len(self.links(vms)) for vms in self.parts)

    def slices(self, inventory: Inventory, image: Path) -> list[Slice]:
        """Return slices in design, without any database, with the ids, names and workers that the menu would give."""
        deployment = DeploymentAPI(replace(inventory, workers_list=inventory.workers_list[: self.workers]))
        workers = dict.fromkeys(inventory.workers_list[: self.workers], _BIG)
        made: list[Slice] = []
        next_id = FIRST_ID
        for vms in self.parts:
            slice_ = Slice(next_slice_id(next_id, taken_by(made)), OWNER)
            made.append(slice_)
            for number in range(1, vms + 1):
                deployment.create_vm_with_qcow(
                    slice_, slice_.slice_id + number, f"vm{number}", FLAVOR, self.flavor(image), 2,
                    internet_enabled=True, workers=workers, taken=taken_by(made),
                ).vnc_secret = SECRET  # fmt: skip
            for first, eth_a, second, eth_b in self.links(vms):
                ids = slice_.vms[first].vm_id, slice_.vms[second].vm_id
                slice_.connect(ids[0], eth_a, ids[1], eth_b, reserved=inventory.internet.vlan_id)
            next_id = slice_.slice_id + vms + 1
        return made
