"""The parts of a design that this version cannot make: each is refused or named, and none is ignored silently."""

from __future__ import annotations

from collections.abc import Iterator

from core.errors import Refused
from topology.design import IMPAIRMENTS, SERVICES, STARTS, STATES, Design, DesignedLink, Seed


def require_possible(design: Design) -> None:
    """Raise `Refused` with a sentence for each kind of part that this version cannot make, and its places."""
    kinds = (("makes links with two ends only", _lans(design)), *_kinds_of_links(design), *_kinds_of_vms(design))
    if refusals := [f"this version {rule}: {', '.join(places)}" for rule, places in kinds if places]:
        raise Refused("; ".join(refusals))


def left_out(design: Design) -> list[str]:
    """Return a sentence for each part that describes only, and that a slice does not keep."""
    sentences = []
    if design.description:
        sentences.append("this version keeps no description of a slice")
    if names := [link.name for link in design.links if link.name]:
        sentences.append(f"this version keeps no names of links: {', '.join(names)}")
    return sentences


def _named(design: Design) -> Iterator[tuple[str, DesignedLink]]:
    return zip(design.link_names(), design.links, strict=True)


def _lans(design: Design) -> list[str]:
    return [f"{name} has {len(link.ends)}" for name, link in _named(design) if link.is_lan]


def _kinds_of_links(design: Design) -> Iterator[tuple[str, list[str]]]:
    links = [*_named(design)]
    yield (
        f"makes links with `services: {SERVICES[0]}` only",
        [f"{name} has `{link.services}`" for name, link in links if link.services != SERVICES[0]],
    )
    yield "chooses networks itself", [f"{name} has `cidr`" for name, link in links if link.cidr]
    yield "chooses addresses itself", [f"{name} has `addresses`" for name, link in links if link.addresses]
    for kind in IMPAIRMENTS:
        yield f"makes links without `{kind}`", [name for name, link in links if kind in link.impairments]
    yield (
        f"makes links with `state: {STATES[0]}` only",
        [f"{name} has `{link.state}`" for name, link in links if link.state != STATES[0]],
    )
    yield "makes no transparent links", [f"{name} has `transparent`" for name, link in links if link.transparent]


def _kinds_of_vms(design: Design) -> Iterator[tuple[str, list[str]]]:
    yield "gives VMs no seed", [f"{vm.name} has `seed`" for vm in design.vms if vm.seed != Seed()]
    yield (
        "starts all VMs with their slice",
        [f"{vm.name} has `start: {vm.start}`" for vm in design.vms if vm.start != STARTS[0]],
    )
    yield "checks no goals", [str(goal["name"]) for goal in design.goals if "name" in goal]
