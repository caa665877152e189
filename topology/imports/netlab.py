"""Topologies of netlab (`topology.yml`, https://netlab.tools/topology-overview/)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from topology.imports import fabric
from topology.imports.builder import Attachment, Builder, ForeignSize
from topology.imports.source import items, mapping, number, text

_KEPT_OF_NODE = {"device", "name", "memory", "cpu"}
_KEPT_OF_LINK = {"interfaces", "bandwidth", "type", "linkindex"}
_OF_GROUP = ("device", "memory", "cpu")
_KEPT = {"name", "nodes", "links", "groups", "provider"}
_KEPT_OF_DEFAULTS = {"device", "groups", "provider"}
_NO_WIRES = {"tunnel", "loopback"}
_UPLINKS = {"clab": {"uplink"}, "libvirt": {"uplink", "public"}}
"""Provider -> the settings of a link with which it leads outside."""

_IMPAIRED = {"delay", "jitter", "loss", "rate"}
_TIME = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(ms|s)")
_MILLISECONDS = {"ms": 1, "s": 1000}
_WAY_OUT = " uplink"
_AUTO = "_auto_create"
_FALSE = {"", "false", "no"}
_MOST_DOTS = 5
"""Dots of a key that are unfolded; more would nest values too deep."""


def is_it(document: Any) -> bool:
    """Return whether the document looks like a topology of netlab."""
    found = mapping(document)
    made = found.get("nodes") or mapping(found.get("groups")) or mapping(found.get("fabric"))
    return bool(made) and "lab" not in found and "topology" not in found


def read(document: Any, builder: Builder) -> tuple[str, str]:
    """Add the nodes and links of the document; return name and description."""
    document = _unfolded(document)
    defaults = mapping(document.get("defaults"))
    groups = {**mapping(defaults.get("groups")), **mapping(document.get("groups"))}
    made = fabric.read(document.pop("fabric", None))
    nodes = _nodes(document.get("nodes"))
    if made:
        layers = made.nodes()
        nodes = {**layers, **{name: {**layers.get(name, {}), **keys} for name, keys in nodes.items()}}
        groups = made.groups(groups)
    _apply_groups(builder, groups, nodes)
    for name, keys in nodes.items():
        _node(builder, name, keys, text(defaults.get("device")))
    names = {*nodes} - {""}  # a key that is missing reads as an empty name
    for link in [*(made.links() if made else []), *_links(document.get("links")), *_links_of_areas(document)]:
        _link(builder, link, names)
    remaining = {key: value for key, value in document.items() if key not in _KEPT}
    if defaults:
        remaining["defaults"] = {key: value for key, value in defaults.items() if key not in _KEPT_OF_DEFAULTS}
    if made and made.rest:
        remaining["fabric"] = made.rest
    for key in sorted(remaining):
        if remaining[key] or key != "defaults":
            builder.leave_out(f"`{key}`", "the file", remaining[key])
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
    """Make the nodes that groups create, and give each node what its groups say, the nearest first."""
    auto = _is_on(groups.pop(_AUTO, ""))
    written = {name: {"members": keys} if isinstance(keys, list) else mapping(keys) for name, keys in groups.items()}
    above: dict[str, list[str]] = defaultdict(list)
    for group, keys in written.items():
        for member in map(text, items(keys.get("members"))):
            if member and member not in written and (auto or _is_on(keys.get(_AUTO))):
                nodes.setdefault(member, {})
            if member in nodes or member in written:
                above[member].append(group)
            else:
                builder.leave_out("members of groups that are no nodes", group, member)
    for name, own in nodes.items():
        for keys in (written[group] for group in _around(name, above)):
            own.update({key: keys[key] for key in _OF_GROUP if key in keys and key not in own})
    for group, keys in written.items():
        for key in sorted({*keys} - {*_OF_GROUP, "members", _AUTO}):
            builder.leave_out(f"`{key}` of groups", group, keys[key])
        if {*keys} & {*_OF_GROUP} and not items(keys.get("members")):
            builder.leave_out("groups without members", group, keys)


def _around(name: str, above: Mapping[str, list[str]]) -> list[str]:
    """Return the groups of a node, then the groups of those, and so on; each once."""
    found = dict.fromkeys(above.get(name, ()))
    waiting = [*found]
    for group in waiting:
        further = [each for each in above.get(group, ()) if each not in found]
        found.update(dict.fromkeys(further))
        waiting += further
    return waiting


def _is_on(value: Any) -> bool:
    return bool(value) and text(value).lower() not in _FALSE


def _node(builder: Builder, name: str, keys: dict[str, Any], default: str) -> None:
    if keys.get("include"):
        builder.leave_out("nodes made of components", name, keys)
        return
    size = ForeignSize(number(keys.get("cpu"), 1024), number(keys.get("memory"), 1 << 30) / 1024)
    builder.node(name, name, text(keys.get("device")) or default, size)
    for key in sorted({*keys} - _KEPT_OF_NODE):
        builder.leave_out(f"`{key}` of nodes", name, keys[key])


def _links(value: Any) -> list[Any]:
    """Return the links of a list, or of groups by name: each a list of links, or one link."""
    return items(value) or [
        link for group in mapping(value).values() for link in (group if isinstance(group, list) else [group])
    ]


def _links_of_areas(document: dict[str, Any]) -> list[Any]:
    """Return the links that stand in VLANs and VRFs."""
    areas = [mapping(area) for key in ("vlans", "vrfs") for area in mapping(document.get(key)).values()]
    return [link for area in areas for link in _links(area.get("links"))]


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
    keys = {**mapping(link)}
    if _is_group(builder, keys, names):
        return
    if text(keys.get("type")) in _NO_WIRES:
        builder.leave_out(f"links of the type {keys['type']}", "a link", link)
        return
    leads_out = _leads_out(keys)
    tc = keys.pop("tc") if isinstance(keys.get("tc"), dict) else {}
    bridge = keys.pop("bridge") if text(keys.get("bridge")) in names else ""
    ends = [_end(builder, end) for end in items(keys.get("interfaces"))]
    ends += [(name, "") for name in keys if name in names and name not in _KEPT_OF_LINK]
    where = ends[0][0] if ends else "a link"
    for key in sorted({*keys} - names - _KEPT_OF_LINK):
        builder.leave_out(f"`{key}` of links", where, keys[key])
    _leave_out_settings(builder, keys, names)
    if leads_out:
        builder.way_out(_WAY_OUT)
        ends.append((_WAY_OUT, ""))
    impairments = _impairments(builder, where, tc, keys.get("bandwidth"))
    for wire in [[end, (bridge, "")] for end in ends] if bridge else [ends]:
        builder.wire(wire, impairments)


def _leave_out_settings(builder: Builder, keys: dict[str, Any], names: set[str]) -> None:
    for name in sorted({*keys} & names - _KEPT_OF_LINK):
        if keys[name]:
            builder.leave_out("settings of interfaces", name, keys[name])


def _impairments(builder: Builder, where: str, tc: dict[str, Any], bandwidth: Any) -> dict[str, str]:
    """Return the impairments of a link: those of its `tc`, and its bandwidth where that has no rate."""
    for name in sorted({*tc} - _IMPAIRED):
        builder.leave_out(f"`{name}` of impaired links", where, tc[name])
    delay, jitter = (_milliseconds(tc.get(name)) for name in ("delay", "jitter"))
    return builder.impairments(where, rate=tc.get("rate") or bandwidth, delay=delay, jitter=jitter, loss=tc.get("loss"))


def _milliseconds(value: Any) -> Any:
    """Return a time such as `20ms` or `1.5s` as a number of milliseconds, any other value as it is."""
    found = _TIME.fullmatch(text(value))
    return str(float(found[1]) * _MILLISECONDS[found[2]]) if found else value


def _is_group(builder: Builder, keys: dict[str, Any], names: set[str]) -> bool:
    """Return whether the link is a group or a bundle of links; add those."""
    bundle = mapping(keys.get("lag"))
    if "members" not in keys and "members" not in bundle:
        return False
    what = "groups of links" if "members" in keys else "links"
    for key in sorted({*keys} - {"members", "group"} - names):
        builder.leave_out(f"`{key}` of {what}", text(keys.get("group")) or "a link", keys[key])
    _leave_out_settings(builder, keys, names)
    for member in items(keys.get("members")) or items(bundle.get("members")):
        _link(builder, member, names)
    return True


def _leads_out(keys: dict[str, Any]) -> bool:
    """Return whether a provider connects the link with the outside; take what says so out of its keys."""
    found = False
    for provider, names in _UPLINKS.items():
        settings = mapping(keys.get(provider))
        found = found or any(_is_on(settings.get(name)) for name in names)
        rest = {name: value for name, value in settings.items() if name not in names}
        if settings and not rest:
            del keys[provider]
        elif rest:
            keys[provider] = rest
    return found


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
