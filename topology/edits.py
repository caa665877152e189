"""Edits of a design: one link or some VMs more or less. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core.errors import Refused
from topology.design import Design, DesignedLink, End


def with_link(design: Design, link: DesignedLink) -> Design:
    """Return a design with one more link."""
    return replace(design, links=(*design.links, link))


def without_vms(design: Design, names: Sequence[str]) -> Design:
    """Return a design without some VMs; a link that has fewer than two ends left goes with them."""
    left = tuple(vm for vm in design.vms if vm.name not in names)
    ends = ((link, tuple(end for end in link.ends if end.vm not in names)) for link in design.links)
    return replace(design, vms=left, links=tuple(_with_ends(link, each) for link, each in ends if len(each) > 1))


def without_link(design: Design, name: str) -> Design:
    """Return a design without the link of this name; raise `Refused` where there is none."""
    named = dict(zip(design.link_names(), design.links, strict=True))
    if name not in named:
        raise Refused(f"There is no link {name}; the links: {', '.join(named) or 'none yet'}")
    return replace(design, links=tuple(link for each, link in named.items() if each != name))


def _with_ends(link: DesignedLink, ends: tuple[End, ...]) -> DesignedLink:
    here = {end.vm for end in ends}
    return replace(link, ends=ends, addresses={vm: address for vm, address in link.addresses.items() if vm in here})
