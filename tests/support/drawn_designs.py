"""Random designs with all parts that a slice file can have."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

from hypothesis import strategies as st

from core.links import SERVICES
from topology.design import STARTS, STATES, Design, DesignedLink, DesignedVM, End, Seed
from topology.fields import NAME

names = st.from_regex(NAME.form, fullmatch=True)
scalars = st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=8) | st.just("2222:22")
keys = st.text(max_size=8)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)
scripts = st.text(
    st.characters(codec="utf-8", categories=("L", "N", "P", "Zs"), include_characters="\n\t"), max_size=60
)
rates = st.sampled_from(["1kbit", "10mbit", "0.5gbit"])


@st.composite
def designs(draw: st.DrawFn) -> Design:
    known = draw(st.lists(names, min_size=1, max_size=6, unique_by=lambda name: name.lower().replace("_", "-")))
    free = {name: draw(st.permutations(range(1, 11))) for name in known}
    links: list[DesignedLink] = []
    for number in range(draw(st.integers(0, 5)) if len(known) > 1 else 0):
        members = draw(st.lists(st.sampled_from(known), min_size=2, max_size=len(known), unique=True))
        services = draw(st.sampled_from(SERVICES))
        network = draw(st.sampled_from([None, IPv4Network(f"10.{number}.7.0/24")]))
        fixed = draw(st.lists(st.sampled_from(members), unique=True)) if network else []
        received = draw(st.dictionaries(st.sampled_from(members), rates, max_size=len(members)))
        links.append(
            DesignedLink(
                tuple(End(name, free[name].pop()) for name in members),
                draw(st.sampled_from(["", f"link{number}"])),
                services,
                network,
                {name: network[20 + place] for place, name in enumerate(members) if name in fixed} if network else {},
                {"rate": {name: received[name] for name in members if name in received}} if received else {},
                draw(st.sampled_from(STATES)),
                draw(st.booleans()),
            )
        )
    vms = tuple(draw(machine(name, links)) for name in known)
    return Design(draw(names), vms, tuple(links), draw(scripts), draw(goals(known)))


@st.composite
def machine(draw: st.DrawFn, name: str, links: list[DesignedLink]) -> DesignedVM:
    highest = max((end.nic for link in links for end in link.ends if end.vm == name), default=0)
    seed = Seed(draw(scripts), draw(st.dictionaries(st.text(max_size=8), values, max_size=2)))
    nics = draw(st.integers(highest, 10))
    return DesignedVM(name, draw(names), nics, draw(st.booleans()), seed, draw(st.sampled_from(STARTS)))


@st.composite
def goals(draw: st.DrawFn, known: list[str]) -> tuple[dict[str, Any], ...]:
    forms: list[dict[str, Any]] = [
        {"booted": [known[0]]},
        {"lease": f"{known[0]}:eth1"},
        {"ping": "10.0.3.10", "points": 3, "stop": True},
    ]
    chosen = draw(st.lists(st.sampled_from(forms), max_size=3))
    return tuple({"name": f"goal{number}", **form} for number, form in enumerate(chosen))
