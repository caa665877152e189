"""Namespaces on the network node that are ours, and the ports of br-int that belong into them. Returns commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from network import neighbours, ovs
from remote.plan import Command
from shell.parallel import grouped
from shell.scripts import load

_NAMESPACES_ARE_THERE = load("namespaces/namespaces-are-there")
_ADD_NAMESPACES = load("namespaces/add-namespaces")
_REMOVE_NAMESPACES = load("namespaces/remove-namespaces")
_PORTS_ARE_IN_PLACE = load("namespaces/ports-are-in-place")
_PUT_PORTS_IN_PLACE = load("namespaces/put-ports-in-place")


@dataclass(frozen=True)
class Place:
    """Where an internal port belongs: its namespace ("" is the root namespace), address, and MAC if it is ours."""

    port: ovs.Port
    namespace: str
    address: str
    prefix: int
    mac: str = ""


def add_namespaces(folders: Mapping[str, str], bounds: Mapping[str, int] | None = None) -> Command:
    """Create namespaces without IPv6, and in /run the folder of each, which says that it is ours.

    Both are gone after a reboot. By IPv6 a guest on the wire would give them addresses and routes (RFC 4861, 6.2).

    `folders`: namespace -> that folder, or one inside it. `bounds`: how many neighbours each may know; all without one.
    """
    sizes = bounds or {}
    rules = {name: neighbours.rules(sizes[name]) if name in sizes else "" for name in folders}
    lists = {name: neighbours.listing(sizes[name]) if name in sizes else "" for name in folders}
    add = grouped((name, path, rules[name]) for name, path in folders.items())
    look = grouped((name, path, lists[name]) for name, path in folders.items())
    return Command(_ADD_NAMESPACES.argv(*add), unless=_NAMESPACES_ARE_THERE.argv(*look))


def remove_namespaces(*names: str, unless: tuple[str, ...] = ()) -> Command:
    """The namespaces go, and their folders, if they are ours."""
    return Command(_REMOVE_NAMESPACES.argv(*names), unless=unless)


def put_in_place(places: Sequence[Place], *, routes: bool | None = None) -> Command:
    """Bring internal ports into their namespaces, and give them their addresses, and their MACs if these are ours.

    `routes`: whether the namespaces pass packets on; None leaves that as it is. Ports of the root namespace have no
    IPv6: by it guests would reach whatever listens on the host. The namespaces are worked on side by side; what is
    printed are VLANs.
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
    look = _PORTS_ARE_IN_PLACE.argv(*grouped(looks))
    return Command(_PUT_PORTS_IN_PLACE.argv(*grouped(deeds)), unless=look)


def folder(namespace: str) -> str:
    """What a namespace of ours keeps on disk; that it is there says that the namespace is ours."""
    return f"/run/{namespace}"
