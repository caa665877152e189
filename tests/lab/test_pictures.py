"""A picture as SVG, drawn by the Graphviz of the lab's packages."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from remote.own_machine import output_of
from tests.support.designs import ring_of
from topology.picture import as_dot, picture_of

pytestmark = pytest.mark.lab

_SVG = "{http://www.w3.org/2000/svg}"


def test_an_svg_has_the_size_of_a_picture_and_all_labels() -> None:
    slice_ = ring_of(6)
    drawn = output_of(("neato", "-Tsvg"), "\n".join(as_dot(picture_of(slice_))), "graphviz")
    root = ET.fromstring(drawn)  # noqa: S314 - our own program drew it
    width, height = (float(root.attrib[side].removesuffix("pt")) for side in ("width", "height"))
    assert 100 < width < 3000
    assert 100 < height < 3000
    words = [text.text for text in root.iter(f"{_SVG}text")]
    for vm in slice_.vms:
        assert vm.name in words
    assert words.count("eth1") == words.count("eth2") == 6
    assert {f"192.168.{100 + number}.0/24" for number in range(6)} <= {*words}
