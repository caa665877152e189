"""The next id of a slice, on data: its pool of VLANs is free, and holds all links of the slice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from allocation.holdings import Holdings, door
from allocation.ids import NoNumber, next_slice_id, next_vm_id, next_vnc_port
from allocation.taken import TakenBy, TakenNow
from core.errors import Refused
from core.names import mac_address

WITH_INTERNET = 1015
"""An id whose pool has VLAN 400."""


def held(*ids: int) -> TakenBy:
    """Return what slices with these ids hold."""
    none: frozenset[str] = frozenset()
    return TakenBy(Holdings(slice_id, "one", 0, frozenset(), frozenset(), none, none, {}) for slice_id in ids)


@pytest.mark.parametrize(("links", "slice_id"), [(0, 1015), (19, 1015), (20, 1016)])
def test_a_pool_with_the_internet_is_skipped_by_a_slice_that_needs_all_vlans(links: int, slice_id: int) -> None:
    assert next_slice_id(WITH_INTERNET, held(), links) == slice_id


def test_another_vlan_may_be_reserved() -> None:
    assert next_slice_id(1000, held(), 20, reserved=105) == 1001


@pytest.mark.parametrize(
    ("links", "ids", "sentence"),
    [
        (21, [], "A slice can have 20 links, and 21 are needed: use several slices"),
        (
            20,
            [slice_id for slice_id in range(1000, 1100) if slice_id != WITH_INTERNET],
            "No free pool of VLANs holds 20 links, as VLAN 400 is in it: delete a slice first",
        ),
        (0, [*range(1000, 1100)], "All 100 VLAN pools are in use: delete a slice first"),
    ],
)
def test_a_slice_without_a_pool_is_refused(links: int, ids: list[int], sentence: str) -> None:
    with pytest.raises(Refused) as refusal:
        next_slice_id(1000, held(*ids), links)
    assert str(refusal.value) == sentence


# --- Realms -----------------------------------------------------------------------------------------------------------


def of(realm: str, slice_id: int, *vm_ids: int, port: int = 5901, worker: str = "10.0.10.1") -> Holdings:
    """Return what a slice of a realm holds, with VMs that have one VNC port."""
    macs = frozenset(mac_address(vm_id, 0) for vm_id in vm_ids)
    doors = frozenset({door(worker, port)} if vm_ids else ())
    none: frozenset[str] = frozenset()
    ports = frozenset({port} if vm_ids else ())
    return Holdings(slice_id, "one", 0, frozenset(vm_ids), ports, macs, none, {}, realm, doors)


def test_pools_are_free_in_another_realm_and_ids_are_not() -> None:
    live = [of("", slice_id) for slice_id in range(1000, 1100)]
    assert next_slice_id(1000, TakenBy(live), realm="b") == 1100
    assert next_slice_id(1000, TakenBy([of("b", 1000)])) == 1001
    with pytest.raises(NoNumber, match="All 100 VLAN pools of realm b are in use"):
        next_slice_id(1000, TakenBy(replace(each, realm="b") for each in live), realm="b")


def test_macs_are_free_in_another_realm_and_ids_are_not() -> None:
    far = 1001 + 65_536
    taken = TakenBy([of("", 1000, 1001)])
    assert next_vm_id(far, taken) == far + 1
    assert next_vm_id(far, taken, "b") == far
    assert next_vm_id(1001, taken, "b") == 1002


def test_macs_of_a_vm_whose_eth0_was_edited_by_hand_come_to_no_other_vm() -> None:
    """Otherwise each new VM would be refused, as its `eth1` had a MAC of that VM."""
    far, none = 1001 + 65_536, frozenset[str]()
    edited = frozenset({"52:54:00:aa:bb:cc", mac_address(1001, 1)})
    vm = Holdings(1000, "one", 1, frozenset({1001}), frozenset({5901}), edited, none, {})
    assert next_vm_id(far, TakenBy([vm])) == far + 1
    given = Holdings(1000, "one", 1, frozenset({1001}), frozenset({5901}), frozenset({mac_address(1005, 2)}), none, {})
    assert next_vm_id(1005, TakenBy([given])) == 1006


@pytest.mark.parametrize(
    ("realm", "worker", "port"),
    [("", "10.0.10.9", 5902), ("b", "10.0.10.9", 5901), ("b", "10.0.10.1", 5902)],
)
def test_vnc_ports_are_free_in_another_realm_on_another_worker(realm: str, worker: str, port: int) -> None:
    assert next_vnc_port(TakenBy([of("", 1000, 1001)]), realm=realm, worker=worker) == port


@pytest.mark.parametrize(
    ("first", "second", "meet"), [("", "", True), ("b", "b", True), ("", "b", False), ("b", "c", False)]
)
def test_slices_of_two_realms_may_hold_the_same(first: str, second: str, meet: bool) -> None:
    one, other = of(first, 1000, 1001), of(second, 1100, 1001 + 65_536, worker="10.0.10.2")
    assert one.macs == other.macs
    assert TakenNow(TakenBy([other]), (), [one]).clashes is meet
    assert TakenNow(TakenBy([of(second, 1101, 1002)]), (), [one]).clashes  # one port of one worker
