"""Projects of GNS3 (`*.gns3`, revisions 9 and 10 of their JSON files)."""

from __future__ import annotations

from typing import Any

from core.errors import Refused
from topology.imports.builder import Builder, ForeignSize
from topology.imports.source import items, mapping, number, several, text

REVISIONS = ("9", "10")
_SWITCHES = {"ethernet_switch", "ethernet_hub"}
_OUTSIDE = {"nat", "cloud"}
_NO_ETHERNET = {"frame_relay_switch", "atm_switch"}


def is_it(document: Any) -> bool:
    """Return whether the document looks like a project of GNS3."""
    return "revision" in mapping(document) and "topology" in document


def read(document: Any, builder: Builder) -> tuple[str, str]:
    """Add the nodes and links of the document; return name and description."""
    if text(document.get("revision")) not in REVISIONS:
        raise Refused("the project is not of revision 9 or 10; open it in GNS3 2.2 or newer and save it")
    topology = mapping(document.get("topology"))
    for node in map(mapping, items(topology.get("nodes"))):
        _node(builder, node)
    for link in map(mapping, items(topology.get("links"))):
        _link(builder, link)
    if topology.get("drawings"):
        builder.leave_out("drawings", "the file", len(items(topology["drawings"])))
    return text(document.get("name")), ""


def _node(builder: Builder, node: dict[str, Any]) -> None:
    key, kind, name = text(node.get("node_id")), text(node.get("node_type")), text(node.get("name"))
    properties = mapping(node.get("properties"))
    if kind in _SWITCHES:
        builder.segment(key)
        ports = [mapping(port) for port in items(properties.get("ports_mapping"))]
        used = {(text(port.get("type")) or "access", text(port.get("vlan")) or "1") for port in ports}
        if used - {("access", "1")}:
            builder.leave_out("VLANs of switches", name, properties["ports_mapping"])
    elif kind in _OUTSIDE:
        builder.way_out(key)
    elif kind in _NO_ETHERNET:
        builder.leave_out(f"nodes of the type {kind}", name, properties)
    else:
        size = ForeignSize(number(properties.get("cpus"), 1024), number(properties.get("ram"), 1 << 30) / 1024)
        builder.node(key, name, kind, size)
        for setting in ("environment", "options", "startup_config_content", "start_command", "extra_volumes"):
            if properties.get(setting):
                builder.leave_out(f"`{setting}` of nodes", name, properties[setting])


def _link(builder: Builder, link: dict[str, Any]) -> None:
    ends = []
    for end in map(mapping, items(link.get("nodes"))):
        label = text(mapping(end.get("label")).get("text"))
        place = f"{text(end.get('adapter_number'))}/{text(end.get('port_number'))}"
        ends.append((text(end.get("node_id")), label or place))
    filters = mapping(link.get("filters"))
    where = text(link.get("link_id"))
    delay, jitter, *_ = [*several(filters.get("delay")), "", ""]
    loss, *_ = [*several(filters.get("packet_loss")), ""]
    impairments = builder.impairments(where, delay=delay, jitter=jitter, loss=loss)
    for name in sorted({*filters} - {"delay", "packet_loss"}):
        builder.leave_out(f"`{name}` filters of links", where, filters[name])
    builder.wire(ends, impairments, "down" if text(link.get("suspend")) == "true" else "up")
