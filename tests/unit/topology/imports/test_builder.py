"""Comments of a design that is imported have a bound, and what is beyond it is said."""

from __future__ import annotations

import pytest

from tests.unit.topology.test_imports import FLAVORS
from topology.imports.builder import MOST_COMMENTS
from topology.imports.convert import convert
from topology.reader import read

WIRE = "nodes: [{id: a, label: A, node_definition: nokia_srlinux}, {id: b, label: B, node_definition: %s}]"


def test_things_beyond_the_bound_of_comments_are_counted() -> None:
    nodes = ", ".join(f"r{number}: {{x: 1}}" for number in range(MOST_COMMENTS + 7))
    text, notices = convert(f"nodes: {{{nodes}}}\n", FLAVORS)
    assert text.count("# left out") == MOST_COMMENTS
    assert notices[-1] == (
        f"comments name the first {MOST_COMMENTS} of {MOST_COMMENTS + 7} things that were left out or renamed"
    )


@pytest.mark.parametrize("kind", ["unmanaged_switch", "external_connector"])
def test_impairments_of_a_wire_to_a_switch_or_outside_are_said(kind: str) -> None:
    text, notices = convert(
        f"lab: {{title: t}}\n{WIRE % kind}\nlinks: [{{id: l, n1: a, n2: b, conditioning: {{latency: 20}}}}]\n", FLAVORS
    )
    assert "left out: delay, loss, rate and state of wires to switches or outside" in notices
    assert 'outside of "A": {"delay": "20ms", "state": "up"}' in text


@pytest.mark.parametrize("names", ["s1, S1", "a_b, a-b", "R.1, r-1"])
def test_nodes_whose_names_are_one_host_name_are_renamed(names: str) -> None:
    text, notices = convert(f"nodes: [{names}]\nlinks: [[{names}]]\n", FLAVORS)
    second = read(text).vms[1].name
    assert second == f"{names.split(', ')[1]}-2"
    assert notices[-1].startswith("names that a VM cannot have are changed, such as ")
    assert f"is {second} here" in text
