"""Differences between designs: each part that differs is named once, with its effect."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.drawn_designs import designs
from topology.compare import Difference, Effect, differences, settled, summary
from topology.design import Design
from topology.reader import read

NOW = """\
slice: lab
vms: {a: cirros, b: cirros, c: cirros}
links:
- a - b
- {ends: [b, c], name: core}
goals:
- {name: up, booted: [a]}
- {name: path, ping: b, from: outside}
"""


def changed(old: str, new: str) -> Design:
    assert old in NOW
    return read(NOW.replace(old, new))


def compared(wanted: Design) -> list[Difference]:
    now = read(NOW)
    return differences(now, settled(now, wanted))


CASES = {
    "VM added": (", c: cirros}", ", c: cirros, d: cirros}", ["VM d: added"]),
    "flavor": ("a: cirros", "a: ubuntu", ["VM a: replaced, with a new disk (flavor cirros -> ubuntu)"]),
    "internet": ("a: cirros", "a: {flavor: cirros, internet: true}", ["VM a: changed live (internet no -> yes)"]),
    "nics": ("a: cirros", "a: {flavor: cirros, nics: 5}", ["VM a: restarted (nics 2 -> 5)"]),
    "seed": (
        "a: cirros",
        "a: {flavor: cirros, seed: {script: date}, start: manual}",
        ["VM a: changed at its next reset (seed another one -> another one, start auto -> manual)"],
    ),
    "link added": ("- a - b", "- a - b\n- a - c", ["link a-c: added"]),
    "link removed": ("- a - b\n", "", ["link a-b: removed"]),
    "services": ("- a - b", "- {ends: [a, b], services: none}",
                 ["link a-b: changed live (services dhcp+gateway -> none)"]),
    "name": (", name: core", "", ["link b-c: changed live (name core -> b-c)"]),
    "a LAN of a link": (
        "- a - b", "- [a, b, c]", ["link a-b: removed", "link lan1: added"]
    ),
    "goal changed": (
        "booted: [a]", "booted: [b], points: 2", ["goal up: changed live (targets a -> b, points 1 -> 2)"]
    ),
    "goal removed": ("- {name: up, booted: [a]}\n", "", ["goal up: removed"]),
    "goal added": ("goals:\n", "goals:\n- {name: x, lease: a:eth1, fail: no}\n", ["goal x: added"]),
    "goal renamed": ("name: up", "name: on", ["goal up: removed", "goal on: added"]),
    "order of goals": (
        "- {name: up, booted: [a]}\n- {name: path, ping: b, from: outside}\n",
        "- {name: path, ping: b, from: outside}\n- {name: up, booted: [a]}\n",
        ["slice lab: changed live (goals in another order)"],
    ),
    "description": (
        "slice: lab", "slice: lab\ndescription: mine", ["slice lab: changed live (description none -> mine)"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_each_difference_is_said_once(kind: str) -> None:
    old, new, sentences = CASES[kind]
    assert sorted(map(str, compared(changed(old, new)))) == sorted(sentences)


def test_the_counts_come_first() -> None:
    wanted = read("slice: lab\nvms: {a: cirros, d: cirros, e: cirros}\nlinks: [d - e]\n")
    assert summary(compared(wanted)) == "2 VMs removed, 2 VMs added, 2 links removed, 1 link added, 2 goals removed"
    assert summary([]) == "nothing to do"


def test_a_link_on_a_spare_interface_restarts_no_vm() -> None:
    found = compared(changed("- a - b", "- a - b\n- a - c"))
    assert {each.effect for each in found} == {Effect.ADDED}


@pytest.mark.long
@settings(max_examples=100, deadline=None)
@given(designs(), designs())
def test_the_differences_are_those_of_the_sets(now: Design, wanted: Design) -> None:
    assert differences(now, now) == differences(now, settled(now, now)) == []
    found = differences(now, settled(now, replace(wanted, name=now.name)))
    old, new = ({vm.name for vm in design.vms} for design in (now, wanted))
    by_effect = {
        effect: {each.name for each in found if (each.kind, each.effect) == ("VM", effect)} for effect in Effect
    }
    assert by_effect[Effect.REMOVED] == old - new
    assert by_effect[Effect.ADDED] == new - old
    assert len({(each.kind, each.name, each.effect) for each in found}) == len(found)


@pytest.mark.long
@settings(max_examples=100, deadline=None)
@given(designs(), st.data())
def test_links_without_named_interfaces_stay_where_they_are(now: Design, data: st.DataObject) -> None:
    """Remove some links and draw the others in another order: no link that stays is moved."""
    kept = data.draw(st.lists(st.sampled_from(now.links), unique_by=id)) if now.links else []
    free = [replace(link, ends=tuple(replace(end, named=False) for end in link.ends)) for link in kept]
    found = settled(now, replace(now, links=tuple(free)))
    ends = [link.ends for link in found.links]
    assert len({end for each in ends for end in each}) == sum(map(len, ends))
    alike = Counter(tuple(end.vm for end in link.ends) for link in now.links)
    for link, wanted in zip(found.links, kept, strict=True):
        if alike[tuple(end.vm for end in link.ends)] == 1:
            assert link.ends == wanted.ends
