"""Links with two ends or more: addresses, services and networks."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Refused
from core.links import DHCP, DHCP_GATEWAY, MOST_LEASES, NONE, SERVICES, Network
from core.names import mac_address
from models import VM, Interface, Slice
from tests.support.scale import scaled

SUBNETS = st.builds(
    lambda number, prefix: IPv4Network((number, prefix), strict=False),
    st.integers(int(IPv4Address("10.0.0.0")), int(IPv4Address("100.255.255.255"))),
    st.integers(8, 24),
)


def slice_of(vms: int, nics: int = 2) -> Slice:
    """Return a slice of VMs without links."""
    slice_ = Slice(1000, "student")
    for number in range(1001, 1001 + vms):
        interfaces = [Interface(f"eth{nic}", mac=mac_address(number, nic)) for nic in range(nics + 1)]
        slice_.vms.append(VM(number, f"vm{number}", "student", "10.0.10.1", 5900 + number - 1000, interfaces))
    return slice_


def ends(vms: int, nic: str = "eth1") -> list[tuple[int, str]]:
    return [(1001 + place, nic) for place in range(vms)]


@pytest.mark.torture
@settings(deadline=None, max_examples=scaled(30, 100))
@given(vms=st.integers(2, 20) | st.integers(200, MOST_LEASES), cidr=st.none() | SUBNETS, data=st.data())
def test_each_end_has_an_address_of_its_own(vms: int, cidr: IPv4Network | None, data: st.DataObject) -> None:
    slice_ = slice_of(vms, nics=1)
    network = cidr or IPv4Network("192.168.100.0/24")
    members = st.integers(1001, 1000 + vms)
    chosen = data.draw(st.dictionaries(members, st.integers(10, 250), max_size=5))
    fixed = {vm_id: str(network[host]) for host, vm_id in {host: vm_id for vm_id, host in chosen.items()}.items()}
    link = slice_.join(ends(vms), cidr=str(cidr or ""), addresses=fixed)
    addresses = slice_.addresses_on(link)
    assert len(set(addresses)) == vms
    assert all(slice_.network_of(link).may_have(str(address)) for address in addresses)
    assert all(slice_.address_of(vm, vm.interfaces[1]) == fixed.get(vm.vm_id, address)
               for vm, address in zip(slice_.vms, addresses, strict=True))  # fmt: skip
    assert Slice.from_dict(slice_.to_dict()).to_dict() == slice_.to_dict()


def test_the_ends_have_addresses_in_their_order_beside_the_fixed_ones() -> None:
    slice_ = slice_of(4)
    link = slice_.join(ends(4), addresses={1003: "192.168.100.10"})
    assert slice_.addresses_on(link) == [f"192.168.100.{host}" for host in (11, 12, 10, 13)]


@pytest.mark.parametrize(
    ("services", "gateway", "leases"),
    [
        (DHCP_GATEWAY, "192.168.100.1", "192.168.100.10,192.168.100.250"),
        (DHCP, None, "192.168.100.10,192.168.100.250"),
        (NONE, None, None),
    ],
)
def test_the_network_carries_the_services(services: str, gateway: str | None, leases: str | None) -> None:
    slice_ = slice_of(2)
    link = slice_.join(ends(2), services=services)
    network = slice_.network_of(link)
    assert (network.services, network.gateway_ip, network.dhcp_range) == (services, gateway, leases)
    assert Network.from_dict(network.to_dict()).services == services
    assert [link in links for links in (slice_.served_links, slice_.routed_links)] == [
        services != NONE,
        services == DHCP_GATEWAY,
    ]


def test_without_services_an_end_has_its_fixed_address_or_none() -> None:
    slice_ = slice_of(2)
    link = slice_.join(ends(2), services=NONE, cidr="10.1.2.0/30", addresses={1001: "10.1.2.1"})
    assert slice_.addresses_on(link) == ["10.1.2.1", None]


@pytest.mark.parametrize(("services", "host"), [(s, h) for s in SERVICES for h in ("0", "1", "2", "9", "251", "255")])
def test_no_end_may_have_an_address_of_ours(services: str, host: str) -> None:
    network = Network.of_vlan(100, services)
    assert network.may_have(f"192.168.100.{host}") is (services == NONE and host not in {"0", "255"})


def test_a_network_of_a_hand_written_file_has_dhcp_where_it_has_a_gateway() -> None:
    assert Network(101, "192.168.101.0/24", "192.168.101.1").services == DHCP_GATEWAY


def test_a_lan_is_recorded_behind_the_documented_keys() -> None:
    slice_ = slice_of(3)
    record = slice_.join(ends(3), name="core").to_dict()
    assert [*record][-2:] == ["further_ends", "name"]
    assert record["further_ends"] == [{"vm_id": 1003, "interface": "eth1"}]
    assert slice_.links[0].peers_of(1002) == [(1001, "eth1"), (1003, "eth1")]


@pytest.mark.parametrize(
    ("cidr", "sentence"),
    [
        ("10.1.0.0/16", "The network 10.1.0.0/16 overlaps 10.1.2.0/24 of another link; choose another one"),
        ("10.1.2.128/25", "The network 10.1.2.128/25 overlaps 10.1.2.0/24 of another link; choose another one"),
    ],
)
def test_networks_of_a_slice_do_not_overlap(cidr: str, sentence: str) -> None:
    slice_ = slice_of(2)
    slice_.join(ends(2), cidr="10.1.2.0/24")
    before = slice_.to_dict()
    with pytest.raises(Refused) as refused:
        slice_.join(ends(2, "eth2"), services=NONE, cidr=cidr)
    assert str(refused.value) == sentence
    assert slice_.to_dict() == before


def test_a_lan_has_as_many_ends_as_dhcp_has_addresses() -> None:
    slice_ = slice_of(MOST_LEASES + 1, nics=1)
    with pytest.raises(Refused, match=r"^DHCP has 241 addresses, and this link has 242 ends; link some of them apart$"):
        slice_.join(ends(MOST_LEASES + 1))
    assert slice_.vlan_pool_used == []
    slice_.join(ends(MOST_LEASES + 1), services=NONE)


def test_a_vm_has_one_end_of_a_link() -> None:
    with pytest.raises(Refused, match=r"^A link joins two different VMs; VM 1001 was given twice$"):
        slice_of(2).join([(1001, "eth1"), (1002, "eth1"), (1001, "eth2")])


def test_a_link_that_is_gone_frees_its_vlan_and_no_id() -> None:
    slice_ = slice_of(3)
    slice_.join(ends(3), cidr="10.1.2.0/24", addresses={1001: "10.1.2.99"})
    last = slice_.join(ends(2, "eth2"))
    before = slice_.to_dict()
    slice_.unlink(last)
    again = slice_.join(ends(2, "eth2"))
    assert (again.vlan_id, again.link_id) == (101, 3)
    slice_.unlink(again)
    slice_.unlink(slice_.links[0])
    assert (slice_.links, slice_.networks, slice_.vlan_pool_used) == ([], [], [])
    assert [
        nic.to_dict() for vm in slice_.vms for nic in vm.interfaces if nic.link_id or nic.vlan_id or nic.address
    ] == []
    assert before["links"][1]["link_id"] == 2
