"""Our namespaces on the network node, and the ports of br-int inside them. Returns commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from network import neighbours, ovs
from remote.plan import Command, Part, about
from shell.parallel import grouped
from shell.scripts import load

_NAMESPACES_ARE_THERE = load("namespaces/namespaces-are-there")
_ADD_NAMESPACES = load("namespaces/add-namespaces")
_REMOVE_NAMESPACES = load("namespaces/remove-namespaces")
_PORTS_ARE_IN_PLACE = load("namespaces/ports-are-in-place")
_PUT_PORTS_IN_PLACE = load("namespaces/put-ports-in-place")
_CHECK_NAMESPACE_NAMES = load("namespaces/check-namespace-names")

NAMESPACES = "namespaces"
"""The name of the answer about namespaces and their DHCP servers before a change."""


@dataclass(frozen=True)
class Place:
    """The place of an internal port: namespace ("" is the root namespace), address, and MAC if it is ours."""

    port: ovs.Port
    namespace: str
    address: str
    prefix: int
    mac: str = ""


def add_namespaces(folders: Mapping[str, str], bounds: Mapping[str, int] | None = None) -> Command:
    """Create namespaces without IPv6, and the folder of each in /run, which marks it as ours.

    Both are gone after a reboot. With IPv6 a guest on the link could give them addresses and routes (RFC 4861, 6.2).

    `folders` maps a namespace to that folder, or to one inside it. `bounds` is the maximum number of neighbours of each
    namespace; one without a bound may know any number.
    """
    sizes = bounds or {}
    rules = {name: neighbours.rules(sizes[name]) if name in sizes else "" for name in folders}
    lists = {name: neighbours.listing(sizes[name]) if name in sizes else "" for name in folders}
    add = grouped((name, path, rules[name]) for name, path in folders.items())
    check = grouped((name, path, lists[name]) for name, path in folders.items())
    return Command(_ADD_NAMESPACES.argv(*add), unless=_NAMESPACES_ARE_THERE.argv(*check))


def remove_namespaces(*names: str) -> Command:
    """Remove namespaces and their folders, if they are ours and no DHCP server runs there."""
    remove = Command(_REMOVE_NAMESPACES.argv(), before=NAMESPACES)
    return about(remove, (Part(name, (name,)) for name in names))


def check_namespace_names(names: Sequence[str]) -> Command:
    """List, read-only, the existing namespaces of these names and their DHCP servers; fail where one is not ours."""
    return Command(_CHECK_NAMESPACE_NAMES.argv(*names), name=NAMESPACES)


def put_in_place(places: Sequence[Place], *, routes: bool | None = None) -> Command:
    """Move internal ports into their namespaces and set their addresses, and their MACs if these are ours.

    `routes` says whether the namespaces pass packets on; None keeps the present setting. Ports of the root namespace
    have no IPv6, because guests would reach the host's open ports by it. The namespaces are changed side by side; the
    output lists VLANs.
    """
    looks, deeds = [], []
    grouping: dict[str, list[Place]] = {}
    for place in places:
        grouping.setdefault(place.namespace, []).append(place)
    for namespace, inside in grouping.items():
        words = [namespace, "" if routes is None else str(int(routes)), str(len(inside))]
        for place in inside:
            words += [place.port.name, f"{place.address}/{place.prefix}", place.mac]
        looks.append(words)
        deeds.append([*words, *ovs.add_ports([place.port for place in inside]).argv])
    check = _PORTS_ARE_IN_PLACE.argv(*grouped(looks))
    return Command(_PUT_PORTS_IN_PLACE.argv(*grouped(deeds)), unless=check)


def folder(namespace: str) -> str:
    """Return the folder of a namespace on disk; its existence marks the namespace as ours."""
    return f"/run/{namespace}"
