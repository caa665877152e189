"""Topologies of containerlab (`*.clab.yml`, https://containerlab.dev/manual/topo-def-file/)."""

from __future__ import annotations

import re
from typing import Any

from topology.imports.builder import Attachment, Builder, ForeignSize
from topology.imports.source import mapping, number, several, text

_BRIDGES = {"bridge", "ovs-bridge"}
_OUTSIDE = {"host", "mgmt-net", "macvlan"}
_NO_WIRES = {"dummy", "vxlan", "vxlan-stitch"}
_KEPT = {"kind", "image", "group", "cpu", "memory"}
_KEPT_OF_LINK = {"endpoints", "endpoint", "type", "host-interface"}
_UNITS = {"": 1 / (1 << 30), "b": 1 / (1 << 30), "kb": 1 / (1 << 20), "mb": 1 / 1024, "gb": 1.0}


def is_it(document: Any) -> bool:
    """Return whether the document looks like a topology of containerlab."""
    return bool(mapping(mapping(mapping(document).get("topology")).get("nodes")))


def read(document: Any, builder: Builder) -> tuple[str, str]:
    """Add the nodes and links of the document; return name and description."""
    topology = mapping(mapping(document).get("topology"))
    for key, value in mapping(document).items():
        if key not in {"name", "topology"} and value:
            builder.leave_out(f"`{key}`", "the file", value)
    for name, own in mapping(topology.get("nodes")).items():
        _node(builder, name, _inherited(topology, mapping(own)))
    for link in several(topology.get("links")):
        _link(builder, link)
    return text(mapping(document).get("name")), ""


def _inherited(topology: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a node: its own, those of its group, of its kind, and the defaults, in this order."""
    defaults = mapping(topology.get("defaults"))
    group = mapping(mapping(topology.get("groups")).get(text(own.get("group"))))
    kind = text(own.get("kind") or group.get("kind") or defaults.get("kind"))
    return {**defaults, **mapping(mapping(topology.get("kinds")).get(kind)), **group, **own, "kind": kind}


def _node(builder: Builder, name: str, keys: dict[str, Any]) -> None:
    kind = text(keys["kind"])
    if kind in _BRIDGES:
        builder.segment(name)
        return
    builder.node(name, name, kind, ForeignSize(number(keys.get("cpu"), 1024), _gigabytes(text(keys.get("memory")))))
    for key, value in keys.items():
        if key not in _KEPT and value:
            builder.leave_out(f"`{key}` of nodes", name, value)


def _gigabytes(memory: str) -> float:
    found = re.fullmatch(r"\s*([0-9]{1,12}(?:\.[0-9]+)?)\s*([kmg]?i?b?)\s*", memory.lower())
    if not found:
        return 0.0
    unit = found[2].replace("i", "")
    return float(found[1]) * _UNITS.get(unit if unit.endswith("b") or not unit else f"{unit}b", 0.0)


def _link(builder: Builder, written: Any) -> None:
    link = {"endpoints": written} if isinstance(written, list) else mapping(written)
    ends = [_end(builder, end) for key in ("endpoints", "endpoint") for end in several(link.get(key))]
    if text(link.get("type")) in _NO_WIRES:
        builder.leave_out(f"links of the type {link['type']}", ends[0][0] if ends else "the file", written)
        return
    if not ends:
        builder.leave_out("links without `endpoints`", "the file", written)
        return
    if text(link.get("type")) in _OUTSIDE:
        ends.append((text(link["type"]), ""))
    for key, _ in ends:
        if key in _OUTSIDE:
            builder.way_out(key)
    for key, value in link.items():
        if key not in _KEPT_OF_LINK and value:
            builder.leave_out(f"`{key}` of links", ends[0][0], value)
    builder.wire(ends)


def _end(builder: Builder, end: Any) -> Attachment:
    if isinstance(end, dict):
        if {*end} - {"node", "interface"}:
            builder.leave_out("settings of interfaces", text(end.get("node")), end)
        return text(end.get("node")), text(end.get("interface"))
    node, _, interface = text(end).partition(":")
    return node, interface
