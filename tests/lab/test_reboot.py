"""Hosts that reboot under a running slice: the guests of the other hosts go on, and one repair brings back the rest."""

from __future__ import annotations

import pytest

from lab import Lab
from tests.lab.test_drift import Pair, expect_drift
from tests.support.lab.visitor import Guest, Menu, wait_until

pytestmark = pytest.mark.lab

REBOOTED = (
    {"qemu-dead", "tap-missing", "flows-missing", "namespace-missing", "dnsmasq-dead", "address-missing",
     "rules-missing", "filter-missing", "reservations-missing", "forwarding-off", "stack-open"},
    {"drop before the IP stack", "TAPs (ETH0, ETH1, ETH2)", "TAPs up (ETH0, ETH1)",
     "QEMU (one)", "start of the guests (one)", "port security of the TAPs",
     "namespaces of the slice", "gateways of the VLANs (NUMBER)", "DHCP of the VLANs (NUMBER)", "internet on VLAN 400"},
)  # fmt: skip


def test_a_guest_on_another_worker_survives_a_reboot_and_reaches_its_neighbour_again(lab: Lab, menu: Menu) -> None:
    """Reboot a worker and the network node; the other guest's uptime proves that it was not touched."""
    pair = Pair(lab, menu, "reboot")
    two = Guest(lab, pair.slice_id, pair.vms["two"])
    up = float(two.run("cut -d ' ' -f 1 /proc/uptime"))

    def reboot(pair: Pair) -> None:
        for host in ("worker1", "network"):
            pair.lab.stop_host(host)
            pair.lab.start_host(host)

    expect_drift(pair, reboot, *REBOOTED)
    address = pair.vms["one"].addresses["eth1"]
    wait_until(lambda: two.succeeds(f"ping -c 1 -W 2 {address}"), "the restarted guest", 90)
    assert two.reaches("8.8.8.8")
    assert float(two.run("cut -d ' ' -f 1 /proc/uptime")) > up
    two.console.close()
    menu.delete(pair.slice_id)
