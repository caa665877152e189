"""Leafs and spines of netlab's fabrics are nodes and links of the design; nothing in them is evaluated."""

from __future__ import annotations

import pytest

from core.errors import Refused
from tests.unit.topology.test_imports import FLAVORS
from topology.design import Design
from topology.imports.convert import convert
from topology.reader import read


def converted(text: str) -> tuple[Design, list[str]]:
    written, notices = convert(text, FLAVORS, "netlab")
    return read(written), notices


def ends_of(design: Design) -> list[str]:
    return ["-".join(end.vm for end in link.ends) for link in design.links]


def test_a_fabric_has_a_link_between_each_leaf_and_each_spine() -> None:
    design, notices = converted("fabric: {leafs: 2, spines: 2}\nnodes: [h]\nlinks: [h-L1]\n")
    assert [vm.name for vm in design.vms] == ["L1", "L2", "S1", "S2", "h"]
    assert ends_of(design) == ["L1-S1", "L1-S2", "L2-S1", "L2-S2", "h-L1"]
    assert notices == []


def test_names_devices_and_groups_of_layers_are_kept() -> None:
    design, notices = converted(
        "fabric: {leafs: 2, spines: 1, spine.device: nokia_srlinux, leaf.name: 'l{count}', leaf.bgp.as: '{count}'}\n"
        "groups: {leafs: {device: nokia_srlinux, module: [x]}}\nnodes: {l2: {memory: 1024, device: x}}\n"
    )
    assert {vm.name: vm.flavor for vm in design.vms} == {"l1": "router", "l2": "ubuntu", "S1": "router"}
    assert [notice for notice in notices if notice.startswith("left out")] == [
        "left out: `module` of groups",
        "left out: `fabric`",
    ]


@pytest.mark.parametrize("name", ["'{count.__class__}'", "'{count!r}{count}'", "x"])
def test_the_name_of_a_node_is_no_expression(name: str) -> None:
    design, _ = converted(f"fabric: {{leafs: 1, spines: 1, leaf.name: {name}}}\n")
    assert len(design.vms) == 2


@pytest.mark.parametrize("count", ["1001", "999999999"])
def test_a_fabric_with_too_many_nodes_is_refused(count: str) -> None:
    with pytest.raises(Refused, match="more than 1000 nodes"):
        converted(f"fabric: {{leafs: {count}, spines: 1}}\n")


@pytest.mark.parametrize("count", ["many", "-1", "nan", "1e300", "[2]"])
def test_a_number_of_leafs_that_is_none_is_1(count: str) -> None:
    assert len(converted(f"fabric: {{leafs: {count}, spines: 1}}\n")[0].vms) == 2
