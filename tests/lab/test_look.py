"""What "View my Slices" costs the hosts: a handful of processes, however many VLANs there are."""

from __future__ import annotations

import pytest

from lab import Lab
from tests.lab.seat import Menu

pytestmark = pytest.mark.lab

NICS = range(1, 11)
MOST = {"worker1": 20, "worker2": 20, "network": 26}
"""The login shell, sudo and the batch's own shells among them."""


def started(lab: Lab, host: str) -> int:
    """A host has pids of its own, which are given in turn: the last one counts the processes (proc(5), loadavg)."""
    return int(lab.exec(host, ["cat", "/proc/loadavg"]).stdout.split()[4])


def test_a_look_at_twenty_vlans_starts_as_many_processes_as_at_one(lab: Lab, menu: Menu) -> None:
    slice_id = menu.create_slice("wide")
    vms = [menu.add_vm(slice_id, f"vm{number}", len(NICS), internet=True) for number in range(4)]
    for first, second in (vms[:2], vms[2:]):
        for nic in NICS:
            menu.link(slice_id, first, f"eth{nic}", second, f"eth{nic}")
    menu.deploy(slice_id)
    menu.choose(5)
    before = {host: started(lab, host) for host in MOST}
    own = {host: started(lab, host) - count for host, count in before.items()}
    assert "not well" not in menu.choose(5)
    count = {host: started(lab, host) - before[host] - 2 * own[host] for host in MOST}
    assert all(0 < count[host] <= most for host, most in MOST.items()), count
    menu.delete(slice_id)
