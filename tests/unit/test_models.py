"""The domain: documented layouts and formulas, and no resource with two owners."""

from __future__ import annotations

import ipaddress
import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import models
from allocation import ids
from allocation.holdings import Holdings
from allocation.taken import Taken, TakenBy, taken_by
from core import formats, names
from core.errors import Refused
from core.inventory import INTERNET_VLAN, HypervisorSettings, InternetSettings, Inventory
from core.names import VMFiles
from core.rule import Record
from core.status import NetworkStatus, SliceStatus, VMStatus
from core.values import IPConfig
from models import VM, Flavor, Interface, Link, Network, Slice, User
from storage import rules
from storage.state import Slices, State
from tests.support.paths import DATA, ROOT

INTERNET = InternetSettings()

any_slice_id = st.integers(names.FIRST_ID, names.LAST_SLICE_ID)
any_id = st.integers(names.FIRST_ID, names.LAST_ID)


def sample(slice_id: int) -> Record:
    record: Record = json.loads((DATA / f"documented_slice_{slice_id}.json").read_text())
    return record


def machine(vm_id: int, data_interfaces: int = 1, name: str | None = None, port: int | None = None) -> VM:
    interfaces = [Interface(f"eth{i}", mac=names.mac_address(vm_id, i)) for i in range(1 + data_interfaces)]
    return VM(vm_id, name or f"vm{vm_id}", "admin", "10.0.10.1", port or 5901 + vm_id % 1000, interfaces)


def pair(slice_id: int = 1000, data_interfaces: int = 1) -> Slice:
    slice_ = Slice(slice_id, "admin")
    slice_.vms = [machine(slice_id + 1, data_interfaces), machine(slice_id + 2, data_interfaces)]
    return slice_


def full_pool(slice_id: int) -> tuple[Slice, int]:
    """Return a slice with as many links as its pool allows, and their number; the next one is refused."""
    slice_ = Slice(slice_id, "admin")
    slice_.vms = [machine(20_000 + i, 10) for i in range(6)]
    count = 0
    for left in range(0, 6, 2):
        for index in range(1, 11):
            try:
                slice_.connect(20_000 + left, f"eth{index}", 20_001 + left, f"eth{index}")
            except Refused:
                return slice_, count
            count += 1
    return slice_, count


# --- Documented layouts -----------------------------------------------------------------------------------------------


def test_the_documented_slice_is_read_and_written_to_the_letter() -> None:
    record = sample(1000)
    assert json.dumps(Slice.from_dict(record).to_dict()) == json.dumps(record)


def test_the_documented_running_slice_is_read_with_all_it_says() -> None:
    record = sample(1001)
    written = Slice.from_dict(record).to_dict()
    for vm in written["vms"]:
        assert vm.pop("interfaces")[0].pop("ip_config") is None
    for vm in record["vms"]:
        del vm["interfaces"]
    assert written == record


@pytest.mark.parametrize("slice_id", [1000, 1001])
def test_the_documented_slices_keep_all_rules(slice_id: int) -> None:
    slice_ = Slice.from_dict(sample(slice_id))
    user = User(slice_.owner, "")
    user.used_vms, user.slices = len(slice_.vms), [slice_id]
    rules.check(State(Inventory(), {}, {slice_.owner: user}, {}, Slices({slice_id: slice_}), 1000, 100))


def test_keys_are_written_in_the_documented_order() -> None:
    assert list(User("alice", "abc").to_dict()) == ["username", "password_hash", "quota_vms", "used_vms", "slices"]
    assert list(Interface("eth0").to_dict()) == ["name", "vlan_id", "mac", "ip_config", "link_id"]
    assert list(Link(1, 100, 1, "eth1", 2, "eth1").to_dict()) == [
        "link_id", "vlan_id", "vm1_id", "vm1_interface", "vm2_id", "vm2_interface",
    ]  # fmt: skip
    assert list(machine(1001).to_dict()) == [
        "vm_id", "name", "owner", "worker_ip", "vnc_port", "status", "pid", "qcow_image", "flavor", "interfaces",
    ]  # fmt: skip
    assert list(Network.of_vlan(101).to_dict()) == [
        "vlan_id", "cidr", "gateway_ip", "dhcp_enabled", "dhcp_range", "status",
    ]  # fmt: skip
    assert list(Slice(1000, "admin").to_dict()) == [
        "slice_id", "owner", "topology_type", "vlan_pool_start", "vlan_pool_end", "vlan_pool_used", "status", "vms",
        "links", "networks",
    ]  # fmt: skip


def test_undocumented_keys_follow_and_are_left_out_while_empty() -> None:
    slice_ = pair()
    slice_.name, slice_.left = "lab", ["tap"]
    slice_.vms[0].vnc_secret = "s"
    slice_.vms[0].flavor_name, slice_.vms[0].disk_id = "cirros", "00000000000000ff"
    assert list(slice_.to_dict())[-3:] == ["networks", "name", "left"]
    assert list(slice_.to_dict()["vms"][0])[-4:] == ["interfaces", "flavor_name", "disk_id", "vnc_secret"]


def test_the_constructors_have_the_documented_defaults() -> None:
    user, vm, slice_ = User("alice", "abc"), machine(1001), Slice(1000, "admin")
    network = Network(101, "192.168.101.0/24", "192.168.101.1")
    assert (user.quota_vms, user.used_vms, user.slices) == (10, 0, [])
    assert (vm.status, vm.pid, vm.qcow_image, vm.flavor) == (VMStatus.PENDING, None, None, None)
    assert (slice_.status, slice_.topology_type, slice_.vlan_pool_used) == (SliceStatus.DESIGN, "custom", [])
    assert (network.dhcp_enabled, network.dhcp_range, network.status) == (False, None, NetworkStatus.PENDING)


def test_a_state_is_written_as_text_and_equals_the_documented_one() -> None:
    for state in (*SliceStatus, *VMStatus, *NetworkStatus):
        documented: object = state.value
        assert type(documented) is str
        assert state == documented == f"{state}"
    slice_ = pair()
    slice_.connect(1001, "eth1", 1002, "eth1")
    record = slice_.to_dict()
    states = [record["status"], *(part["status"] for part in (*record["vms"], *record["networks"]))]
    assert states == ["design", "pending", "pending", "pending"]
    assert {type(state) for state in states} == {str}


@pytest.mark.long
@pytest.mark.parametrize(
    "line", ['vm.status == "runing"', 'vm.status in {"runing"}', "vm.status == SliceStatus.RUNNING"]
)
def test_the_checker_refuses_a_comparison_with_text_or_with_another_kind_of_state(line: str) -> None:
    source = (
        f"from core.status import SliceStatus\nfrom models import VM\n\ndef check(vm: VM) -> bool:\n    return {line}\n"
    )
    checker = (sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file=", "--command", source)
    checked = subprocess.run(checker, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "comparison-overlap" in checked.stdout, checked.stdout + checked.stderr


def test_a_record_with_the_required_keys_only_has_the_documented_defaults() -> None:
    assert Slice.from_dict({"slice_id": 1000, "owner": "a"}).to_dict() == Slice(1000, "a").to_dict()
    assert User.from_dict({"username": "a", "password_hash": "b"}).to_dict() == User("a", "b").to_dict()
    assert Interface.from_dict({"name": "eth0"}).to_dict() == Interface("eth0").to_dict()
    network = {"vlan_id": 101, "cidr": "192.168.101.0/24", "gateway_ip": "192.168.101.1"}
    assert Network.from_dict(network).to_dict() == Network(101, "192.168.101.0/24", "192.168.101.1").to_dict()
    vm = {"vm_id": 1, "name": "a", "owner": "b", "worker_ip": "c", "vnc_port": 5901, "interfaces": []}
    assert VM.from_dict(vm).to_dict() == VM(1, "a", "b", "c", 5901, []).to_dict()


def test_the_documented_quota_example() -> None:
    user = User("alice", "abc123...", quota_vms=5)
    user.used_vms = 4
    assert user.can_create_vms(1)
    assert not user.can_create_vms(2)


def test_the_documented_flavors() -> None:
    assert Flavor.get("cirros") == {
        "cores": 1,
        "ram_gb": 0.5,
        "disk_gb": 1,
        "image": "/tmp/vm_images/cirros-0.6.2-x86_64-disk.img",
    }
    assert Flavor.get("unknown") is None


def test_the_constructors_take_the_documented_mappings() -> None:
    address = {"ip": "10.60.7.101", "cidr": "10.60.7.0/24", "gateway": "10.60.7.1"}
    vm = VM(1001, "vm1", "admin", "10.0.10.1", 5901, [Interface("eth0", 400, None, address)], Flavor.get("ubuntu"))
    assert vm.interfaces[0].ip_config == IPConfig("10.60.7.101", "10.60.7.0/24", "10.60.7.1")
    assert vm.flavor == Flavor.from_dict(Flavor.FLAVORS["ubuntu"])
    record = vm.to_dict()
    assert (record["flavor"], record["interfaces"][0]["ip_config"]) == (Flavor.FLAVORS["ubuntu"], address)
    assert record["flavor"] is not Flavor.FLAVORS["ubuntu"]


def test_a_flavor_of_an_older_file_keeps_the_keys_that_it_has() -> None:
    for record in ({}, {"cores": 2}, {"ram_gb": 1, "disk_gb": 3}, {"image": "/a.img"}):
        assert Flavor.from_dict(record).to_dict() == record


def test_a_vm_has_the_size_of_its_flavor_and_the_documented_one_without() -> None:
    vm = machine(1001)
    assert (vm.size.cores, vm.ram_mib, vm.disk_mib) == (1, 512, 1024)
    vm.flavor = Flavor(cores=2, ram_gb=1.5, disk_gb=2.2)
    assert (vm.size.cores, vm.ram_mib, vm.disk_mib) == (2, 1536, 2252)


@pytest.mark.parametrize(
    ("slice_id", "start", "end"),
    [(1000, 100, 119), (1001, 120, 139), (1002, 140, 159), (1050, 1100, 1119), (1099, 2080, 2099), (1100, 100, 119)],
)
def test_the_documented_pool_formula(slice_id: int, start: int, end: int) -> None:
    slice_ = Slice(slice_id, "admin")
    assert (slice_.vlan_pool_start, slice_.vlan_pool_end) == (start, end)


def test_vlans_are_taken_in_order() -> None:
    slice_ = Slice(1000, "admin")
    assert [slice_.get_next_vlan() for _ in range(21)] == [*range(100, 120), None]
    assert slice_.vlan_pool_used == list(range(100, 120))


def test_a_vlan_given_back_is_the_next_one() -> None:
    slice_ = Slice(1000, "admin")
    slice_.vlan_pool_used = [100, 102]
    assert slice_.get_next_vlan() == 101


def test_the_documented_subnet_of_a_vlan() -> None:
    assert Network.of_vlan(120).to_dict() == {
        "vlan_id": 120,
        "cidr": "192.168.120.0/24",
        "gateway_ip": "192.168.120.1",
        "dhcp_enabled": True,
        "dhcp_range": "192.168.120.10,192.168.120.250",
        "status": "pending",
    }
    assert names.vlan_cidr(1100) == "192.168.76.0/24"


def test_the_documented_macs() -> None:
    assert [names.mac_address(1001, i) for i in (0, 1)] == ["52:54:00:03:e9:00", "52:54:00:03:e9:01"]


def test_names_on_the_hosts_are_the_documented_ones() -> None:
    assert names.tap_name(1002, "eth1") == "tap_1002_eth1"
    assert names.gateway_port(120) == "gw_vlan120"
    assert names.dhcp_namespace(120) == "ns-dhcp-vlan120"
    assert names.dhcp_port(120) == "dhcp_v120"
    assert names.router_namespace(1000) == "ns-gw-slice1000"
    assert names.process_name(1000, 1001) == "slice1000-vm1001"
    assert VMFiles("vm_images", 1000, "vm1").overlay == "vm_images/slice-1000/vm1_img.qcow2"


# --- There and back ---------------------------------------------------------------------------------------------------

valid_names = st.text("abcXYZ019_-", min_size=1, max_size=32)
maybe = st.none() | st.integers(1, 4094)
interfaces = st.builds(
    Interface,
    valid_names,
    maybe,
    st.none() | valid_names,
    st.none() | st.fixed_dictionaries({"ip": valid_names, "cidr": valid_names, "gateway": valid_names}),
    maybe,
)


@st.composite
def vms(draw: st.DrawFn) -> VM:
    flavor = st.none() | st.fixed_dictionaries(
        {"cores": st.integers(1, 64), "ram_gb": st.floats(0.1, 9), "image": valid_names}
    )
    vm = VM(
        draw(any_id), draw(valid_names), draw(valid_names), draw(valid_names), draw(st.integers(5901, 65_535)),
        draw(st.lists(interfaces, max_size=3)), draw(flavor), draw(st.none() | valid_names),
    )  # fmt: skip
    vm.status = draw(st.sampled_from(VMStatus))
    vm.pid, vm.flavor_name, vm.disk_id, vm.vnc_secret = (
        draw(st.none() | valid_names),
        draw(st.none() | valid_names),
        draw(st.none() | valid_names),
        draw(st.none() | valid_names),
    )
    return vm


@st.composite
def slices(draw: st.DrawFn) -> Slice:
    slice_ = Slice(draw(any_id), draw(valid_names), draw(valid_names))
    slice_.vlan_pool_used = draw(st.lists(st.integers(1, 4094), max_size=3))
    slice_.vms = draw(st.lists(vms(), max_size=3))
    link = st.builds(Link, st.integers(1, 20), st.integers(1, 4094), any_id, valid_names, any_id, valid_names)
    slice_.links = draw(st.lists(link, max_size=3))
    network = st.builds(Network, st.integers(1, 4094), valid_names, valid_names, st.booleans(), st.none() | valid_names)
    slice_.networks = draw(st.lists(network, max_size=3))
    slice_.status = draw(st.sampled_from(SliceStatus))
    slice_.name, slice_.left = draw(st.just("") | valid_names), draw(st.lists(valid_names, max_size=2))
    return slice_


@given(slices())
@settings(max_examples=100, deadline=None)
def test_a_slice_read_back_is_the_slice_written_and_shares_nothing_with_it(slice_: Slice) -> None:
    record = slice_.to_dict()
    text = json.dumps(record)
    again = Slice.from_dict(record)
    assert json.dumps(again.to_dict()) == text
    again.vlan_pool_used.append(1)
    again.left.append("x")
    for vm in again.vms:
        vm.flavor = Flavor(cores=99)
        for interface in vm.interfaces:
            interface.ip_config = IPConfig("changed", "", "")
    again.vms.clear()
    assert json.dumps(record) == json.dumps(slice_.to_dict()) == text


@given(valid_names, valid_names, st.integers(0, 10_000), st.integers(0, 10_000), st.lists(any_id))
def test_a_user_read_back_is_the_user_written(name: str, digest: str, quota: int, used: int, owned: list[int]) -> None:
    user = User(name, digest, quota)
    user.used_vms, user.slices = used, owned
    assert User.from_dict(user.to_dict()).to_dict() == user.to_dict()


# --- Links ------------------------------------------------------------------------------------------------------------


def test_a_link_is_recorded_at_both_ends_and_with_its_network() -> None:
    slice_ = pair()
    link = slice_.connect(1001, "eth1", 1002, "eth1")
    assert link.to_dict() == {
        "link_id": 1, "vlan_id": 100, "vm1_id": 1001, "vm1_interface": "eth1", "vm2_id": 1002, "vm2_interface": "eth1",
    }  # fmt: skip
    for vm in slice_.vms:
        assert (vm.interfaces[1].vlan_id, vm.interfaces[1].link_id) == (100, 1)
        assert (vm.interfaces[0].vlan_id, vm.interfaces[0].link_id) == (None, None)
    assert [network.vlan_id for network in slice_.networks] == slice_.vlan_pool_used == [100]


def test_the_ends_of_a_link_know_their_addresses_and_each_other() -> None:
    slice_ = pair()
    link = slice_.connect(1001, "eth1", 1002, "eth1")
    first, second = slice_.vms
    assert slice_.address_of(first, first.interfaces[1]) == "192.168.100.10"
    assert slice_.address_of(second, second.interfaces[1]) == "192.168.100.11"
    assert slice_.address_of(first, first.interfaces[0]) is None
    assert (link.peers_of(1001), link.peers_of(1002)) == ([(1002, "eth1")], [(1001, "eth1")])


@pytest.mark.parametrize(
    ("ends", "sentence"),
    [
        ((1001, "eth1", 1001, "eth2"), "A link joins two different VMs; VM 1001 was given twice"),
        ((1001, "eth2", 1009, "eth1"), "Slice 1000 has no VM 1009; its VMs: 1001, 1002"),
        ((1009, "eth1", 1002, "eth2"), "Slice 1000 has no VM 1009; its VMs: 1001, 1002"),
        ((1001, "eth0", 1002, "eth1"), "VM 1001 (vm1001): 'eth0' cannot be linked; its free data interfaces: eth2"),
        ((1001, "eth2", 1002, "eth0"), "VM 1002 (vm1002): 'eth0' cannot be linked; its free data interfaces: eth2"),
        ((1001, "eth1", 1002, "eth2"), "VM 1001 (vm1001): eth1 is taken; its free data interfaces: eth2"),
        ((1001, "eth2", 1002, "eth1"), "VM 1002 (vm1002): eth1 is taken; its free data interfaces: eth2"),
        ((1001, "eth3", 1002, "eth2"), "VM 1001 (vm1001): 'eth3' cannot be linked; its free data interfaces: eth2"),
        ((1001, "", 1002, "eth2"), "VM 1001 (vm1001): '' cannot be linked; its free data interfaces: eth2"),
        (
            (1001, "eth2\n", 1002, "eth2"),
            "VM 1001 (vm1001): 'eth2\\n' cannot be linked; its free data interfaces: eth2",
        ),
    ],
)
def test_a_link_that_may_not_be_is_refused_and_spends_no_vlan(ends: tuple[int, str, int, str], sentence: str) -> None:
    slice_ = pair(data_interfaces=2)
    slice_.connect(1001, "eth1", 1002, "eth1")
    before = slice_.to_dict()
    with pytest.raises(Refused) as refused:
        slice_.connect(*ends)
    assert str(refused.value) == sentence
    assert slice_.to_dict() == before


def test_a_vm_without_a_free_interface_says_so() -> None:
    slice_ = pair(data_interfaces=0)
    with pytest.raises(Refused, match="its free data interfaces: none"):
        slice_.connect(1001, "eth1", 1002, "eth1")


@given(any_id)
@settings(deadline=None)
def test_a_pool_gives_20_links_and_19_where_the_internets_vlan_is_in_it(slice_id: int) -> None:
    slice_, count = full_pool(slice_id)
    assert count == len(set(slice_.vlan_pool_used)) == (19 if slice_id % 100 == 15 else 20)
    assert INTERNET_VLAN not in slice_.vlan_pool_used
    assert all(slice_.vlan_pool_start <= vlan <= slice_.vlan_pool_end for vlan in slice_.vlan_pool_used)
    assert all(1 <= vlan <= 4094 for vlan in slice_.vlan_pool_used)


@pytest.mark.parametrize(("slice_id", "count"), [(1000, 20), (1015, 19), (1115, 19)])
def test_an_exhausted_pool_is_refused_as_documented_and_changes_nothing(slice_id: int, count: int) -> None:
    slice_, _ = full_pool(slice_id)
    before = slice_.to_dict()
    with pytest.raises(Refused) as refused:
        slice_.connect(20_004, "eth1", 20_005, "eth1")
    assert str(refused.value) == (
        f"VLAN pool exhausted: this slice can have {count} links; put further VMs into another slice"
    )
    assert slice_.to_dict() == before


def test_another_vlan_reserved_for_the_internet_is_kept_free_instead_of_400() -> None:
    slice_ = pair(1000, 2)
    assert slice_.connect(1001, "eth1", 1002, "eth1", reserved=100).vlan_id == 101
    assert Slice(1015, "admin").get_next_vlan(reserved=100) == 400


# --- Allocation -------------------------------------------------------------------------------------------------------


def test_the_first_ids_are_the_documented_ones() -> None:
    assert ids.next_slice_id(1000, taken_by([])) == 1000
    assert ids.next_vm_id(1001, taken_by([Slice(1000, "admin")])) == 1001
    assert ids.next_vnc_port(taken_by([])) == 5901


def test_the_lowest_free_vnc_port_is_given_again_after_deletion() -> None:
    slice_ = Slice(1000, "admin")
    slice_.vms = [machine(1001, port=5901), machine(1002, port=5903)]
    assert ids.next_vnc_port(taken_by([slice_])) == 5902


def test_when_all_vnc_ports_are_held_the_next_is_refused() -> None:
    slice_ = Slice(1000, "admin")
    slice_.vms = [VM(i, "vm", "a", "w", port, []) for i, port in enumerate(range(5901, 65_536))]
    with pytest.raises(Refused, match="All VNC ports are in use"):
        ids.next_vnc_port(taken_by([slice_]))


def test_a_slice_gets_an_id_whose_pool_is_free_and_the_last_pool_is_found() -> None:
    live = [Slice(1000 + i, "admin") for i in range(100) if i != 37]
    assert ids.next_slice_id(1100, taken_by(live)) == 1137
    with pytest.raises(Refused, match="All 100 VLAN pools are in use: delete a slice first"):
        ids.next_slice_id(1100, taken_by([*live, Slice(1037, "admin")]))


def test_after_the_last_id_the_first_free_one_is_next() -> None:
    slice_ = Slice(1000, "admin")
    slice_.vms = [machine(1001)]
    assert ids.next_vm_id(names.LAST_ID + 1, taken_by([slice_])) == 1002


def test_an_id_whose_macs_are_held_by_an_id_65536_away_is_skipped() -> None:
    slice_ = Slice(1000, "admin")
    slice_.vms = [machine(1001)]
    assert names.mac_address(1001 + 65_536, 0) == names.mac_address(1001, 0)
    assert ids.next_vm_id(1001 + 65_536, taken_by([slice_])) == 1002 + 65_536


def with_addresses(*hosts: int) -> Taken:
    slice_ = Slice(1000, "admin")
    for number, host in enumerate(hosts):
        vm = machine(1001 + number)
        vm.interfaces[0].ip_config = IPConfig(f"10.60.7.{host}", INTERNET.cidr, INTERNET.gateway)
        slice_.vms.append(vm)
    return taken_by([slice_])


def test_the_documented_internet_address_is_given_where_it_is_free_and_else_the_first_free_one() -> None:
    documented = sample(1000)["vms"][0]["interfaces"][0]["ip_config"]
    assert ids.next_internet_address(1001, taken_by([]), INTERNET).to_dict() == documented
    assert ids.next_internet_address(1101, with_addresses(101), INTERNET).ip == "10.60.7.10"
    assert ids.next_internet_address(1101, with_addresses(101, 10, 11, 13), INTERNET).ip == "10.60.7.12"


def test_the_gateways_address_is_never_given_out() -> None:
    internet = InternetSettings(gateway="10.60.7.101")
    assert ids.next_internet_address(1001, taken_by([]), internet).ip == "10.60.7.10"


def test_when_all_internet_addresses_are_held_the_next_is_refused() -> None:
    with pytest.raises(Refused, match=r"All addresses of the internet network 10.60.7.0/24 are in use"):
        ids.next_internet_address(1001, with_addresses(*range(10, 251)), INTERNET)


@pytest.mark.parametrize(
    ("cidr", "last", "addresses"), [("10.60.7.0/24", "10.60.7.250", 241), ("10.60.4.0/22", "10.60.7.250", 1009)]
)
def test_a_larger_internet_network_has_more_addresses(cidr: str, last: str, addresses: int) -> None:
    internet = InternetSettings(cidr=cidr, gateway=cidr.replace(".0/", ".1/").partition("/")[0])
    base = int(internet.network[0])
    most = [str(internet.network[host]) for host in range(10, addresses + 9)]
    assert ids.next_internet_address(1001, with_held(*most), internet).ip == last
    assert int(ipaddress.IPv4Address(last)) - base == internet.last_host
    with pytest.raises(Refused, match="are in use"):
        ids.next_internet_address(1001, with_held(*most, last), internet)


def with_held(*addresses: str) -> Taken:
    return TakenBy([replace(Holdings.of(Slice(1000, "admin")), addresses=frozenset(addresses))])


@given(any_id, any_id, st.integers(0, models.MAX_DATA_INTERFACES))
@example(2560, 100_008, 1)
@example(99_999, 100_000, 10)
def test_the_name_of_a_tap_tells_its_vm_and_is_no_other_vms(one: int, other: int, index: int) -> None:
    tap = names.tap_name(one, f"eth{index}")
    assert names.vm_of_tap(tap) == one
    assert (tap == names.tap_name(other, f"eth{index}")) is (one == other)
    assert one > 99_999 or tap == f"tap_{one}_eth{index}"


@pytest.mark.parametrize(
    ("vm_id", "tap"),
    [(99_999, "tap_99999_eth1"), (100_000, "tap_a0000_eth1"), (100_036, "tap_a0010_eth1"), (999_999, "tap_ajafz_eth1")],
)
def test_an_id_of_more_than_five_digits_is_a_code_in_the_name_of_its_tap(vm_id: int, tap: str) -> None:
    assert names.tap_name(vm_id, "eth1") == tap


@pytest.mark.parametrize(
    "name", ["tap_0_eth1", "tap_a000_eth1", "tap_A0000_eth1", "tap_a0000_eth100", "tap_1000a_eth1"]
)
def test_another_name_is_no_tap_of_a_vm(name: str) -> None:
    assert names.vm_of_tap(name) is None


def test_slices_keep_ids_of_five_digits() -> None:
    slice_ = Slice(1000, "admin")
    assert ids.next_slice_id(names.LAST_SLICE_ID + 1, taken_by([slice_])) == 1001
    assert ids.next_vm_id(names.LAST_SLICE_ID + 1, taken_by([slice_])) == 100_000


@given(any_id, st.integers(0, models.MAX_DATA_INTERFACES))
def test_every_name_fits_into_what_linux_allows(vm_id: int, index: int) -> None:
    assert len(names.tap_name(vm_id, f"eth{index}")) <= 15
    for vlan_id in (1, 100, 400, 2099, 4094):
        assert len(names.gateway_port(vlan_id)) <= 15
        assert len(names.dhcp_port(vlan_id)) <= 15


def test_a_console_socket_in_the_longest_folder_fits_into_what_linux_allows() -> None:
    from core.formats import MAX_IMAGES_DIR  # noqa: PLC0415 - the bound and what it is for, side by side

    files = VMFiles("x" * MAX_IMAGES_DIR, names.LAST_SLICE_ID, "n" * formats.MAX_NAME_LENGTH)
    assert len(files.console) == 107


def test_a_vms_files_are_its_own() -> None:
    every = [
        (
            files.overlay,
            files.disk2,
            files.uefi_variables,
            files.mark("0" * 16),
            files.mark("f" * 16),
            *files.of_its_process,
        )
        for slice_id in (1000, 10_001, 10_002)
        for name in ("vm", "vm1", "vm11", "vm1_img", "vm-1", "slice-1000")
        for files in [VMFiles("vm_images", slice_id, name)]
    ]
    flat = [path for paths in every for path in paths]
    assert len(set(flat)) == len(flat)
    assert all(names.vm_file(path.removeprefix("vm_images/")) for path in flat)


@pytest.mark.parametrize(
    ("images_dir", "path"), [("~/vm_images", "vm_images"), ("/srv/vms/", "/srv/vms"), ("~/a/b", "a/b")]
)
def test_the_images_folder_as_commands_name_it(images_dir: str, path: str) -> None:
    assert HypervisorSettings(images_dir=images_dir).images_path == path


@pytest.mark.parametrize("name", ["a", "vm1", "router-a", "x_1", "A" * 32, "-", "0"])
def test_a_name_of_letters_digits_hyphens_and_underscores_is_valid(name: str) -> None:
    assert formats.is_valid_name(name)


@pytest.mark.parametrize(
    "name", ["", "A" * 33, "a b", "a/b", "..", "a.b", "a\n", "ñ", "a;b", "$(x)", "a'", "\x00", "\u0661"]
)
def test_any_other_name_is_not(name: str) -> None:
    assert not formats.is_valid_name(name)


class SlicesInAnyOrder(RuleBasedStateMachine):
    """Slices that come and go in any order, over the whole range of ids, with resources from the functions above."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, Slice] = {}
        self.counter = names.FIRST_ID

    @rule(start=any_id)
    def the_counter_is_anywhere(self, start: int) -> None:
        self.counter = start

    @rule(pools=st.integers(1, 30))
    def create_slices(self, pools: int) -> None:
        for _ in range(pools):
            try:
                slice_id = ids.next_slice_id(self.counter, taken_by(self.live.values()))
            except Refused:
                assert len(self.live) == models.POOL_COUNT
                return
            self.counter = slice_id + 1
            self.live[slice_id] = Slice(slice_id, "admin")

    @precondition(lambda self: self.live)
    @rule(data=st.data(), count=st.integers(1, 30), nics=st.integers(0, 10), internet=st.booleans())
    def add_vms(self, data: st.DataObject, count: int, nics: int, internet: bool) -> None:
        slice_ = self.live[data.draw(st.sampled_from(sorted(self.live)))]
        for _ in range(count):
            everyone = taken_by(self.live.values())
            vm_id = ids.next_vm_id(self.counter, everyone)
            self.counter = vm_id + 1
            vm = machine(vm_id, nics, port=ids.next_vnc_port(everyone))
            if internet:
                try:
                    vm.interfaces[0].ip_config = ids.next_internet_address(vm_id, everyone, INTERNET)
                except Refused:
                    return
                vm.interfaces[0].vlan_id = INTERNET.vlan_id
            slice_.vms.append(vm)

    @precondition(lambda self: any(len(slice_.vms) > 1 for slice_ in self.live.values()))
    @rule(data=st.data(), count=st.integers(1, 25))
    def link(self, data: st.DataObject, count: int) -> None:
        able = [slice_id for slice_id, slice_ in self.live.items() if len(slice_.vms) > 1]
        slice_ = self.live[data.draw(st.sampled_from(able))]
        for _ in range(count):
            ends = data.draw(st.lists(st.sampled_from(slice_.vms), min_size=2, max_size=2))
            valid_names = [data.draw(st.sampled_from([i.name for i in vm.interfaces])) for vm in ends]
            before = slice_.to_dict()
            try:
                slice_.connect(ends[0].vm_id, valid_names[0], ends[1].vm_id, valid_names[1])
            except Refused:
                assert slice_.to_dict() == before

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        del self.live[data.draw(st.sampled_from(sorted(self.live)))]

    @invariant()
    def nothing_has_two_owners(self) -> None:
        everyone = list(self.live.values())
        machines = [vm for slice_ in everyone for vm in slice_.vms]
        nics = [(vm, interface) for vm in machines for interface in vm.interfaces]
        pools = [vlan for slice_ in everyone for vlan in range(slice_.vlan_pool_start, slice_.vlan_pool_end + 1)]
        for things in (
            [slice_.slice_id for slice_ in everyone] + [vm.vm_id for vm in machines],
            pools,
            [vlan for slice_ in everyone for vlan in (*slice_.vlan_pool_used, INTERNET_VLAN)[:-1]],
            [vm.vnc_port for vm in machines],
            [interface.mac for _, interface in nics],
            [interface.ip_config.ip for _, interface in nics if interface.ip_config],
            [names.tap_name(vm.vm_id, interface.name) for vm, interface in nics],
            [names.process_name(slice_.slice_id, vm.vm_id) for slice_ in everyone for vm in slice_.vms],
        ):
            assert len(set(things)) == len(things)

    @invariant()
    def the_internets_vlan_is_no_links(self) -> None:
        assert all(INTERNET_VLAN not in slice_.vlan_pool_used for slice_ in self.live.values())

    @invariant()
    def addresses_are_in_the_internet_network(self) -> None:
        for slice_ in self.live.values():
            for vm, interface in models.internet_interfaces(slice_):
                assert interface.ip_config
                assert ipaddress.IPv4Address(interface.ip_config.ip) in INTERNET.network
                assert slice_.address_of(vm, interface) == interface.ip_config.ip

    @invariant()
    def all_rules_of_the_database_are_kept(self) -> None:
        user = User("admin", "")
        user.slices, user.used_vms = list(self.live), sum(len(slice_.vms) for slice_ in self.live.values())
        rules.check(State(Inventory(), {}, {"admin": user}, {}, Slices(self.live), self.counter, 100))


SlicesInAnyOrder.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestSlicesInAnyOrder = pytest.mark.long(SlicesInAnyOrder.TestCase)
