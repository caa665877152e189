"""Fabrics of netlab (plugin `fabric`): a number of leafs and spines, with a link between each leaf and each spine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from topology.fields import MAX_VMS
from topology.imports.source import mapping, number, text

_LAYERS = {"leaf": "L{count}", "spine": "S{count}"}
"""Layer -> the names of its nodes, where the file gives none. Only `{count}` is replaced; nothing is evaluated."""

_OF_NODE = ("device", "memory", "cpu")


@dataclass(frozen=True)
class Fabric:
    """The names of leafs and spines, what all nodes of a layer have, and what has no counterpart."""

    names: dict[str, list[str]]
    shared: dict[str, dict[str, Any]]
    rest: dict[str, Any]

    def nodes(self) -> dict[str, dict[str, Any]]:
        """Return the keys of each node."""
        return {name: {**self.shared[layer]} for layer, names in self.names.items() for name in names}

    def links(self) -> list[list[str]]:
        """Return the links, leaf by leaf."""
        return [[leaf, spine] for leaf in self.names["leaf"] for spine in self.names["spine"]]

    def groups(self, groups: dict[str, Any]) -> dict[str, Any]:
        """Return the groups of a file, with the nodes of each layer in the group of that layer, such as `leafs`."""
        written = {f"{layer}s": groups.get(f"{layer}s") for layer in self.names}
        joined = {
            name: {**mapping(keys), "members": [*_members(keys), *self.names[name[:-1]]]}
            for name, keys in written.items()
            if keys is not None
        }
        return {**groups, **joined}


def read(value: Any) -> Fabric | None:
    """Return the fabric that the key `fabric` of a topology describes; None where it describes none."""
    written = mapping(value)
    if not written:
        return None
    names, shared, rest = {}, {}, {key: each for key, each in written.items() if key not in {"leafs", "spines"}}
    for layer, default in _LAYERS.items():
        keys = mapping(rest.pop(layer, None))
        count = min(int(number(written.get(f"{layer}s"))) or 1, MAX_VMS + 1)
        form = text(keys.get("name")) or default
        names[layer] = [form.replace("{count}", str(each)) for each in range(1, count + 1)]
        shared[layer] = {key: keys[key] for key in _OF_NODE if key in keys}
        others = {key: each for key, each in keys.items() if key not in {"name", *_OF_NODE}}
        rest.update({layer: others} if others else {})
    return Fabric(names, shared, rest)


def _members(keys: Any) -> list[Any]:
    members = keys if isinstance(keys, list) else mapping(keys).get("members")
    return members if isinstance(members, list) else []
