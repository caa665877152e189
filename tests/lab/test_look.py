"""The costs of collecting facts on hosts: a few processes for any number of VLANs, and none when the menu ends."""

from __future__ import annotations

import pytest

from lab import Lab
from remote.batch import IDLE_SECONDS
from tests.support.lab.visitor import HOSTS, Menu, Shells, shells, wait_until

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("idle_guests")]

NICS = range(1, 11)
MOST = {"worker1": 20, "worker2": 20, "network": 25}
"""Maximum number of processes, with login shell, sudo and the batch's own shells."""


def started(lab: Lab, host: str) -> int:
    """Return the number of processes started on a host, from its last pid (proc(5), loadavg)."""
    return int(lab.exec(host, ["cat", "/proc/loadavg"]).stdout.split()[4])


def test_collecting_twenty_vlans_starts_as_many_processes_as_one(lab: Lab, menu: Menu) -> None:
    slice_id = menu.create_slice("wide")
    vms = [menu.add_vm(slice_id, f"vm{number}", len(NICS), internet=True) for number in range(4)]
    # 19 links and the internet's VLAN are twenty: a pool with VLAN 400 in it holds no more links.
    wires = [(vms[0], vms[1], nic) for nic in NICS] + [(vms[2], vms[3], nic) for nic in NICS[:-1]]
    for first, second, nic in wires:
        menu.link(slice_id, first, f"eth{nic}", second, f"eth{nic}")
    menu.deploy(slice_id)
    menu.choose(5)
    before = {host: started(lab, host) for host in MOST}
    own = {host: started(lab, host) - count for host, count in before.items()}
    assert "problem: " not in menu.choose(5)
    count = {host: started(lab, host) - before[host] - 2 * own[host] for host in MOST}
    assert all(0 < count[host] <= most for host, most in MOST.items()), count
    menu.delete(slice_id)


def test_shells_wait_for_the_next_batch_and_end_with_the_menu(lab: Lab) -> None:
    menu = Menu(lab)
    number = menu.create_slice("short")
    menu.add_vm(number, "vm1")
    menu.delete(number)
    assert Shells(0, 1) in seen(lab)
    menu.close()
    wait_until(lambda: seen(lab) == {Shells(0, 0)}, "the end of all shells", IDLE_SECONDS / 2)


def seen(lab: Lab) -> set[Shells]:
    return {shells(lab, host) for host in HOSTS.values()}
