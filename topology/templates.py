"""Templates: designs of a known form and any size, such as `ring:6` or `leaf-spine:2,4`."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from core.errors import Refused
from models import MAX_DATA_INTERFACES
from topology.design import Design, DesignedLink, DesignedVM, End
from topology.fields import MAX_VMS

MAX_LINKS = 20
"""The VLANs of one slice's pool."""

INTERNET = ("all", "none", "first")

Wire = tuple[str, ...]
"""The VMs on one link."""


@dataclass(frozen=True)
class Template:
    """A form: the names of its numbers, the least each may be, what it is, and its links."""

    numbers: tuple[str, ...]
    least: int
    help: str
    wires: Callable[..., Iterator[Wire]]


def _names(count: int, stem: str = "r") -> list[str]:
    return [f"{stem}{number}" for number in range(1, count + 1)]


def _line(count: int) -> Iterator[Wire]:
    return pairwise(_names(count))


def _ring(count: int) -> Iterator[Wire]:
    names = _names(count)
    return zip(names, [*names[1:], names[0]], strict=True)


def _star(count: int) -> Iterator[Wire]:
    centre, *others = _names(count)
    return ((centre, other) for other in others)


def _mesh(count: int) -> Iterator[Wire]:
    return combinations(_names(count), 2)


def _tree(depth: int, fanout: int) -> Iterator[Wire]:
    level, made = ["r1"], 1
    for _ in range(depth):
        below = []
        for parent in level:
            for _ in range(fanout):
                made += 1
                below.append(f"r{made}")
                yield parent, below[-1]
        level = below


def _lan(count: int) -> Iterator[Wire]:
    yield tuple(_names(count, "pc"))


def _leaf_spine(spines: int, leaves: int) -> Iterator[Wire]:
    return ((spine, leaf) for leaf in _names(leaves, "leaf") for spine in _names(spines, "spine"))


def _chain_of_lans(count: int) -> Iterator[Wire]:
    for number in range(1, count + 1):
        left, right = [f"r{number - 1}"] * (number > 1), [f"r{number}"] * (number < count)
        yield (*left, f"pc{number}", *right)


TEMPLATES = {
    "line": Template(("N",), 2, "N VMs in a row", _line),
    "ring": Template(("N",), 3, "N VMs in a circle", _ring),
    "star": Template(("N",), 3, "N VMs, the first one linked to all others", _star),
    "mesh": Template(("N",), 3, "N VMs, each linked to all others", _mesh),
    "tree": Template(("DEPTH", "FANOUT"), 1, "one root, FANOUT VMs below each VM, DEPTH levels below the root", _tree),
    "lan": Template(("N",), 3, "N VMs on one LAN", _lan),
    "leaf-spine": Template(("SPINES", "LEAVES"), 1, "every leaf linked to every spine", _leaf_spine),
    "chain-of-lans": Template(("N",), 2, "N LANs with a PC each, and a router between neighbours", _chain_of_lans),
}


def make(text: str, name: str, flavor: str, internet: str = "none") -> Design:
    """Return the design of a template such as `ring:6`; raise `Refused` with what is allowed.

    `internet` is one of `INTERNET`: which VMs have eth0 on the internet VLAN.
    """
    wires = _wires(text)
    names = list(dict.fromkeys(vm for wire in wires for vm in wire))
    degrees = Counter(vm for wire in wires for vm in wire)
    busiest, degree = degrees.most_common(1)[0]
    if degree > MAX_DATA_INTERFACES:
        raise Refused(f"{text}: {busiest} needs {degree} data interfaces; at most {MAX_DATA_INTERFACES} are there")
    used: dict[str, int] = defaultdict(int)
    links = []
    for wire in wires:
        for vm in wire:
            used[vm] += 1
        links.append(DesignedLink(tuple(End(vm, used[vm], named=False) for vm in wire)))
    linked = {"all": len(names), "none": 0, "first": 1}[internet]
    vms = [
        DesignedVM(vm, flavor, min(degrees[vm] + 1, MAX_DATA_INTERFACES), internet=number < linked, nics_named=False)
        for number, vm in enumerate(names)
    ]
    return Design(name, tuple(vms), tuple(links))


def lines() -> list[str]:
    """Return a line for each template: how it is written, and what it is."""
    written = {f"{name}:{','.join(each.numbers)}": each.help for name, each in TEMPLATES.items()}
    width = max(map(len, written))
    return [f"{form:{width}}  {meaning}" for form, meaning in written.items()]


def forms() -> str:
    """Return how templates are written: `line:N, ring:N, ...`."""
    return ", ".join(f"{name}:{','.join(template.numbers)}" for name, template in TEMPLATES.items())


def _wires(text: str) -> Sequence[Wire]:
    name, _, rest = text.partition(":")
    template = TEMPLATES.get(name)
    numbers = rest.split(",")
    if template is None or len(numbers) != len(template.numbers):
        raise Refused(f"{text!a} is no template; there are {forms()}")
    if not all(re.fullmatch(r"[1-9][0-9]{0,3}", number) and int(number) >= template.least for number in numbers):
        wanted = " and for ".join(template.numbers)
        raise Refused(f"{text!a}: write a whole number from {template.least} up for {wanted}")
    wires: list[Wire] = []
    for wire in template.wires(*map(int, numbers)):
        wires.append(wire)
        if len(wires) > MAX_LINKS:
            raise Refused(f"{text} needs more than {MAX_LINKS} links, which is what a slice has; choose a smaller one")
        if len(wire) > MAX_VMS:
            raise Refused(f"{text} has more than {MAX_VMS} VMs, which is what a slice file has; choose a smaller one")
    return wires
