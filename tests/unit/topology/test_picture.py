"""Pictures: every VM, link, LAN and address is there, in 80 columns, and names cannot break a format."""

from __future__ import annotations

import pytest

from tests.support.designs import design, ring_of
from topology.picture import (
    INTERNET,
    Picture,
    PictureEnd,
    PictureLink,
    PictureVM,
    as_dot,
    as_mermaid,
    as_text,
    in_ascii,
    picture_of,
)


def lan() -> Picture:
    vms = tuple(PictureVM(name, "cirros", "running") for name in ("r1", "r2", "r3", "pc"))
    return Picture("lab", vms, (PictureLink("lan1", "10.1.2.0/24", tuple(PictureEnd(n, "eth1") for n in (0, 1, 3))),))


def test_a_lan_is_one_line_that_passes_vms_which_are_not_on_it() -> None:
    assert as_text(lan())[2:4] == ["   1   2   3   4", "   ●───●───┼───●   lan1"]


def test_a_terminal_without_utf_8_gets_ascii() -> None:
    lines = in_ascii(as_text(lan()))
    assert lines[2:4] == ["   1   2   3   4", "   o---o---+---o   lan1"]
    assert all(line.isascii() for line in lines)


def test_the_state_of_a_slice_without_a_name_is_there() -> None:
    slice_ = ring_of(2)
    slice_.name = ""
    assert as_text(picture_of(slice_))[0] == "Slice 1000 (design)"


def test_a_long_name_of_a_link_is_cut_visibly() -> None:
    slice_ = ring_of(12)
    slice_.links[0].name = "l" * 64
    line = next(line for line in as_text(picture_of(slice_)) if "llll" in line)
    assert (len(line), line[-4:]) == (80, "l...")


def test_a_slice_without_vms_says_so() -> None:
    assert as_text(Picture("lab", (), ())) == ["lab", "", "no VMs yet"]


@pytest.mark.parametrize("vms", [2, 12, 20])
def test_the_text_fits_80_columns_and_has_all(vms: int) -> None:
    slice_ = ring_of(vms)
    for vm in slice_.vms:
        vm.name = f"a-name-of-32-characters-and-{vm.vm_id}"
    lines = as_text(picture_of(slice_))
    assert max(map(len, lines)) <= 80
    assert sum("\u25cf" in line for line in lines) == vms + 1  # the links, and the internet
    for vm in slice_.vms:
        assert any(vm.name in line for line in lines)
        for nic in vm.interfaces:
            assert any(f" {slice_.address_of(vm, nic)} " in line for line in lines)


def test_more_vms_than_columns_are_listed() -> None:
    vms = tuple(PictureVM(f"vm{number}", "cirros", "running") for number in range(100))
    lines = as_text(Picture("lab", vms, ()))
    assert not any("\u2502" in line for line in lines)
    assert lines[-1].strip() == "100 vm99  running  cirros"


def test_mermaid_draws_a_lan_and_the_internet_as_nodes() -> None:
    lines = as_mermaid(picture_of(design("line")))
    assert '    vm0 ---|"eth1 192.168.100.0/24 eth1"| vm1' in lines
    assert f'    link2{{{{"{INTERNET}<br/>10.60.7.0/24"}}}}' in lines
    assert '    vm3 ---|"eth1"| link0' in as_mermaid(lan())


def test_a_name_with_quotes_breaks_no_format() -> None:
    evil = Picture('a"]; x\\', (PictureVM("vm1", "f", "running"),), ())
    assert as_dot(evil)[1] == '  label="a\']; x";'
    assert as_mermaid(evil)[1] == 'title: "a\']; x"'
