"""Topologies of netlab (`topology.yml`, https://netlab.tools/topology-overview/)."""

from __future__ import annotations

from typing import Any

from topology.imports.builder import Attachment, Builder, Size
from topology.imports.source import items, mapping, number, text

_KEPT_OF_NODE = {"device", "name", "memory", "cpu", "id"}
_KEPT_OF_LINK = {"interfaces", "bandwidth", "type", "name", "linkindex"}
_KEPT = {"name", "nodes", "links", "defaults", "provider"}
_LINK_KEYS = {
    *("interfaces", "bandwidth", "type", "name", "prefix", "role", "bridge", "mtu", "disable", "group", "members"),
    *("ospf", "isis", "bgp", "eigrp", "vlan", "vrf", "pool", "gateway", "dhcp", "stp", "lag", "ra", "libvirt", "clab"),
}
"""Keys of a link that are no name of a node."""


def is_it(document: Any) -> bool:
    """Return whether the document looks like a topology of netlab."""
    return bool(mapping(document).get("nodes")) and "lab" not in document and "topology" not in document


def read(document: Any, builder: Builder) -> tuple[str, str]:
    """Add the nodes and links of the document; return name and description."""
    default = text(mapping(document.get("defaults")).get("device"))
    for name, keys in _nodes(document.get("nodes")).items():
        size = Size(number(keys.get("cpu"), 1024), number(keys.get("memory"), 1 << 30) / 1024)
        builder.node(name, name, text(keys.get("device")) or default, size)
        for key in sorted({*keys} - _KEPT_OF_NODE):
            builder.leave_out(f"`{key}` of nodes", name, keys[key])
    names = {*_nodes(document.get("nodes"))}
    links = document.get("links")
    for link in items(links) or [{"type": kind, **mapping(each)} for kind, each in mapping(links).items()]:
        _link(builder, link, names)
    for key in sorted({*document} - _KEPT):
        builder.leave_out(f"`{key}`", "the file", document[key])
    return text(document.get("name")), ""


def _nodes(value: Any) -> dict[str, dict[str, Any]]:
    if isinstance(value, dict):
        return {name: mapping(keys) for name, keys in value.items()}
    named = [{"name": each} if isinstance(each, str) else mapping(each) for each in items(value)]
    return {text(keys.get("name")): keys for keys in named if text(keys.get("name"))}


def _link(builder: Builder, link: Any, names: set[str]) -> None:
    if isinstance(link, str):
        ends: list[Attachment] = [(name, "") for name in _split(link, names)]
        builder.wire(ends)
        return
    if isinstance(link, list):
        builder.wire([(text(name) or text(mapping(name).get("node")), "") for name in link])
        return
    keys = mapping(link)
    if "members" in keys:
        for member in items(keys["members"]):
            _link(builder, member, names)
        return
    ends = [(text(mapping(end).get("node")) or text(end), "") for end in items(keys.get("interfaces"))]
    ends += [(name, "") for name in keys if name in names and name not in _KEPT_OF_LINK]
    where = ends[0][0] if ends else "a link"
    for key in sorted({*keys} & _LINK_KEYS - _KEPT_OF_LINK):
        builder.leave_out(f"`{key}` of links", where, keys[key])
    for name in sorted({*keys} & names):
        if keys[name]:
            builder.leave_out("settings of interfaces", name, keys[name])
    rate = number(keys.get("bandwidth"), 1e8)
    builder.wire(ends, {"rate": f"{rate:.0f}kbit"} if rate else {})


def _split(word: str, names: set[str]) -> list[str]:
    """Return the nodes of a link that is written as `r1-r2`; names may have hyphens themselves."""
    found: list[str] = []
    rest = word.replace(" ", "")
    while rest:
        fitting = [name for name in names if rest == name or rest.startswith(f"{name}-")]
        if not fitting:
            return [*found, *rest.split("-")]
        longest = max(fitting, key=len)
        found.append(longest)
        rest = rest[len(longest) + 1 :]
    return found
