"""The parts of a design that this version cannot make: each is refused or named, and none is ignored silently."""

from __future__ import annotations

from collections.abc import Iterator

from core.errors import Refused
from topology.design import Design, DesignedLink


def require_possible(design: Design) -> None:
    """Raise `Refused` with a sentence for each kind of part that this version cannot make, and its places."""
    kinds = _kinds_of_links(design)
    if refusals := [f"this version {rule}: {', '.join(places)}" for rule, places in kinds if places]:
        raise Refused("; ".join(refusals))


def _named(design: Design) -> Iterator[tuple[str, DesignedLink]]:
    return zip(design.link_names(), design.links, strict=True)


def _kinds_of_links(design: Design) -> Iterator[tuple[str, list[str]]]:
    links = [*_named(design)]
    yield "makes no transparent links", [f"{name} has `transparent`" for name, link in links if link.transparent]
