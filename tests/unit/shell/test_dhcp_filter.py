"""The chain of a slice before the shared DHCP server, made by real iptables in a namespace of the test."""

from __future__ import annotations

import pytest

from network import port_security
from tests.support.own_host import OwnHost

VLAN = 400
GUESTS = ("52:54:00:03:e9:00,10.60.7.101", "52:54:00:03:ea:00,10.60.7.102")
OTHERS = ("52:54:00:03:eb:00,10.60.7.103",)


@pytest.fixture(autouse=True)
def server(host: OwnHost) -> None:
    host.do("ip netns add ns-dhcp-vlan400")


def shown(host: OwnHost) -> str:
    text = host.do("ip netns exec ns-dhcp-vlan400 iptables-save -t filter")
    return "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("[0:0]", "")


def let_in(host: OwnHost, slice_id: int, guests: tuple[str, ...]) -> None:
    command = port_security.filter_requests(slice_id, VLAN, guests)
    done = host.run(command.argv)
    assert (done.returncode, done.stderr) == (0, "")
    assert host.run(command.unless).returncode == 0


def test_each_slice_has_a_chain_and_everything_else_is_dropped(host: OwnHost) -> None:
    assert host.run(port_security.filter_requests(1000, VLAN, GUESTS).unless).returncode != 0
    let_in(host, 1000, GUESTS)
    let_in(host, 1003, OTHERS)
    text = shown(host)
    assert ":INPUT DROP" in text
    assert text.count("-A INPUT ") == 2
    assert text.count("-j ACCEPT") == 3
    let_in(host, 1000, GUESTS)
    assert sorted(shown(host).splitlines()) == sorted(text.splitlines())


@pytest.mark.parametrize(
    "harm",
    ["-D slice-1000 1", "-A slice-1000 -j ACCEPT", "-P INPUT ACCEPT", "-D INPUT -j slice-1000", "-F"],
)
def test_what_was_changed_by_hand_is_repaired(host: OwnHost, harm: str) -> None:
    let_in(host, 1003, OTHERS)
    let_in(host, 1000, GUESTS)
    before = sorted(shown(host).splitlines())
    host.do(f"ip netns exec ns-dhcp-vlan400 iptables {harm}")
    assert host.run(port_security.filter_requests(1000, VLAN, GUESTS).unless).returncode != 0
    let_in(host, 1000, GUESTS)
    let_in(host, 1003, OTHERS)
    assert sorted(shown(host).splitlines()) == before


def test_only_the_chain_of_the_slice_is_removed(host: OwnHost) -> None:
    let_in(host, 1003, OTHERS)
    before = shown(host)
    let_in(host, 1000, GUESTS)
    command = port_security.undo_filter(1000, VLAN)
    assert host.run(command.unless).returncode != 0
    done = host.run(command.argv)
    assert (done.returncode, done.stderr) == (0, "")
    assert host.run(command.unless).returncode == 0
    assert shown(host) == before
