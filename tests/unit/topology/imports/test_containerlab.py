"""Parts of public topologies of containerlab: settings of ends, and links that are no wires."""

from __future__ import annotations

import pytest

from tests.unit.topology.test_imports import FLAVORS
from topology.imports.convert import convert
from topology.reader import read

ENDS = "endpoints: [{node: a, interface: eth1SETTINGS}, {node: b, interface: eth1}]"


def notices_of(links: str, rest: str = "") -> list[str]:
    nodes = "{a: {kind: nokia_srlinux}, b: {kind: nokia_srlinux}}"
    text, notices = convert(f"name: x\n{rest}topology: {{nodes: {nodes}, links: {links}}}\n", FLAVORS)
    assert read(text).vms
    return notices


@pytest.mark.parametrize("setting", ["mac: '02:00:00:00:00:01'", "vars: {ipv4: 10.0.0.1/24}", "ipv4: 10.0.0.1/24"])
def test_settings_of_ends_are_said(setting: str) -> None:
    assert notices_of(f"[{{type: veth, {ENDS.replace('SETTINGS', f', {setting}')}}}]") == [
        "left out: settings of interfaces"
    ]


@pytest.mark.parametrize("kind", ["dummy", "vxlan", "vxlan-stitch"])
def test_a_link_that_is_no_wire_of_the_lab_is_said_by_its_type(kind: str) -> None:
    link = f"{{type: {kind}, endpoint: {{node: a, interface: eth1}}, remote: 10.0.0.1, vni: 7}}"
    assert notices_of(f"[{link}]") == [f"left out: links of the type {kind}"]


def test_other_keys_of_links_and_of_the_file_are_said() -> None:
    link = f"{{{ENDS.replace('SETTINGS', '')}, bandwidth: 10}}"
    assert notices_of(f"[{link}]", "debug: true\n") == ["left out: `debug`", "left out: `bandwidth` of links"]


@pytest.mark.parametrize("key", ["type: ixrd3", "labels: {graph-icon: router}"])
def test_the_type_and_labels_of_a_node_are_said(key: str) -> None:
    _, notices = convert(f"topology: {{nodes: {{a: {{kind: nokia_srlinux, {key}}}}}}}\n", FLAVORS)
    assert notices == [f"left out: `{key.partition(':')[0]}` of nodes"]


def test_a_link_to_the_host_leads_out_and_has_no_notice() -> None:
    assert notices_of("[{type: host, host-interface: x, endpoint: {node: a, interface: eth1}}]") == []
