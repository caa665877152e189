"""The processes that a VM costs its worker, counted on hosts with their own pids."""

from __future__ import annotations

import json
import sys

import pytest

from lab import Lab
from tests.lab.test_look import started
from tests.support.lab.visitor import Menu, traces

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("idle_guests")]

WORKERS = ("worker1", "worker2")
MOST_TO_START, MOST_TO_END, MOST_TO_MAKE = 32, 8, 16
"""Maximum per VM; threads of QEMU and qemu-img have pids and count, too."""


def counts(lab: Lab) -> dict[str, int]:
    return {host: started(lab, host) for host in WORKERS}


def costs(lab: Lab, menu: Menu, vms: int) -> tuple[dict[str, int], dict[str, int]]:
    """Return the processes that deploying and deleting a ring of `vms` VMs starts on each worker."""
    slice_id = menu.create_slice(f"ring{vms}")
    ids = [menu.add_vm(slice_id, f"vm{number}", 2, internet=True) for number in range(vms)]
    for number, vm_id in enumerate(ids):
        menu.link(slice_id, vm_id, "eth1", ids[(number + 1) % vms], "eth2")
    before = counts(lab)
    menu.deploy(slice_id)
    deployed = counts(lab)
    menu.delete(slice_id)
    after = counts(lab)
    return (
        {host: deployed[host] - before[host] for host in WORKERS},
        {host: after[host] - deployed[host] for host in WORKERS},
    )


def test_a_further_vm_costs_its_worker_few_processes_and_no_more_than_the_one_before(lab: Lab, menu: Menu) -> None:
    costs(lab, menu, 2)  # the base image comes to both workers
    (two, end_two), (six, end_six), (ten, end_ten) = (costs(lab, menu, vms) for vms in (2, 6, 10))
    for host in WORKERS:
        start = (six[host] - two[host]) / 2, (ten[host] - six[host]) / 2
        end = (end_six[host] - end_two[host]) / 2, (end_ten[host] - end_six[host]) / 2
        print(f"{host}: {start} processes for a VM's start, {end} for its end")  # noqa: T201
        assert max(start) <= MOST_TO_START
        assert max(end) <= MOST_TO_END


def test_a_change_as_large_as_a_template_is_one_batch_for_each_worker(lab: Lab, menu: Menu) -> None:
    first, slice_id = menu.create_slice("first"), menu.create_slice("template")
    for name in ("one", "two"):
        menu.add_vm(first, name)  # the base image comes to both workers
    before, began = traces(lab, WORKERS), counts(lab)
    argv = [sys.executable, "-m", "tests.support.lab.template", str(lab.database), str(slice_id)]
    said = lab.run(argv).stdout
    started_for_one = max((counts(lab)[host] - began[host]) / 10 for host in WORKERS)
    shell_and_batch = 2 + 1
    assert json.loads(said) == {"round trips": [shell_and_batch] * 2, "disks": [10, 10]}
    print(f"{started_for_one} processes to make a disk and to take it back")  # noqa: T201
    assert started_for_one <= MOST_TO_MAKE
    assert traces(lab, WORKERS) == before
    for each in (first, slice_id):
        menu.delete(each)
