"""Random designs with all parts that a slice file can have."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Any

from hypothesis import strategies as st

from core.goals import OUTSIDE, Goal
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
lines = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=40)
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
    return Design(draw(names), vms, tuple(links), draw(scripts), draw(goals(vms, links)))


@st.composite
def machine(draw: st.DrawFn, name: str, links: list[DesignedLink]) -> DesignedVM:
    highest = max((end.nic for link in links for end in link.ends if end.vm == name), default=0)
    seed = Seed(draw(scripts), draw(st.dictionaries(st.text(max_size=8), values, max_size=2)))
    nics = draw(st.integers(highest, 10))
    return DesignedVM(name, draw(names), nics, draw(st.booleans()), seed, draw(st.sampled_from(STARTS)))


@st.composite
def goals(draw: st.DrawFn, vms: Sequence[DesignedVM], links: Sequence[DesignedLink]) -> tuple[Goal, ...]:
    design = Design("x", tuple(vms), tuple(links))
    names = st.sampled_from([vm.name for vm in vms])
    nics = [f"{vm.name}:eth{nic}" for vm in vms for nic in range(0 if vm.internet else 1, vm.nics + 1)]
    sources = st.sampled_from([OUTSIDE, *design.link_names(), *(str(end) for link in links for end in link.ends)])
    hosts = names | st.sampled_from(["10.0.3.10", "www.lab.example"])
    tcp, http = st.builds("{}:{}".format, hosts, st.integers(1, 65535)), st.builds("http://{}/a?b=c".format, hosts)
    targets = {"dns": hosts, "http": http, "ping": hosts | st.sampled_from(nics or ["10.0.0.1"]), "tcp": tcp}
    targets |= {"refuses": st.one_of(*(st.builds(f"{kind} {{}}".format, each) for kind, each in targets.items()))}
    probes = st.sampled_from([*targets]).flatmap(lambda kind: st.fixed_dictionaries(
        {"check": st.just(kind), "targets": st.tuples(targets[kind]), "source": sources}))  # fmt: skip
    kinds = [
        st.fixed_dictionaries({"check": st.just("booted"), "targets": st.lists(names, min_size=1).map(tuple)}),
        st.fixed_dictionaries({"check": st.just("run"), "targets": st.tuples(lines), "on": names, "expect": lines}),
        probes,
    ]
    if nics:
        seen = st.tuples(st.sampled_from(["ospf", "tcp port 80 and not arp"]))
        kinds += [
            st.fixed_dictionaries({"check": st.just("lease"), "targets": st.tuples(st.sampled_from(nics))}),
            st.fixed_dictionaries({"check": st.just("sees"), "targets": seen, "on": st.sampled_from(nics)}),
        ]
    others = st.fixed_dictionaries({}, optional={
        "within": st.integers(1, 3600), "points": st.integers(0, 1000), "stop": st.booleans(),
        "when_met": lines, "when_not_met": lines,
    })  # fmt: skip
    chosen = draw(st.lists(st.tuples(st.one_of(*kinds), others), max_size=4))
    records: list[dict[str, Any]] = [form | more for form, more in chosen]
    return tuple(Goal(name=f"goal{number}", **record) for number, record in enumerate(records))
