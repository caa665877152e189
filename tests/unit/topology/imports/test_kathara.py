"""Parts of public `lab.conf` files: values with spaces, repeated settings, and taps of Netkit."""

from __future__ import annotations

import pytest

from tests.unit.topology.test_imports import FLAVORS
from topology.design import Design
from topology.imports.convert import convert
from topology.reader import read

SAID_ALWAYS = 2
"""Where interfaces start to count, and that startup files are left out."""


def converted(text: str) -> tuple[Design, list[str], str]:
    written, notices = convert(text, FLAVORS)
    return read(written), notices[:-SAID_ALWAYS], written


@pytest.mark.parametrize(
    "written",
    ['"A"', "'A'", "A", "A  # comment", '"A" # "B"', '"A', "\u201dA\u201d "],
)
def test_a_value_is_read_with_and_without_quotes(written: str) -> None:
    design, _, _ = converted(f"a[0]=A\nb[0]={written}\n")
    assert [[end.vm for end in link.ends] for link in design.links] == [["a", "b"]]


def test_a_value_may_have_spaces_and_signs() -> None:
    _, notices, text = converted("a[0]=A\nb[0]=A\na[exec]=ip route add # x\nb[env]=\"A='1' #2\"\n")
    assert notices == ["left out: `exec` of devices", "left out: `env` of devices"]
    assert '"ip route add"' in text
    assert "\"A='1' #2\"" in text


def test_each_of_several_equal_settings_is_kept_as_a_comment() -> None:
    _, notices, text = converted('a[0]=A\nb[0]=A\na[env]="X=1"\na[env]="Y=2"\n')
    assert notices == ["left out: `env` of devices"]
    assert '"X=1"' in text
    assert '"Y=2"' in text


@pytest.mark.parametrize(("memory", "flavor"), [("128", "cirros"), ("1500", "ubuntu"), ("1g", "ubuntu")])
def test_memory_without_a_unit_is_in_mib(memory: str, flavor: str) -> None:
    design, _, _ = converted(f"a[0]=A\nb[0]=A\na[mem]={memory}\n")
    assert design.vms[0].flavor == flavor


def test_a_tap_of_netkit_leads_out() -> None:
    design, notices, _ = converted("a[0]=A\na[1]=tap,11.0.0.2,11.0.0.1\nb[0]=A\n")
    assert [vm.internet for vm in design.vms] == [True, False]
    assert notices == ["left out: addresses of taps"]


def test_a_line_that_is_no_setting_is_said() -> None:
    assert converted('a[0]=A\nb[0]=A\nmachines="a b"\na[1]="B"x\n')[1] == ["left out: lines that are no setting"]
