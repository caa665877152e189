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
_SETTINGS = (
    *("environment", "options", "startup_config_content", "start_command", "extra_volumes", "extra_hosts"),
    *("cdrom_image", "hdb_disk_image", "hdc_disk_image", "hdd_disk_image", "kernel_command_line", "mac_address"),
    "usage",
)
Ports = dict[tuple[str, str], str]
"""A port of a switch with VLANs, by the switch's key and the port's number -> the key of its VLAN's segment."""


def is_it(document: Any) -> bool:
    """Return whether the document looks like a project of GNS3."""
    return "revision" in mapping(document) and "topology" in document


def read(document: Any, builder: Builder) -> tuple[str, str]:
    """Add the nodes and links of the document; return name and description."""
    if text(document.get("revision")) not in REVISIONS:
        raise Refused("the project is not of revision 9 or 10; open it in GNS3 2.2 or newer and save it")
    topology = mapping(document.get("topology"))
    links = [mapping(link) for link in items(topology.get("links"))]
    wired = {_port(end) for link in links for end in map(mapping, items(link.get("nodes")))}
    ports: Ports = {}
    for node in map(mapping, items(topology.get("nodes"))):
        _node(builder, node, wired, ports)
    for link in links:
        _link(builder, link, ports)
    if topology.get("drawings"):
        builder.leave_out("drawings", "the file", len(items(topology["drawings"])))
    if document.get("variables"):
        builder.leave_out("`variables`", "the file", document["variables"])
    return text(document.get("name")), ""


def _node(builder: Builder, node: dict[str, Any], wired: set[tuple[str, str]], ports: Ports) -> None:
    key, kind, name = text(node.get("node_id")), text(node.get("node_type")), text(node.get("name"))
    properties = mapping(node.get("properties"))
    if kind in _SWITCHES:
        _switch(builder, node, wired, ports)
    elif kind in _OUTSIDE:
        builder.way_out(key)
    elif kind in _NO_ETHERNET:
        builder.leave_out(f"nodes of the type {kind}", name, properties)
    else:
        size = ForeignSize(number(properties.get("cpus"), 1024), number(properties.get("ram"), 1 << 30) / 1024)
        builder.node(key, name, kind, size)
        for setting in _SETTINGS:
            if properties.get(setting):
                builder.leave_out(f"`{setting}` of nodes", name, properties[setting])


def _switch(builder: Builder, node: dict[str, Any], wired: set[tuple[str, str]], ports: Ports) -> None:
    """Add a switch: a segment for each VLAN of its access ports, or one segment where a trunk is wired."""
    key = text(node.get("node_id"))
    used = {
        (key, text(port.get("port_number"))): (text(port.get("type")) or "access", text(port.get("vlan")) or "1")
        for port in map(mapping, items(mapping(node.get("properties")).get("ports_mapping")))
        if (key, text(port.get("port_number"))) in wired
    }
    if any(kind != "access" for kind, _ in used.values()):
        modes = {number: f"{kind} {vlan}" for (_, number), (kind, vlan) in used.items()}
        builder.leave_out("VLANs of switches with trunks", text(node.get("name")), modes)
        builder.notice("a switch with trunks is one LAN for all its ports")
        builder.segment(key)
        return
    if len({*used.values()}) < 2:
        builder.segment(key)
        return
    for place, (_, vlan) in used.items():
        ports[place] = f"{key} {vlan}"
        builder.segment(ports[place])


def _port(end: dict[str, Any]) -> tuple[str, str]:
    return text(end.get("node_id")), text(end.get("port_number"))


def _link(builder: Builder, link: dict[str, Any], ports: Ports) -> None:
    ends = []
    for end in map(mapping, items(link.get("nodes"))):
        label = text(mapping(end.get("label")).get("text"))
        place = f"{text(end.get('adapter_number'))}/{text(end.get('port_number'))}"
        ends.append((ports.get(_port(end), text(end.get("node_id"))), label or place))
    filters = mapping(link.get("filters"))
    where = text(link.get("link_id"))
    delay, jitter, *_ = [*several(filters.get("delay")), "", ""]
    loss, *_ = [*several(filters.get("packet_loss")), ""]
    impairments = builder.impairments(where, delay=delay, jitter=jitter, loss=loss)
    for name in sorted({*filters} - {"delay", "packet_loss"}):
        builder.leave_out(f"`{name}` filters of links", where, filters[name])
    builder.wire(ends, impairments, "down" if text(link.get("suspend")) == "true" else "up")
