"""Labs of Cisco Modeling Labs, versions 0.0.3 to 0.3 of their YAML files."""

from __future__ import annotations

from typing import Any

from topology.imports.builder import Builder, ForeignSize
from topology.imports.source import items, mapping, number, text

_SWITCHES = {"unmanaged_switch"}
_OUTSIDE = {"external_connector"}
_KEPT_OF_NODE = {
    *("id", "label", "node_definition", "x", "y", "interfaces", "ram", "cpus", "hide_links", "image_definition"),
    *("priority", "compute_id"),
}
_KEPT_OF_LAB = {"title", "description", "version", "timestamp", "owner", "created", "modified"}
_UNSET = {"cpu_limit": "100", "data_volume": "0", "boot_disk_size": "0"}
"""Setting of a node -> the value with which it says nothing."""
_KEPT_OF_CONDITIONS = {"bandwidth", "latency", "jitter", "loss", "enabled"}


def is_it(document: Any) -> bool:
    """Return whether the document looks like a lab of CML."""
    return "lab" in mapping(document) and bool(items(mapping(document).get("nodes")))


def read(document: Any, builder: Builder) -> tuple[str, str]:
    """Add the nodes and links of the document; return title and description."""
    interfaces: dict[tuple[str, str], str] = {}
    for node in map(mapping, items(document.get("nodes"))):
        _node(builder, node, interfaces)
    for link in map(mapping, items(document.get("links"))):
        _link(builder, link, interfaces)
    lab = mapping(document.get("lab"))
    remarks = [*document.items(), *((name, lab[name]) for name in sorted({*lab} - _KEPT_OF_LAB))]
    for name, value in remarks:
        if name not in {"lab", "nodes", "links"} and value:
            builder.leave_out(f"`{name}`", "the file", value)
    return text(lab.get("title")), text(lab.get("description"))


def _node(builder: Builder, node: dict[str, Any], interfaces: dict[tuple[str, str], str]) -> None:
    key, kind, label = text(node.get("id")), text(node.get("node_definition")), text(node.get("label"))
    if kind in _SWITCHES:
        builder.segment(key)
    elif kind in _OUTSIDE:
        builder.way_out(key)
    else:
        size = ForeignSize(number(node.get("cpus"), 1024), number(node.get("ram"), 1 << 30) / 1024)
        builder.node(key, label, kind, size)
    for interface in map(mapping, items(node.get("interfaces"))):
        interfaces[key, text(interface.get("id"))] = text(interface.get("label"))
        if interface.get("mac_address"):
            builder.leave_out("MACs of interfaces", label, interface["mac_address"])
    for name in sorted({*node} - _KEPT_OF_NODE):
        if node[name] and node[name] != _UNSET.get(name):
            builder.leave_out(f"`{name}` of nodes", label, node[name])


def _link(builder: Builder, link: dict[str, Any], interfaces: dict[tuple[str, str], str]) -> None:
    ends = []
    for node, interface in (("n1", "i1"), ("n2", "i2")):
        key = text(link.get(node))
        ends.append((key, interfaces.get((key, text(link.get(interface))), "")))
    conditions = mapping(link.get("conditioning"))
    where = text(link.get("id"))
    for name in sorted({*conditions} - _KEPT_OF_CONDITIONS):
        builder.leave_out(f"`{name}` of conditioned links", where, conditions[name])
    if text(conditions.get("enabled")) == "false":
        conditions = {}
    impairments = builder.impairments(
        where,
        rate=conditions.get("bandwidth"),
        delay=conditions.get("latency"),
        jitter=conditions.get("jitter"),
        loss=conditions.get("loss"),
    )
    builder.wire(ends, impairments)
