"""Placement of VMs, on data: a number of workers per slice, the emptiest first, and none without room."""

from __future__ import annotations

from dataclasses import replace

import pytest

from allocation.placement import fair_share, place, recount, require_room
from allocation.taken import taken_by
from core.errors import Refused
from core.inventory import HypervisorSettings, Inventory, Worker
from core.status import VMStatus
from models import VM, Flavor, Slice

FLAVOR = Flavor(cores=1, ram_gb=1.0, disk_gb=1.0)
LETTERS = "abcdef"
ROOMY = Worker(16, 64.0, 1000.0)


class LetteredWorkers:
    """Workers named by letters, and slices for which VMs are placed."""

    def __init__(self, spread: int = 4, workers: dict[str, Worker] | None = None) -> None:
        self.workers = workers or dict.fromkeys(LETTERS, ROOMY)
        self.inventory = Inventory(tuple(self.workers), "n", hypervisor=HypervisorSettings(spread=spread))
        self.slices: dict[int, Slice] = {}

    def add(self, slice_id: int, count: int = 1, **size: float) -> str:
        """Add VMs to a slice and return the workers that they got."""
        slice_ = self.slices.setdefault(slice_id, Slice(slice_id, "one"))
        flavor = Flavor.from_dict(FLAVOR.to_dict() | size)
        for _ in range(count):
            used = {vm.worker_ip for vm in slice_.vms}
            taken = taken_by(self.slices.values())
            worker = place("small", flavor.size, self.inventory, self.workers, taken, used)
            number = sum(len(each.vms) for each in self.slices.values())
            slice_.vms.append(VM(5000 + number, f"vm{number}", "one", worker, 5901 + number, [], flavor))
        return "".join(vm.worker_ip for vm in slice_.vms[-count:])


@pytest.mark.parametrize(
    ("spread", "placed"),
    [(4, "abcdabcd"), (1, "aaaaaaaa"), (2, "abababab"), (0, "abcdefab"), (6, "abcdefab"), (100, "abcdefab")],
)
def test_a_slice_uses_so_many_workers_and_then_fills_them(spread: int, placed: str) -> None:
    assert LetteredWorkers(spread).add(1000, 8) == placed


@pytest.mark.parametrize(("beside", "placed"), [("", "c"), ("a", "a"), ("ba", "a"), ("f", "f"), ("e", "c")])
def test_preferred_workers_come_first_where_they_have_room(beside: str, placed: str) -> None:
    workers = dict.fromkeys(LETTERS, ROOMY) | {"e": Worker(16, 0.5, 1000.0)}
    inventory = Inventory(tuple(workers), "n", hypervisor=HypervisorSettings(spread=4))
    assert place("small", FLAVOR.size, inventory, workers, taken_by([]), "ab", beside) == placed


@pytest.mark.parametrize(("vms", "spread", "share"), [(6, 4, 2), (8, 4, 2), (9, 4, 3), (6, 1, 6), (6, 0, 1), (7, 0, 2)])
def test_vms_that_are_made_at_once_are_shared_by_the_workers_of_their_slice(vms: int, spread: int, share: int) -> None:
    cloud = LetteredWorkers(spread)
    assert fair_share(vms, cloud.inventory, cloud.workers) == share


def test_workers_that_are_down_get_no_share() -> None:
    cloud = LetteredWorkers(workers={"a": ROOMY, "b": replace(ROOMY, up=False)})
    assert fair_share(5, cloud.inventory, cloud.workers) == 5
    assert fair_share(5, cloud.inventory, {}) == 5


def test_the_default_is_four() -> None:
    assert HypervisorSettings().spread == 4


def test_two_workers_get_the_vms_of_a_slice_in_turn() -> None:
    assert LetteredWorkers(workers={"a": ROOMY, "b": ROOMY}).add(1000, 5) == "ababa"


def test_the_emptiest_unused_worker_comes_first_and_then_the_emptiest_used_one() -> None:
    cloud = LetteredWorkers(spread=2)
    cloud.add(1000, 3)  # a, b, a
    assert cloud.add(1001, 4) == "cdcd"
    assert cloud.add(1002, 2, ram_gb=8.0) == "ef"
    assert cloud.add(1003, 3) == "bab"  # b has one VM, a and c to d have two


def test_the_scarcest_resource_decides_which_worker_is_emptiest() -> None:
    workers = {"a": Worker(16, 64.0, 100.0), "b": Worker(16, 64.0, 1000.0)}
    cloud = LetteredWorkers(spread=1, workers=workers)
    assert cloud.add(1000, 1, disk_gb=30.0) == "a"
    cloud.slices[1001] = Slice(1001, "one")
    cloud.slices[1001].vms = [VM(6000, "vm", "one", "b", 5999, [], replace(FLAVOR, ram_gb=16.0))]
    assert cloud.add(1002) == "b"


def test_disks_that_differ_a_little_change_no_order() -> None:
    cloud = LetteredWorkers(workers={"a": Worker(16, 64.0, 100.0), "b": Worker(16, 64.0, 100.04)})
    assert cloud.add(1000, 6) == "ababab"


def test_full_workers_are_left_out_and_a_further_one_is_taken() -> None:
    small = Worker(16, 2.0, 1000.0)
    cloud = LetteredWorkers(spread=2, workers=dict.fromkeys(LETTERS[:3], small))
    assert cloud.add(1000, 6) == "ababcc"
    with pytest.raises(Refused, match=r"No worker has room for small .*; a comes closest: 0 GiB of memory left"):
        cloud.add(1000)


def test_a_worker_without_room_is_no_unused_one() -> None:
    cloud = LetteredWorkers(spread=3, workers={"a": ROOMY, "b": Worker(16, 0.5, 1000.0), "c": ROOMY, "d": ROOMY})
    assert cloud.add(1000, 6) == "acdacd"


def test_workers_that_are_down_or_not_listed_get_nothing_and_count_as_used() -> None:
    cloud = LetteredWorkers(spread=2)
    cloud.add(1000, 2)
    cloud.workers["a"] = Worker(16, 64.0, 1000.0, up=False)
    assert cloud.add(1000, 2) == "bb"
    cloud.inventory = Inventory(("c", "d"), "n", hypervisor=HypervisorSettings(spread=2))
    assert cloud.add(1000, 2) == "cc"  # its own workers are gone: it gets a further one, which is then filled


def test_a_worker_that_was_never_measured_gets_nothing() -> None:
    with pytest.raises(Refused, match="No worker answers at present"):
        LetteredWorkers(workers={"a": Worker(up=False)}).add(1000)
    with pytest.raises(Refused, match="a comes closest: 0 cores left"):
        LetteredWorkers(workers={"a": Worker()}).add(1000)


def test_a_stopped_vm_counts_its_disk_only() -> None:
    cloud = LetteredWorkers(workers={"a": Worker(2, 64.0, 2.0)})
    cloud.add(1000, 2)
    (stopped, _) = cloud.slices[1000].vms
    stopped.status = VMStatus.STOPPED
    assert taken_by(cloud.slices.values()).promised("a") == {"a": (1, 1.0, 2.0)}
    with pytest.raises(Refused, match=r"a comes closest: 0 GiB of disk left"):
        cloud.add(1001)


def test_a_stopped_vm_starts_only_where_its_worker_has_room() -> None:
    cloud = LetteredWorkers(workers=dict.fromkeys("ab", Worker(2, 64.0, 9.0)))
    assert cloud.add(1000, 4) == "abab"
    stopped = cloud.slices[1000].vms[:2]
    for vm in stopped:
        vm.status = VMStatus.STOPPED
    cloud.workers["b"] = Worker(2, 1.5, 9.0)
    recount(cloud.workers, taken_by(cloud.slices.values()), "ab")
    with pytest.raises(
        Refused, match=r"b has no room to start vm1 \(1 cores and 1 GiB of memory\): 0.5 GiB of memory left; stop"
    ):
        require_room(stopped, cloud.inventory, cloud.workers)
    require_room(stopped[:1], cloud.inventory, cloud.workers)
    cloud.workers["b"] = Worker(2, 2.0, 1.0, 1, 1.0, 9.0)  # its disk is there already
    require_room(stopped, cloud.inventory, cloud.workers)


def test_a_worker_without_a_measurement_is_not_judged() -> None:
    cloud = LetteredWorkers()
    cloud.add(1000)
    require_room(cloud.slices[1000].vms, cloud.inventory, {})


def test_promises_are_counted_once_for_all_workers() -> None:
    cloud = LetteredWorkers(spread=2)
    cloud.add(1000, 3)
    taken = taken_by(cloud.slices.values())
    assert taken.promised("a") == {"a": (2, 2.0, 2.0)}
    workers = dict.fromkeys("abc", Worker(4, 8.0, 9.0, used_cores=9))
    recount(workers, taken, "abc")
    assert {name: worker.used_cores for name, worker in workers.items()} == {"a": 2, "b": 1, "c": 0}
    assert (workers["a"].used_ram_gb, workers["a"].max_cores) == (2.0, 4)
