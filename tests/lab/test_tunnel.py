"""A lab whose data network carries IP packets only: the VLANs pass between the hosts by a tunnel of the product.

Open vSwitch is in user space there, where TCP of guests stalls in tunnels. So frames are given to the switch as if a
guest had sent them, and are looked for at the other end's TAP.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import pytest
import yaml

from lab import Lab
from network.tunnel import LEARNED, MOST_LEARNED
from tests.lab.test_drift import Pair, cli, codes
from tests.lab.test_lans import command
from tests.support.lab import frames as f
from tests.support.lab.kinds import KINDS, TAGGED, Ear, frame, send
from tests.support.lab.visitor import Guest, Menu, brought_up, traces, wait_until

pytestmark = pytest.mark.lab

TO_WORKER2 = "tun1_0a001402"
FULL_PING = "ping -c 1 -W 2 -s 1472"


@pytest.fixture(scope="module")
def lab(worker_id: str) -> Iterator[Lab]:
    with brought_up(f"tunnel-{worker_id}", underlay="tunnel") as lab:
        yield lab


class Tunnelled(Pair):
    """Two linked VMs on two workers, whose second link passes frames with tags of their own."""

    def __init__(self, lab: Lab, menu: Menu) -> None:
        super().__init__(lab, menu, "tunnel")
        self.guest = Guest(lab, self.slice_id, self.vms["one"])
        self.peer = self.vms["two"].addresses["eth1"]

    def send(self, host: str, port: str, frames: list[bytes]) -> None:
        send(self.lab, host, "br-int", port, frames)

    def listen(self, name: str, nic: str = "eth1") -> Ear:
        return Ear(self.lab, self.vms[name].worker, self.tap(name, nic))

    def close(self) -> None:
        self.guest.console.close()


@pytest.fixture(scope="module")
def before_the_tunnel(lab: Lab) -> dict[str, str]:
    return traces(lab)


@pytest.fixture(scope="module")
def pair(lab: Lab, before_the_tunnel: dict[str, str]) -> Iterator[Tunnelled]:  # noqa: ARG001 - it comes first
    menu = Menu(lab)
    made = Tunnelled(lab, menu)
    yield made
    menu.close()


def test_guests_reach_each_other_and_the_internet(pair: Tunnelled) -> None:
    assert {pair.vms["one"].worker, pair.vms["two"].worker} == {"worker1", "worker2"}
    assert pair.guest.reaches(pair.peer)
    assert pair.guest.succeeds(f"{FULL_PING} {pair.peer}"), "a packet of 1,500 bytes"
    assert pair.guest.reaches("8.8.8.8")
    assert pair.guest.succeeds(f"{FULL_PING} 8.8.8.8")
    assert codes(pair.lab) == set()
    assert cli(pair.lab, "prove")[0] == 0


def test_a_transparent_link_passes_every_kind_of_frame(pair: Tunnelled) -> None:
    source = pair.vms["one"].macs["eth1"]
    marks = {name: b"%04d" % number for number, name in enumerate(KINDS)}
    assert len(marks) == 17
    file = yaml.safe_load(command(pair.lab, "export", str(pair.slice_id)).stdout)
    for transparent in (False, True):
        file["links"] = [{**link, "transparent": transparent} for link in file["links"]]
        answer = command(pair.lab, "apply", "-", "--yes", text=yaml.safe_dump(file))
        assert answer.returncode == 0, answer.stderr
        wanted = {name for name in KINDS if transparent or name not in TAGGED}
        ear = pair.listen("two")
        sent = [frame(source, kind, marks[name]) for name, kind in KINDS.items()]
        pair.send(pair.vms["one"].worker, pair.tap("one", "eth1"), sent)
        heard = ear.hears(len(wanted)) + ear.hears(0)
        assert {name for name, mark in marks.items() if mark in heard} == wanted
    assert pair.guest.succeeds(f"{FULL_PING} {pair.peer}")


def test_a_mac_may_be_at_another_host_on_each_link(pair: Tunnelled) -> None:
    """Let one MAC send from a worker on the first link, from the other on the second; then send to it from a third."""
    assert cli(pair.lab, "link", str(pair.slice_id), "one:eth2", "two:eth2")[0] == 0
    pair.vms = pair.menu.topology(pair.slice_id)
    places = {"eth1": "one", "eth2": "two"}
    for nic, name in places.items():
        hello = f.ethernet("02:00:00:00:00:77", f.BROADCAST, f.LOCAL_EXPERIMENT, b"HELLO")
        pair.send(pair.vms[name].worker, pair.tap(name, nic), [hello])
    ears = {(name, nic): pair.listen(name, nic) for nic in places for name in ("one", "two")}
    for nic in places:
        answer = "02:00:00:00:00:77", f.LOCAL_EXPERIMENT, b""
        sent = [frame("02:00:00:00:00:78", answer, b"%s%02d" % (nic[-2:].encode(), number)) for number in range(10)]
        pair.send("network", f"gw_vlan{pair.vms['one'].vlans[nic]}", sent)
    wanted = {("one", "eth1"): 10, ("two", "eth1"): 0, ("one", "eth2"): 0, ("two", "eth2"): 10}
    heard = {place: ears[place].hears(count) for place, count in wanted.items()}
    assert {place: len(set(marks)) for place, marks in heard.items()} == wanted


def test_a_flood_of_macs_costs_no_other_link_its_macs(pair: Tunnelled) -> None:
    """Let a VM send from more MACs than the bridge may know; the other link's MAC was learned before."""
    vlan = pair.vms["two"].vlans["eth2"]
    other = f"vlan_tci=0x{vlan:04x}/0x0fff,dl_dst=02:00:00:00:00:77"
    numbers = itertools.count()

    def flood() -> str:
        """Send from 2,000 further MACs, few at a time, and return what the other worker has learned."""
        for _ in range(10):
            sources = ["02:01:" + number.to_bytes(4).hex(":") for number in itertools.islice(numbers, 200)]
            frames = [f.ethernet(source, f.BROADCAST, f.LOCAL_EXPERIMENT, b"") for source in sources]
            pair.send(pair.vms["two"].worker, pair.tap("two", "eth1"), frames)
        argv = ["ovs-ofctl", "dump-flows", "br-tun", f"table={LEARNED}"]
        return pair.lab.exec(pair.vms["one"].worker, argv).stdout

    wait_until(lambda: flood().count("dl_dst=") == MOST_LEARNED - 1, "a full table", 60)  # one flow is no learned one
    learned = flood()
    assert learned.count("dl_dst=") == MOST_LEARNED - 1
    assert other in learned
    assert codes(pair.lab) == set()
    assert pair.guest.reaches(pair.peer)


DAMAGE: dict[str, tuple[str, tuple[str, ...], set[str]]] = {
    "a port is removed": (
        "worker1", ("ovs-vsctl", "del-port", "br-tun", TO_WORKER2), {"tunnel-missing", "tunnel-flows"},
    ),
    "a port leads elsewhere": (
        "worker1", ("ovs-vsctl", "set", "Interface", TO_WORKER2, "options:remote_ip=10.0.20.9"), {"tunnel-wrong"},
    ),
    "the patch is removed": ("network", ("ovs-vsctl", "del-port", "br-int", "patch-tun"), {"tunnel-missing"}),
    "the flows are removed": ("worker2", ("ovs-ofctl", "del-flows", "br-tun"), {"tunnel-flows"}),
    "frames could circle": (
        "worker2", ("ovs-ofctl", "add-flow", "br-tun", "priority=99,actions=NORMAL"), {"tunnel-flows"},
    ),
    "the bridge is removed": ("network", ("ovs-vsctl", "del-br", "br-tun"), {"tunnel-missing"}),
    "STP is dropped": ("worker1", ("ovs-vsctl", "clear", "Bridge", "br-int", "other_config"), {"tunnel-wrong"}),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_tunnel_is_found_and_repaired(pair: Tunnelled, damage: str) -> None:
    host, argv, found = DAMAGE[damage]
    pair.lab.exec(host, list(argv))
    assert codes(pair.lab) == found
    (repaired,) = pair.repair()
    assert repaired.startswith("tunnel on 10.0.10.")
    assert codes(pair.lab) == set()


def test_the_repaired_tunnel_passes_frames(pair: Tunnelled) -> None:
    assert pair.guest.reaches(pair.peer)
    assert pair.guest.reaches("8.8.8.8")
    assert pair.repair() == []


def test_a_way_out_of_the_cloud_is_a_breach(pair: Tunnelled) -> None:
    options = ["type=geneve", "options:remote_ip=10.0.20.9", "options:key=1"]
    pair.lab.exec("worker1", ["ovs-vsctl", "add-port", "br-tun", "x9", "--", "set", "Interface", "x9", *options])
    status, said = cli(pair.lab, "prove")
    assert status == 1
    assert "breach: 10.0.10.1: port x9 of br-tun does not lead to a host of the cloud" in said
    assert pair.repair() == ["tunnel on 10.0.10.1"]
    status, said = cli(pair.lab, "prove")
    assert status == 0, said


@pytest.mark.parametrize(
    ("damage", "cure", "code", "why"),
    [
        (["ip", "link", "set", "br-phys", "mtu", "1500"], ["ip", "link", "set", "br-phys", "mtu", "1700"],
         "tunnel-narrow", "br-phys has an MTU of 1500, and the tunnel needs 1600 or more"),
        (["ovs-vsctl", "add-port", "br-int", "v9", "--", "set", "Interface", "v9", "type=vxlan",
          "options:remote_ip=10.0.20.9"], ["ovs-vsctl", "del-port", "br-int", "v9"],
         "tunnel-doubled", "port v9 of br-int leads to other hosts beside the tunnel"),
        (["ip", "address", "del", "10.0.20.2/24", "dev", "br-phys"],
         ["ip", "address", "add", "10.0.20.2/24", "dev", "br-phys"],
         "tunnel-address", "no interface has the address 10.0.20.2"),
    ],
    ids=["MTU", "a trunk, too", "no address"],
)  # fmt: skip
def test_a_network_that_cannot_carry_the_tunnel_is_refused(
    pair: Tunnelled, damage: list[str], cure: list[str], code: str, why: str
) -> None:
    pair.lab.exec("worker2", damage)
    try:
        assert codes(pair.lab) == {code}
        assert f"Error: 10.0.10.2: tunnel: {why}" in pair.menu.choose(11, pair.slice_id)
    finally:
        pair.lab.exec("worker2", cure)
    assert codes(pair.lab) == set()


def test_the_deletion_leaves_the_tunnel_only_and_the_doctor_removes_it(
    pair: Tunnelled, before_the_tunnel: dict[str, str]
) -> None:
    settings = pair.lab.database.read_text()
    pair.lab.database.write_text(settings.replace("\nunderlay: tunnel\n", "\nunderlay: trunk\n"))
    assert "underlay" in cli(pair.lab, "list")[1], "the setting cannot change while there are slices"
    pair.lab.database.write_text(settings)
    pair.close()
    pair.menu.delete(pair.slice_id)
    assert codes(pair.lab) == set()
    left = traces(pair.lab)
    for host in left:
        said = pair.lab.exec(host, ["ovs-vsctl", "list-ports", "br-int"]).stdout.split()
        assert said == ["patch-tun"]
        pair.lab.exec(host, ["ovs-vsctl", "br-exists", "br-tun"])
    settings = re.sub(r"^(underlay|data_addresses): .*\n", "", pair.lab.database.read_text(), flags=re.MULTILINE)
    pair.lab.database.write_text(settings)
    assert codes(pair.lab) == {"orphan-tunnel", "data-port-missing"}
    assert codes(pair.lab, "--fix", "--yes") == {"data-port-missing"}
    switches = {host: _switch(text) for host, text in traces(pair.lab).items()}
    assert switches == {host: _switch(text) for host, text in before_the_tunnel.items()}


def _switch(trace: str) -> list[str]:
    """Return what a trace says of Open vSwitch and of devices."""
    return [line for line in trace.splitlines() if re.search(r"Bridge|Port|Interface|br-|tun|ens", line)]
