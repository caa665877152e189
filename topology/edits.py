"""Edits of a design: one link or some VMs more or less. The goals that name what goes are removed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core.errors import Refused
from topology.design import Design, DesignedLink, End
from topology.goals import kept


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


def _with_ends(link: DesignedLink, ends: tuple[End, ...]) -> DesignedLink:
    here = {end.vm for end in ends}
    return replace(link, ends=ends, addresses={vm: address for vm, address in link.addresses.items() if vm in here})
