"""Namespaces and the ports in them, made by real ip, nsenter and nft; ports are veths, which a stand-in adds."""

from __future__ import annotations

import pytest

from network import namespaces, neighbours
from network.namespaces import Place
from network.ovs import Port
from remote.plan import Command
from tests.support.own_host import OwnHost

ROUTER, SERVER = "ns-gw-slice1000", "ns-dhcp-vlan101"
FOLDERS = {ROUTER: f"/run/{ROUTER}", SERVER: f"/run/{SERVER}/hosts"}
MAC = "02:c1:0d:00:00:01"
PLACES = [
    Place(Port("gw_vlan101", 101, internal=True), ROUTER, "192.168.101.1", 24),
    Place(Port("gw_vlan102", 102, internal=True), ROUTER, "192.168.102.1", 24),
    Place(Port("dhcp_v101", 101, internal=True), SERVER, "192.168.101.2", 24),
]
SHARED = Place(Port("gw_vlan400", 400, internal=True), "", "10.60.7.1", 24, MAC)

# As ovs-vswitchd, it makes the device of a port that is added, where there is none.
OVS_VSCTL = """while [ $# -gt 0 ]; do
  case $1 in
    del-port) ip link del "$3" 2>/dev/null;;
    add-port) [ -e "/sys/class/net/$3" ] || ip link add "$3" type veth peer name "p$3";;
  esac
  shift
done"""


@pytest.fixture(autouse=True)
def bridge(host: OwnHost) -> None:
    host.program("ovs-vsctl", OVS_VSCTL)


def add(*, bounds: bool = True) -> Command:
    sizes = neighbours.bounds(1000, {101: 2, 102: 2}, [101, 102])
    return namespaces.add_namespaces(FOLDERS, {name: sizes[name] for name in FOLDERS} if bounds else None)


def place(*, routes: bool = True) -> Command:
    return namespaces.put_in_place(PLACES, routes=routes)


def is_done(host: OwnHost, command: Command) -> bool:
    return host.run(command.unless).returncode == 0


def carry_out(host: OwnHost, command: Command) -> str:
    """Return what a command prints; it does what its guard looks for."""
    done = host.run(command.argv)
    assert (done.returncode, done.stderr) == (0, "")
    assert is_done(host, command)
    return done.stdout


def test_namespaces_have_no_ipv6_and_know_so_many_neighbours(host: OwnHost) -> None:
    assert not is_done(host, add())
    carry_out(host, add())
    for name, path in FOLDERS.items():
        host.do(f"[ -d {path} ]")
        settings = "conf/all/disable_ipv6", "conf/lo/disable_ipv6"
        assert host.do(f"nsenter --net=/run/netns/{name} cat /proc/sys/net/ipv6/{settings[0]}") == "1\n"
        assert host.do(f"nsenter --net=/run/netns/{name} cat /proc/sys/net/ipv6/{settings[1]}") == "1\n"
        assert host.do(f"nsenter --net=/run/netns/{name} cat /proc/sys/net/ipv4/ipfrag_high_thresh") == "262144\n"
        assert f"size {neighbours.bounds(1000, {101: 2, 102: 2}, [101, 102])[name]}" in host.do(
            f"nsenter --net=/run/netns/{name} nft list ruleset"
        )
    before = host.do("ls -i /run/netns")
    carry_out(host, add())
    assert host.do("ls -i /run/netns") == before, "what is there is not made again"


@pytest.mark.parametrize(
    "harm",
    [
        f"nsenter --net=/run/netns/{ROUTER} sysctl -q -w net.ipv6.conf.lo.disable_ipv6=0",
        f"nsenter --net=/run/netns/{SERVER} nft flush ruleset",
        f"nsenter --net=/run/netns/{ROUTER} nft flush chain ip cloud-repositorio sent",
        f"ip netns del {SERVER}",
        f"rm -r /run/{SERVER}",
    ],
)
def test_a_namespace_that_was_changed_by_hand_is_repaired(host: OwnHost, harm: str) -> None:
    carry_out(host, add())
    host.do(harm)
    assert not is_done(host, add())
    carry_out(host, add())


def test_a_namespace_that_cannot_be_settled_is_named(host: OwnHost) -> None:
    host.program("nft", 'case $1 in *"size 36"*) echo "no such table" >&2; exit 1;; esac')
    done = host.run(add().argv)
    assert (done.returncode, done.stderr) == (1, f"{ROUTER}: no such table\n")
    host.do(f"[ -e /run/netns/{ROUTER} ]; [ -e /run/netns/{SERVER} ]")


def test_only_namespaces_of_ours_are_removed(host: OwnHost) -> None:
    host.do("ip netns add ns-foreign")
    carry_out(host, add())
    for _ in range(2):
        done = host.script("namespaces/remove-namespaces", *FOLDERS, "ns-foreign", "ns-none")
        assert (done.returncode, done.stderr) == (0, "")
        assert host.do("ls /run/netns").split() == ["ns-foreign"]
        assert host.do("echo /run/ns-*").split() == ["/run/ns-*"]


def test_a_namespace_that_stays_is_still_known_as_ours(host: OwnHost) -> None:
    carry_out(host, add())
    host.program("ip", "exit 1")
    assert host.script("namespaces/remove-namespaces", *FOLDERS).returncode == 1
    host.do(f"[ -d /run/{ROUTER} ]; [ -d /run/{SERVER} ]")


def test_a_foreign_namespace_with_a_name_of_ours_is_named(host: OwnHost) -> None:
    assert host.script("namespaces/check-namespace-names", *FOLDERS).returncode == 0
    host.do(f"ip netns add {SERVER}")
    done = host.script("namespaces/check-namespace-names", *FOLDERS)
    assert done.returncode == 1
    assert f"a namespace {SERVER} is there that is not ours" in done.stderr
    host.do(f"mkdir /run/{SERVER}")
    assert host.script("namespaces/check-namespace-names", *FOLDERS).returncode == 0


def add_ports(host: OwnHost, *places: Place) -> None:
    for each in places:
        host.do(f"ip link add {each.port.name} type veth peer name p{each.port.name}")


def test_ports_are_moved_into_their_namespaces(host: OwnHost) -> None:
    carry_out(host, add(bounds=False))
    add_ports(host, *PLACES)
    assert not is_done(host, place())
    assert sorted(carry_out(host, place()).split()) == ["101", "101", "102"]
    assert host.calls() == [], "the ports are on the bridge already"
    assert "192.168.102.1/24" in host.do(f"ip -n {ROUTER} -4 addr show gw_vlan102")
    assert host.do(f"nsenter --net=/run/netns/{ROUTER} cat /proc/sys/net/ipv4/ip_forward") == "1\n"
    assert (carry_out(host, place()), host.calls()) == ("", [])
    assert is_done(host, place())
    assert not is_done(host, place(routes=False))


@pytest.mark.parametrize(
    ("harm", "moved"),
    [
        (f"ip -n {ROUTER} addr flush dev gw_vlan101", ["101"]),
        (f"ip -n {ROUTER} link set gw_vlan102 down", ["102"]),
        (f"nsenter --net=/run/netns/{ROUTER} sysctl -q -w net.ipv4.ip_forward=0", []),
        ("ip link add gw_vlan101 type veth peer name again", ["101"]),
        (f"ip -n {SERVER} link del dhcp_v101", ["101"]),
        (f"ip netns del {SERVER}; ip netns add {SERVER}", ["101"]),
    ],
)
def test_a_port_that_is_not_in_place_is_put_there_again(host: OwnHost, harm: str, moved: list[str]) -> None:
    carry_out(host, add(bounds=False))
    add_ports(host, *PLACES)
    carry_out(host, place())
    host.do(harm)
    assert not is_done(host, place())
    assert carry_out(host, place()).split() == moved
    host.do("[ ! -e /sys/class/net/gw_vlan101 ]")


def test_the_port_of_a_namespace_that_is_gone_is_added_to_the_bridge_again(host: OwnHost) -> None:
    carry_out(host, add(bounds=False))
    carry_out(host, place())
    calls = host.calls()
    assert len(calls) == 2 * len(FOLDERS), "one transaction removes the lost ports, one adds them, for each namespace"
    assert "-- --if-exists del-port gw_vlan101 -- --if-exists del-port gw_vlan102" in "".join(calls)


def test_a_namespace_that_fails_is_named_and_the_other_is_done(host: OwnHost) -> None:
    carry_out(host, add(bounds=False))
    add_ports(host, *PLACES)
    wrong = [*PLACES[:2], Place(PLACES[2].port, SERVER, "192.168.101.999", 24)]
    done = host.run(namespaces.put_in_place(wrong, routes=True).argv)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"{SERVER}: Error: any valid prefix is expected")
    assert is_done(host, namespaces.put_in_place(PLACES[:2], routes=True))


def test_the_shared_gateway_stays_in_the_root_namespace_without_ipv6(host: OwnHost) -> None:
    add_ports(host, SHARED)
    command = namespaces.put_in_place([SHARED])
    assert not is_done(host, command)
    assert carry_out(host, command) == "400\n"
    shown = host.do("ip addr show gw_vlan400")
    assert MAC in shown
    assert "10.60.7.1/24" in shown
    assert host.do("cat /proc/sys/net/ipv6/conf/gw_vlan400/disable_ipv6") == "1\n"
    assert host.do("cat /proc/sys/net/ipv4/conf/gw_vlan400/arp_notify") == "1\n"
    host.do("sysctl -q -w net.ipv6.conf.gw_vlan400.disable_ipv6=0")
    assert not is_done(host, command)
    assert carry_out(host, command) == "400\n"
