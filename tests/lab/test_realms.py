"""Two realms on real hosts that share a worker: the same VLAN, addresses and MACs in both, on a bridge for each.

Realm `b` has the second worker as its network node, and a wire of its own to it: ens5 of both hosts.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from database import Database
from lab import Lab
from tests.lab.test_drift import cli, codes
from tests.support.lab.visitor import Guest, Menu, empty_database, traces

pytestmark = pytest.mark.lab

BRIDGE, WIRE = "br-int-b", "ens5"
SHARED, NODE = ("worker1", "10.0.10.1"), ("worker2", "10.0.10.2")
SECOND, VMS = 66_600, ("r1", "r2")
PATCH = (("br-int", "patch-a", "patch-b"), (BRIDGE, "patch-b", "patch-a"))


def two_realms(record: dict[str, Any]) -> None:
    record["workers_list"] = [SHARED[1]]
    record["realms"] = {"b": {"network_node": NODE[1], "workers_list": [SHARED[1]], "bridge": BRIDGE}}


@pytest.fixture(scope="module")
def wired(lab: Lab, home: Path) -> Iterator[Path]:
    """Give the hosts of realm b their bridge and its wire; return the database."""
    first, second = (str(lab.node(name).pid) for name, _ in (SHARED, NODE))
    pair = ["ip", "link", "add", WIRE, "netns", first, "type", "veth", "peer", "name", WIRE, "netns", second]
    subprocess.run(pair, check=True)
    bridge = ["add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev", "--", "add-port", BRIDGE, WIRE]
    for host, _ in (SHARED, NODE):
        lab.exec(host, ["ip", "link", "set", WIRE, "up"])
        lab.exec(host, ["ovs-vsctl", "--timeout=20", *bridge])
    yield empty_database(lab, home / "realms.yaml", two_realms)
    for host, _ in (SHARED, NODE):
        lab.exec(host, ["ovs-vsctl", "--timeout=20", "del-br", BRIDGE])
    lab.exec(SHARED[0], ["ip", "link", "del", WIRE])


@dataclass(frozen=True)
class Realms:
    """A slice of two VMs in each realm, whose VMs have the same MACs."""

    lab: Lab
    database: Path
    menu: Menu
    slices: tuple[int, int]

    def guests(self, slice_id: int) -> dict[str, Guest]:
        return {name: Guest(self.lab, slice_id, vm) for name, vm in self.menu.topology(slice_id).items()}

    def cli(self, *words: str) -> tuple[int, str]:
        return cli(self.lab, *words, database=self.database)


def count_from(database: Path, number: int) -> None:
    with Database(database).transaction() as state:
        state.next_vm_id = number


@pytest.fixture(scope="module")
def realms(lab: Lab, wired: Path) -> Iterator[Realms]:
    """Deploy a line of two VMs in each realm; the ids of their VMs are 65,536 apart, and so the MACs are the same."""
    menu = Menu(lab, "admin", wired)
    warm = menu.create_slice("warm")
    menu.add_vm(warm, "brings")  # the base image
    menu.delete(warm)
    before = traces(lab)
    count_from(wired, 1000)
    first = menu.create_slice("main")
    count_from(wired, SECOND + 1 - 65_536)
    ids = [menu.add_vm(first, name, 2) for name in VMS]
    menu.link(first, ids[0], "eth1", ids[1], "eth1")
    count_from(wired, SECOND)
    created = cli(lab, "create", "--template", "line:2", "--name", "b", "--realm", "b", database=wired)
    assert f"Slice created! ID: {SECOND}" in created[1]
    for slice_id in (first, SECOND):
        menu.deploy(slice_id)
    yield Realms(lab, wired, menu, (first, SECOND))
    for slice_id in (first, SECOND):
        menu.delete(slice_id)
    menu.close()
    assert traces(lab) == before


def test_guests_of_both_realms_get_the_same_addresses_from_nodes_of_their_own(realms: Realms) -> None:
    own, other = (realms.menu.topology(slice_id) for slice_id in realms.slices)
    for name in VMS:
        first, second = own[name], other[name]
        assert first.vm_id + 65_536 == second.vm_id
        assert (first.vlans, first.macs, first.addresses) == (second.vlans, second.macs, second.addresses)
    for slice_id in realms.slices:
        guests, shown = realms.guests(slice_id), realms.menu.topology(slice_id)
        assert guests["r1"].reaches(shown["r2"].addresses["eth1"])
        assert guests["r1"].reaches("192.168.100.1")
        for guest in guests.values():
            guest.console.close()
    no_internet = {"uplink-unrouted"}  # a worker of the lab has no way out, and these slices ask for none
    assert codes(realms.lab, database=realms.database) <= no_internet
    assert realms.cli("prove")[0] == 0


def test_the_proof_finds_a_patch_between_the_realms(realms: Realms) -> None:
    host = SHARED[0]
    for bridge, port, peer in PATCH:
        ends = ["add-port", bridge, port, "--", "set", "interface", port, "type=patch", f"options:peer={peer}"]
        realms.lab.exec(host, ["ovs-vsctl", "--timeout=20", *ends])
    try:
        status, said = realms.cli("prove")
        assert (status, SHARED[1] in said) == (1, True), said
    finally:
        for bridge, port, _ in PATCH:
            realms.lab.exec(host, ["ovs-vsctl", "--timeout=20", "del-port", bridge, port])
    assert realms.cli("prove")[0] == 0
