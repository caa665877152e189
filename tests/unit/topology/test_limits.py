"""Parts of a slice file that this version cannot make: each is refused by a sentence, and none is ignored."""

from __future__ import annotations

from dataclasses import fields

import pytest

from core.errors import Refused
from topology.design import Design, DesignedLink, DesignedVM
from topology.limits import left_out, require_possible
from topology.reader import read

FILE = """\
slice: lab
vms: {{a: cirros, b: {vm}, c: cirros}}
links:
- ends: [a, b{more}]
{link}
{rest}
"""


def design(vm: str = "cirros", link: str = "", more: str = "", rest: str = "") -> Design:
    return read(FILE.format(vm=vm, link=f"  {link}", more=more, rest=rest))


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (design(more=", c"), "makes links with two ends only: lan1 has 3"),
        (design(link="services: none"), "makes links with `services: dhcp+gateway` only: a-b has `none`"),
        (design(link="services: dhcp"), "makes links with `services: dhcp+gateway` only: a-b has `dhcp`"),
        (design(link="cidr: 10.1.2.0/24"), "chooses networks itself: a-b has `cidr`"),
        (
            design(link="{cidr: 10.1.2.0/24, addresses: {a: 10.1.2.10}}"[1:-1].replace("24, a", "24\n  a")),
            "chooses networks itself: a-b has `cidr`; this version chooses addresses itself: a-b has `addresses`",
        ),
        (design(link="rate: 10mbit"), "makes links without `rate`: a-b"),
        (design(link="delay: {a: 20ms}"), "makes links without `delay`: a-b"),
        (design(link="jitter: 2ms"), "makes links without `jitter`: a-b"),
        (design(link="loss: 1%"), "makes links without `loss`: a-b"),
        (design(link="profile: dsl"), "makes links without `profile`: a-b"),
        (design(link="state: down"), "makes links with `state: up` only: a-b has `down`"),
        (design(link="transparent: true"), "makes no transparent links: a-b has `transparent`"),
        (design(vm="{flavor: cirros, start: manual}"), "starts all VMs with their slice: b has `start: manual`"),
        (design(vm="{flavor: cirros, seed: {script: date}}"), "gives VMs no seed: b has `seed`"),
        (design(rest="goals: [{name: up, booted: [a]}]"), "checks no goals: up"),
    ],
)
def test_each_part_is_refused_with_its_place(found: Design, sentence: str) -> None:
    with pytest.raises(Refused) as refusal:
        require_possible(found)
    assert str(refusal.value) == f"this version {sentence}"


def test_all_kinds_are_refused_at_once() -> None:
    found = design(vm="{flavor: cirros, start: manual}", link="rate: 1mbit", more=", c")
    with pytest.raises(Refused) as refusal:
        require_possible(found)
    assert len(str(refusal.value).split("; ")) == 3


def test_names_and_descriptions_are_left_out_with_a_sentence() -> None:
    found = design(link="name: core", rest="description: mine")
    require_possible(found)
    assert left_out(found) == [
        "this version keeps no description of a slice",
        "this version keeps no names of links: core",
    ]
    assert left_out(design()) == []


def test_every_key_of_a_design_is_made_refused_or_named() -> None:
    """A key that is added to the design needs a decision here."""
    made = {"name", "flavor", "nics", "internet", "vms", "links", "ends", "vm"}
    refused = {"seed", "start", "services", "cidr", "addresses", "impairments", "state", "transparent", "goals"}
    named = {"name", "description"}
    keys = {each.name for kind in (Design, DesignedVM, DesignedLink) for each in fields(kind)}
    assert keys <= made | refused | named
