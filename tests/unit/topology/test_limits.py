"""Parts of a slice file that this version cannot make: each is refused by a sentence, and none is ignored."""

from __future__ import annotations

from dataclasses import fields

import pytest

from core.errors import Refused
from topology.design import Design, DesignedLink, DesignedVM
from topology.limits import require_possible
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
        (design(link="transparent: true"), "makes no transparent links: a-b has `transparent`"),
    ],
)
def test_each_part_is_refused_with_its_place(found: Design, sentence: str) -> None:
    with pytest.raises(Refused) as refusal:
        require_possible(found)
    assert str(refusal.value) == f"this version {sentence}"


@pytest.mark.parametrize(
    "link",
    [
        "name: core",
        "services: none",
        "services: dhcp",
        "cidr: 10.1.2.0/24",
        "state: down",
        "rate: 1mbit",
        "delay: 20ms",
    ],
)
def test_all_other_parts_are_possible(link: str) -> None:
    require_possible(design(link=link, more=", c", rest="description: mine\ngoals: [{name: up, booted: [a]}]"))


def test_every_key_of_a_design_is_made_refused_or_named() -> None:
    """A key that is added to the design needs a decision here."""
    made = {"name", "flavor", "nics", "internet", "vms", "links", "ends", "vm", "services", "cidr", "description"}
    made |= {"seed", "start", "addresses", "goals", "state", "impairments"}
    refused = {"transparent"}
    keys = {each.name for kind in (Design, DesignedVM, DesignedLink) for each in fields(kind) if each.compare}
    assert keys <= made | refused
