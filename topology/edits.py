"""Edits of a design: one link or some VMs more or less. The goals that name what goes are removed. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from core.errors import Refused
from topology.design import IMPAIRMENTS, Design, DesignedLink, End
from topology.goals import kept

Received = Mapping[str, str]
"""Values of one kind of impairment by VM."""


def with_link(design: Design, link: DesignedLink) -> Design:
    """Return a design with one more link."""
    places = range(len(design.links))
    return kept(design, places, replace(design, links=(*design.links, link)))


def without_vms(design: Design, names: Sequence[str]) -> Design:
    """Return a design without some VMs; links with fewer than two ends left go with them, and goals that name them."""
    left = tuple(vm for vm in design.vms if vm.name not in names)
    ends = [tuple(end for end in link.ends if end.vm not in names) for link in design.links]
    places = [place for place, each in enumerate(ends) if len(each) > 1]
    links = tuple(_with_ends(design.links[place], ends[place]) for place in places)
    return kept(design, places, replace(design, vms=left, links=links))


def without_link(design: Design, name: str) -> Design:
    """Return a design without the link of this name, and the goals from it; raise `Refused` where there is none."""
    names = design.link_names()
    if name not in names:
        raise Refused(f"There is no link {name}; the links: {', '.join(names) or 'none yet'}")
    places = [place for place, each in enumerate(names) if each != name]
    return kept(design, places, replace(design, links=tuple(design.links[place] for place in places)))


def with_wire(design: Design, name: str, state: str, received: Mapping[str, Received]) -> Design:
    """Return a design whose link of this name has another state and other impairments; an empty state is the present.

    `received`: for each kind of impairment to change, the value of each VM; with the key "" for all ends. An empty
    value removes the impairment. Raise `Refused` where there is no such link, or no such VM on it.
    """
    names = design.link_names()
    if name not in names:
        raise Refused(f"There is no link {name}; the links: {', '.join(names) or 'none yet'}")
    links = (
        _with_wire(each, name, state or each.state, received) if named == name else each
        for named, each in zip(names, design.links, strict=True)
    )
    return replace(design, links=tuple(links))


def _with_wire(link: DesignedLink, name: str, state: str, received: Mapping[str, Received]) -> DesignedLink:
    vms = [end.vm for end in link.ends]
    impairments = {kind: dict(link.impairments.get(kind, {})) for kind in IMPAIRMENTS}
    for kind, values in received.items():
        for vm, value in values.items():
            if vm and vm not in vms:
                raise Refused(f"{vm} is not on {name}; its ends are at {', '.join(vms)}")
            impairments[kind] |= dict.fromkeys([vm] if vm else vms, value)
    by_kind = {kind: {vm: texts[vm] for vm in vms if texts.get(vm)} for kind, texts in impairments.items()}
    return replace(link, state=state, impairments={kind: texts for kind, texts in by_kind.items() if texts})


def _with_ends(link: DesignedLink, ends: tuple[End, ...]) -> DesignedLink:
    here = {end.vm for end in ends}
    addresses = {vm: address for vm, address in link.addresses.items() if vm in here}
    by_kind = {kind: {vm: text for vm, text in texts.items() if vm in here} for kind, texts in link.impairments.items()}
    impairments = {kind: texts for kind, texts in by_kind.items() if texts}
    return replace(link, ends=ends, addresses=addresses, impairments=impairments)
