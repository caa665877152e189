"""The tunnel between the hosts: names of its ports, and the addresses of its ends."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from core.inventory import Inventory
from core.underlay import Tunnel

HOSTS = ("10.0.10.1", "10.0.10.2", "10.0.10.3")


def test_without_the_setting_there_is_no_tunnel() -> None:
    assert Inventory().tunnel is None
    assert Inventory().addresses == HOSTS


def test_each_host_has_a_port_to_each_other_one() -> None:
    inventory = Inventory(underlay="tunnel", data_addresses={"10.0.10.2": "172.16.0.2"})
    tunnel = inventory.tunnel
    assert tunnel
    assert tunnel.ends("10.0.10.1") == {"tun1_ac100002": "172.16.0.2", "tun1_0a000a03": "10.0.10.3"}
    assert tunnel.ends("10.0.10.2") == {"tun1_0a000a01": "10.0.10.1", "tun1_0a000a03": "10.0.10.3"}
    assert inventory.addresses == (*HOSTS, "172.16.0.2")


def test_the_order_of_the_settings_is_not_that_of_the_flows() -> None:
    ends = [list(Tunnel.between(hosts, {}).ends(HOSTS[0])) for hosts in (HOSTS, HOSTS[::-1])]
    assert ends == [["tun1_0a000a02", "tun1_0a000a03"]] * 2


def test_a_tunnel_among_some_hosts_has_no_port_to_the_others() -> None:
    tunnel = Tunnel.between(HOSTS, {}).among(HOSTS[:2])
    assert tunnel.ends(HOSTS[0]) == {"tun1_0a000a02": HOSTS[1]}


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 999), st.sets(st.ip_addresses(v=4), min_size=2, max_size=5))
def test_ports_have_names_of_their_own_that_open_flow_can_hold(key: int, addresses: set[object]) -> None:
    tunnel = Tunnel({str(address): str(address) for address in addresses}, key)
    other = Tunnel(tunnel.addresses, key % 999 + 1)
    names = [tunnel.port(address) for address in tunnel.addresses.values()]
    assert len({*names, *(other.port(address) for address in tunnel.addresses.values())}) == 2 * len(addresses)
    assert max(map(len, names)) <= 15
