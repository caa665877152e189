"""Parts of public projects of GNS3: switches with VLANs, second disks, and sizes that no flavor has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.topology.test_imports import FLAVORS
from topology.design import Design
from topology.imports.convert import convert
from topology.reader import read


def pc(name: str, **properties: Any) -> dict[str, Any]:
    return {"node_id": f"id-{name}", "name": name, "node_type": "vpcs", "properties": properties}


def switch(*ports: tuple[str, int]) -> dict[str, Any]:
    mapped = [{"name": f"e{port}", "port_number": port, "type": kind, "vlan": vlan} for port, (kind, vlan) in
              enumerate(ports)]  # fmt: skip
    return {"node_id": "sw", "name": "SW", "node_type": "ethernet_switch", "properties": {"ports_mapping": mapped}}


def project(*nodes: dict[str, Any], links: list[tuple[str, int, str]] = []) -> tuple[Design, list[str]]:  # noqa: B006
    written = [
        {"link_id": f"l{port}", "nodes": [{"node_id": a, "port_number": port}, {"node_id": b, "port_number": 0}]}
        for a, port, b in links
    ]
    text, notices = convert(
        json.dumps({"revision": 9, "variables": [{"name": "x"}], "topology": {"nodes": nodes, "links": written}}),
        FLAVORS,
    )
    return read(text), notices


def ends_of(design: Design) -> list[list[str]]:
    return [[end.vm for end in link.ends] for link in design.links]


WIRES = [("sw", port, f"id-{name}") for port, name in enumerate("abcd")]
PCS = [pc(name) for name in "abcd"]


def test_each_vlan_of_a_switch_with_access_ports_is_a_lan() -> None:
    design, notices = project(
        *PCS, switch(("access", 10), ("access", 20), ("access", 10), ("access", 20), ("dot1q", 1)), links=WIRES
    )
    assert ends_of(design) == [["a", "c"], ["b", "d"]]
    assert not [notice for notice in notices if "VLAN" in notice]


def test_a_switch_with_a_trunk_is_one_lan_and_that_is_said() -> None:
    design, notices = project(*PCS, switch(("dot1q", 1), ("access", 20), ("access", 10), ("access", 20)), links=WIRES)
    assert ends_of(design) == [["a", "b", "c", "d"]]
    assert "left out: VLANs of switches with trunks" in notices
    assert "a switch with trunks is one LAN for all its ports" in notices


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kernel_command_line", "quiet"),
        ("cdrom_image", "tools.iso"),
        ("hdb_disk_image", "data.qcow2"),
        ("extra_hosts", "a:10.0.0.1"),
        ("mac_address", "0c:00:00:00:00:01"),
        ("usage", "user and password are lab"),
    ],
)
def test_a_property_without_a_counterpart_is_said(name: str, value: str) -> None:
    assert f"left out: `{name}` of nodes" in project(pc("a", **{name: value}))[1]
    assert f"left out: `{name}` of nodes" not in project(pc("a", **{name: ""}))[1]


def test_variables_of_a_project_are_said() -> None:
    assert "left out: `variables`" in project(pc("a"))[1]


def test_a_size_that_no_flavor_has_is_said() -> None:
    design, notices = project(pc("a", ram=65536, cpus=2), pc("b", ram=512))
    assert [vm.flavor for vm in design.vms] == ["cirros", "ubuntu"]
    assert "left out: cores and memory that no flavor has" in notices
    assert "left out: cores and memory that no flavor has" not in project(pc("b", ram=512))[1]


def test_changed_names_are_said_once_and_each_is_a_comment() -> None:
    nodes = [pc("R.1"), pc("R.2")]
    text, notices = convert(json.dumps({"revision": 10, "topology": {"nodes": nodes, "links": []}}), FLAVORS)
    changed = [notice for notice in notices if "names" in notice]
    assert changed == ['names that a VM cannot have are changed, such as "R.1" to R-1']
    assert '# the name "R.1" is R-1 here\n# the name "R.2" is R-2 here\n' in text


def test_a_link_that_is_left_out_names_its_nodes_and_not_their_keys() -> None:
    nodes = [pc("a"), {"node_id": "fr", "name": "FR1", "node_type": "frame_relay_switch", "properties": {}}]
    link = {"link_id": "l", "nodes": [{"node_id": "id-a"}, {"node_id": "fr"}]}
    text, _ = convert(json.dumps({"revision": 9, "topology": {"nodes": nodes, "links": [link]}}), FLAVORS)
    assert 'links with fewer than two VMs of "a": [["a", "/"], ["fr", "/"]]' in text
