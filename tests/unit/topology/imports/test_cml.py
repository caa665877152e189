"""Parts of public labs of CML: settings of switches and connectors, sizes of disks, long descriptions."""

from __future__ import annotations

import pytest

from tests.unit.topology.test_imports import FLAVORS
from topology.imports.convert import convert
from topology.reader import read

NODES = """\
- {id: n0, label: a, node_definition: nokia_srlinux, KEYS, interfaces: [{id: i0, label: e0, INTERFACE}]}
- {id: n1, label: out, node_definition: external_connector, configuration: CONNECTOR, interfaces: [{id: i0}]}
"""


def notices_of(
    keys: str = "x: 1", interface: str = "slot: 0", connector: str = "[]", lab: str = "title: t"
) -> list[str]:
    nodes = NODES.replace("KEYS", keys).replace("INTERFACE", interface).replace("CONNECTOR", connector)
    text, notices = convert(f"lab: {{{lab}}}\nnodes:\n{nodes}links: [{{n1: n0, i1: i0, n2: n1, i2: i0}}]\n", FLAVORS)
    assert read(text).vms[0].internet
    return notices


def test_a_lab_without_more_than_there_is_has_no_notices() -> None:
    assert notices_of("parameters: {}, cpu_limit: 100, data_volume: 0, boot_disk_size: null, tags: []") == []


@pytest.mark.parametrize(
    ("found", "notice"),
    [
        ({"keys": "cpu_limit: 50"}, "`cpu_limit` of nodes"),
        ({"keys": "data_volume: 20"}, "`data_volume` of nodes"),
        ({"keys": "boot_disk_size: 64"}, "`boot_disk_size` of nodes"),
        ({"keys": "pyats: {username: a}"}, "`pyats` of nodes"),
        ({"keys": "parameters: {a: b}"}, "`parameters` of nodes"),
        ({"connector": "bridge0"}, "`configuration` of nodes"),
        ({"connector": "[{name: default, content: NAT}]"}, "`configuration` of nodes"),
        ({"interface": "mac_address: '52:54:00:00:00:01'"}, "MACs of interfaces"),
        ({"lab": "title: t, node_staging: {enabled: true}"}, "`node_staging`"),
    ],
)
def test_what_has_no_counterpart_is_said(found: dict[str, str], notice: str) -> None:
    assert notices_of(**found) == [f"left out: {notice}"]


def test_a_description_that_is_cut_is_said() -> None:
    assert "the description is cut to 500 characters" in notices_of(lab=f"title: t, description: {'word ' * 120}")
    assert notices_of(lab=f"title: t, description: {'x' * 500}") == []
