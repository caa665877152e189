"""Topologies of netlab (`topology.yml`, https://netlab.tools/topology-overview/)."""

from __future__ import annotations

from typing import Any

from topology.imports.builder import Attachment, Builder, ForeignSize
from topology.imports.source import items, mapping, number, text

_KEPT_OF_NODE = {"device", "name", "memory", "cpu", "id"}
_KEPT_OF_LINK = {"interfaces", "bandwidth", "type", "name", "linkindex"}
_OF_GROUP = {"device", "memory", "cpu"}
_KEPT = {"name", "nodes", "links", "groups", "defaults", "provider"}
_MOST_DOTS = 5
"""Dots of a key that are unfolded; more would nest values too deep."""


def is_it(document: Any) -> bool:
    """Return whether the document looks like a topology of netlab."""
    return bool(mapping(document).get("nodes")) and "lab" not in document and "topology" not in document


def read(document: Any, builder: Builder) -> tuple[str, str]:
    """Add the nodes and links of the document; return name and description."""
    document = _unfolded(document)
    nodes = _nodes(document.get("nodes"))
    _apply_groups(builder, mapping(document.get("groups")), nodes)
    default = text(mapping(document.get("defaults")).get("device"))
    for name, keys in nodes.items():
        size = ForeignSize(number(keys.get("cpu"), 1024), number(keys.get("memory"), 1 << 30) / 1024)
        builder.node(name, name, text(keys.get("device")) or default, size)
        for key in sorted({*keys} - _KEPT_OF_NODE):
            builder.leave_out(f"`{key}` of nodes", name, keys[key])
    names = {*nodes}
    links = document.get("links")
    for link in items(links) or [{"type": kind, **mapping(each)} for kind, each in mapping(links).items()]:
        _link(builder, link, names)
    for key in sorted({*document} - _KEPT):
        builder.leave_out(f"`{key}`", "the file", document[key])
    return text(document.get("name")), ""


def _unfolded(value: Any) -> Any:
    """Return a value with its dotted keys as nested mappings: `defaults.device: frr` as `defaults: {device: frr}`."""
    if isinstance(value, list):
        return [_unfolded(each) for each in value]
    if not isinstance(value, dict):
        return value
    unfolded: dict[str, Any] = {}
    for key, inner in value.items():
        *outer, last = key.split(".", _MOST_DOTS)
        nested = {last: _unfolded(inner)}
        for part in reversed(outer):
            nested = {part: nested}
        _merge(unfolded, nested)
    return unfolded


def _merge(target: dict[str, Any], added: dict[str, Any]) -> None:
    """Add a mapping to another, at each depth; a value that is no mapping replaces the older one."""
    for key, value in added.items():
        old = target.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            _merge(old, value)
        else:
            target[key] = value


def _apply_groups(builder: Builder, groups: dict[str, Any], nodes: dict[str, dict[str, Any]]) -> None:
    """Give each node the device, memory and CPUs of its groups where it has none of its own."""
    for group, written in groups.items():
        keys = {"members": written} if isinstance(written, list) else mapping(written)
        shared = {key: keys[key] for key in sorted({*keys} & _OF_GROUP)}
        for member in map(text, items(keys.get("members"))):
            if member not in nodes:
                builder.leave_out("members of groups that are no nodes", group, member)
                continue
            for key, value in shared.items():
                nodes[member].setdefault(key, value)
        for key in sorted({*keys} - _OF_GROUP - {"members"}):
            builder.leave_out(f"`{key}` of groups", group, keys[key])
        if shared and not items(keys.get("members")):
            builder.leave_out("groups without members", group, written)


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
        builder.wire([_end(builder, end) for end in link])
        return
    keys = mapping(link)
    if "members" in keys:
        for key in sorted({*keys} - {"members", "group"}):
            builder.leave_out(f"`{key}` of groups of links", text(keys.get("group")) or "a group", keys[key])
        for member in items(keys["members"]):
            _link(builder, member, names)
        return
    ends = [_end(builder, end) for end in items(keys.get("interfaces"))]
    ends += [(name, "") for name in keys if name in names and name not in _KEPT_OF_LINK]
    where = ends[0][0] if ends else "a link"
    for key in sorted({*keys} - names - _KEPT_OF_LINK):
        builder.leave_out(f"`{key}` of links", where, keys[key])
    for name in sorted({*keys} & names - _KEPT_OF_LINK):
        if keys[name]:
            builder.leave_out("settings of interfaces", name, keys[name])
    builder.wire(ends, builder.impairments(where, rate=keys.get("bandwidth")))


def _end(builder: Builder, end: Any) -> Attachment:
    keys = mapping(end)
    name = text(end) or text(keys.get("node"))
    if {*keys} - {"node"}:
        builder.leave_out("settings of interfaces", name, end)
    return name, ""


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
