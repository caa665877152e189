"""VMs that cannot be added to a running slice cost their neighbours nothing."""

from __future__ import annotations

import json
import sys

import pytest

from lab import Lab
from tests.support.lab.visitor import Menu, traces

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("idle_guests")]

WORKERS = ("10.0.10.1", "10.0.10.2")

# Pids, and what replaces whole tables: the flows, nftables, and the filter in front of the shared DHCP server.
_STATE = r"""
for each in /run/ns-dhcp-vlan*/pid /home/ubuntu/vm_images/slice-*/*.pid; do echo "$each $(cat "$each")"; done
ip netns exec ns-dhcp-vlan400 iptables-save -t filter 2>/dev/null | grep -e '^-' -e '^:slice'
exit 0
"""


def state(lab: Lab) -> dict[str, str]:
    found = traces(lab)
    return {host: f"{text}\n{lab.exec(host, ['sh', '-c', _STATE]).stdout}" for host, text in found.items()}


@pytest.mark.parametrize("worker", WORKERS)
def test_a_failed_addition_leaves_running_neighbours_untouched(lab: Lab, menu: Menu, worker: str) -> None:
    slice_id = menu.create_slice("neighbours")
    one = menu.add_vm(slice_id, "one", 2, internet=True)
    two = menu.add_vm(slice_id, "two", 1, internet=True)
    menu.link(slice_id, one, "eth1", two, "eth1")
    menu.deploy(slice_id)
    before = state(lab)
    argv = [sys.executable, "-m", "tests.support.lab.addition", str(lab.database), str(slice_id), worker]
    said = json.loads(lab.run(argv).stdout)
    assert said["error"].startswith(f"{worker}: luck: ")
    assert len(said["between"]) == len(["process", "port"])
    assert said["back"] == []
    assert state(lab) == before
    menu.delete(slice_id)
