"""The next id of a slice, on data: its pool of VLANs is free, and holds all links of the slice."""

from __future__ import annotations

import pytest

from allocation.holdings import Holdings
from allocation.ids import next_slice_id
from core.errors import Refused

WITH_INTERNET = 1015
"""An id whose pool has VLAN 400."""


def held(*ids: int) -> list[Holdings]:
    """Return what slices with these ids hold."""
    none: frozenset[str] = frozenset()
    return [Holdings(slice_id, "one", 0, frozenset(), frozenset(), none, none, {}) for slice_id in ids]


@pytest.mark.parametrize(("links", "slice_id"), [(0, 1015), (19, 1015), (20, 1016)])
def test_a_pool_with_the_internet_is_skipped_by_a_slice_that_needs_all_vlans(links: int, slice_id: int) -> None:
    assert next_slice_id(WITH_INTERNET, [], links) == slice_id


def test_another_vlan_may_be_reserved() -> None:
    assert next_slice_id(1000, [], 20, reserved=105) == 1001


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
