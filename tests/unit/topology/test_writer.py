"""Exported slice files: they are read as the same design, and a plain design gives a short file."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

from core.flavors import Flavor
from models import Slice
from tests.support.designs import design as slice_of
from tests.support.drawn_designs import designs
from tests.support.paths import DATA, ROOT
from tests.support.scale import scaled
from topology.design import Design
from topology.fields import schema
from topology.of_slice import design_of, link_names
from topology.reader import read
from topology.writer import write


@pytest.mark.torture
@settings(max_examples=scaled(100, 2000), deadline=None)
@given(designs())
def test_a_design_is_read_as_it_was_written(design: Design) -> None:
    text = write(design)
    assert read(text) == design
    assert write(read(text)) == text


def test_the_example_is_written_like_a_person_would() -> None:
    text = (DATA / "triangle.slice.yaml").read_text(encoding="utf-8")
    assert write(read(text)) == (DATA / "triangle.exported.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["single", "internet", "line", "ring", "unconnected", "lans"])
def test_a_slice_is_exported_without_what_belongs_to_the_cloud(name: str) -> None:
    slice_ = slice_of(name)
    slice_.name = name
    design, notices = design_of(slice_)
    text = write(design)
    assert notices == []
    assert read(text, {"cirros": Flavor()}) == design
    for vm in slice_.vms:
        macs = [nic.mac for nic in vm.interfaces]
        for word in (vm.vm_id, vm.owner, vm.worker_ip, vm.vnc_secret, vm.disk_id, *macs):
            assert str(word) not in text


def test_a_line_is_as_short_as_a_person_would_write_it() -> None:
    slice_ = slice_of("line")
    slice_.name = "lab"
    assert write(design_of(slice_)[0]).splitlines()[1:] == [
        "slice: lab",
        "vms:",
        "  vm1: {flavor: cirros, nics: 1, internet: true}",
        "  vm2: {flavor: cirros, nics: 2}",
        "  vm3: {flavor: cirros, nics: 1}",
        "links:",
        "- vm1 - vm2",
        "- vm2 - vm3",
    ]


def test_names_of_older_slices_that_a_file_cannot_have_are_replaced_and_said() -> None:
    slice_: Slice = slice_of("single")
    slice_.name, slice_.vms[0].name, slice_.vms[0].flavor_name = "1st", "_vm", None
    design, notices = design_of(slice_)
    assert (design.name, design.vms[0].name, design.vms[0].flavor) == ("n1st", "n_vm", "unknown")
    assert notices == [
        "VM _vm is called n_vm in the file: names begin with a letter there",
        "slice 1st is called n1st in the file: names begin with a letter there",
        "VM _vm has no recorded flavor: replace `unknown` in the file by its flavor",
    ]


def test_replaced_names_are_never_those_of_other_vms() -> None:
    slice_ = slice_of("line")
    for vm, name in zip(slice_.vms, ("1a", "n1a", "n1a-2"), strict=True):
        vm.name = name
    slice_.name = ""
    design, notices = design_of(slice_)
    assert [vm.name for vm in design.vms] == ["n1a-3", "n1a", "n1a-2"]
    assert design.name == "slice-1000"
    assert (
        notices[-1]
        == "slice 1000, which has no name, is called slice-1000 in the file: names begin with a letter there"
    )
    assert read(write(design)) == design
    assert link_names(slice_) == ["1a-n1a", "n1a-n1a-2"]


def test_an_empty_slice_is_a_valid_file() -> None:
    assert read(write(design_of(Slice(1000, "ann"))[0])).vms == ()


def test_the_schema_in_the_repository_is_that_of_the_table() -> None:
    assert json.loads((ROOT / "docs/slice.schema.json").read_text(encoding="utf-8")) == schema()
