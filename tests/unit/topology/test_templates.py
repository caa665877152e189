"""Templates: how many VMs and links each makes, and the bounds of a slice."""

from __future__ import annotations

import pytest

from core.errors import Refused
from core.flavors import Flavor
from topology.reader import read
from topology.templates import TEMPLATES, forms, make
from topology.writer import write


@pytest.mark.parametrize(
    ("text", "vms", "links"),
    [
        ("line:2", 2, 1),
        ("line:21", 21, 20),
        ("ring:3", 3, 3),
        ("ring:20", 20, 20),
        ("star:11", 11, 10),
        ("mesh:6", 6, 15),
        ("tree:1,1", 2, 1),
        ("tree:2,3", 13, 12),
        ("lan:3", 3, 1),
        ("lan:100", 100, 1),
        ("leaf-spine:2,4", 6, 8),
        ("chain-of-lans:4", 7, 4),
    ],
)
def test_a_template_makes_so_many(text: str, vms: int, links: int) -> None:
    design = make(text, "lab", "cirros", "first")
    assert (len(design.vms), len(design.links)) == (vms, links)
    assert [vm.name for vm in design.vms if vm.internet] == [design.vms[0].name]
    assert read(write(design), {"cirros": Flavor()}) == design


def test_every_template_is_tried() -> None:
    assert {form.partition(":")[0] for form in forms().split(", ")} == {*TEMPLATES}


@pytest.mark.parametrize(("internet", "count"), [("all", 4), ("none", 0), ("first", 1)])
def test_internet_is_for_all_none_or_the_first(internet: str, count: int) -> None:
    assert sum(vm.internet for vm in make("ring:4", "lab", "cirros", internet).vms) == count


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ring:21", "ring:21 needs more than 20 links"),
        ("mesh:7", "mesh:7 needs more than 20 links"),
        ("tree:9999,9999", "tree:9999,9999 needs more than 20 links"),
        ("star:12", "star:12: r1 needs 11 data interfaces; at most 10"),
        ("lan:1001", "lan:1001 has more than 1000 VMs"),
        ("ring:2", "'ring:2': write a whole number from 3 up for N"),
        ("ring:03", "'ring:03': write a whole number from 3 up for N"),
        ("tree:0,1", "'tree:0,1': write a whole number from 1 up for DEPTH and for FANOUT"),
        ("ring:3,3", "'ring:3,3' is no template; there are line:N, ring:N"),
        ("blob:3", "'blob:3' is no template; there are line:N, ring:N"),
        ("", "'' is no template"),
        ("ring:\u0663", "'ring:\\\\u0663': write a whole number"),
    ],
)
def test_another_template_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(Refused, match=f"^{sentence}"):
        make(text, "lab", "cirros")
