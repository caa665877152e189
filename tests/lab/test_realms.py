"""Two realms on real hosts that share a worker: the same VLAN, addresses and MACs in both, on a bridge for each.

Realm `b` has the second worker as its network node, and a wire of its own to it: ens5 of both hosts.
The links of both slices are transparent.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.names import dhcp_namespace, dhcp_port, gateway_port, router_namespace, tap_name
from database import Database
from lab import Lab
from tests.lab.test_drift import cli, codes
from tests.support.lab.frames import BROADCAST, LOCAL_EXPERIMENT
from tests.support.lab.kinds import KINDS, RESERVED, Ear, frame, send
from tests.support.lab.visitor import Guest, Menu, SeenVM, empty_database, traces

pytestmark = pytest.mark.lab

BRIDGE, WIRE = "br-int-b", "ens5"
SHARED, NODE = ("worker1", "10.0.10.1"), ("worker2", "10.0.10.2")
SECOND, VMS = 66_600, ("r1", "r2")
ENDS = [(realm, name) for realm in (0, 1) for name in VMS]
BRIDGES = ("br-int", "network"), (BRIDGE, NODE[0])
"""The bridge of each realm, and the host that is its network node."""

PATCH = (("br-int", "patch-a", "patch-b"), (BRIDGE, "patch-b", "patch-a"))
PATCHES = {port for _, port, _ in PATCH}


def two_realms(record: dict[str, Any]) -> None:
    record["workers_list"] = [SHARED[1]]
    record["realms"] = {"b": {"network_node": NODE[1], "workers_list": [SHARED[1]], "bridge": BRIDGE}}


@pytest.fixture(scope="module")
def wired(lab: Lab, home: Path) -> Iterator[Path]:
    """Give the hosts of realm b their bridge and its wire; return the database."""
    first, second = (str(lab.node(name).pid) for name, _ in (SHARED, NODE))
    pair = ["ip", "link", "add", WIRE, "netns", first, "type", "veth", "peer", "name", WIRE, "netns", second]
    subprocess.run(pair, check=True)
    bridge = ["add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev", "--", "add-port", BRIDGE, WIRE]
    for host, _ in (SHARED, NODE):
        lab.exec(host, ["ip", "link", "set", WIRE, "up"])
        lab.exec(host, ["ovs-vsctl", "--timeout=20", *bridge])
    yield empty_database(lab, home / "realms.yaml", two_realms)
    for host, _ in (SHARED, NODE):
        lab.exec(host, ["ovs-vsctl", "--timeout=20", "del-br", BRIDGE])
    lab.exec(SHARED[0], ["ip", "link", "del", WIRE])


@dataclass(frozen=True)
class Realms:
    """A slice of two VMs in each realm, whose VMs have the same MACs."""

    lab: Lab
    database: Path
    menu: Menu
    slices: tuple[int, int]

    def guests(self, slice_id: int) -> dict[str, Guest]:
        return {name: Guest(self.lab, slice_id, vm) for name, vm in self.menu.topology(slice_id).items()}

    def cli(self, *words: str) -> tuple[int, str]:
        return cli(self.lab, *words, database=self.database)

    @cached_property
    def vms(self) -> list[dict[str, SeenVM]]:
        """Return the VMs of each realm by name."""
        return [self.menu.topology(slice_id) for slice_id in self.slices]

    @property
    def ports(self) -> Iterator[BridgePort]:
        """Yield the ports of both bridges, on the shared worker and on the network nodes."""
        for realm, (slice_id, (bridge, node)) in enumerate(zip(self.slices, BRIDGES, strict=True)):
            vlan = self.vms[realm]["r1"].vlans["eth1"]
            inside = {gateway_port(vlan): router_namespace(slice_id), dhcp_port(vlan): dhcp_namespace(vlan)}
            for host in (SHARED[0], node):
                for name in self.lab.exec(host, ["ovs-vsctl", "list-ports", bridge]).stdout.split():
                    if name not in PATCHES:
                        yield BridgePort(realm, host, name, inside.get(name, ""))


@dataclass(frozen=True)
class BridgePort:
    """A port of a realm's bridge."""

    realm: int
    host: str
    name: str
    namespace: str

    def ear(self, lab: Lab) -> Ear:
        return Ear(lab, self.host, self.name, namespace=self.namespace, direction="inout")


def count_from(database: Path, number: int) -> None:
    with Database(database).transaction() as state:
        state.next_vm_id = number


def make_transparent(lab: Lab, database: Path, slice_id: int) -> None:
    file = database.with_name(f"{slice_id}.yaml")
    design = yaml.safe_load(cli(lab, "export", str(slice_id), database=database)[1])
    design["links"] = [{"ends": [f"{name}:eth1" for name in VMS], "transparent": True}]
    file.write_text(yaml.safe_dump(design), encoding="utf-8")
    assert cli(lab, "apply", str(file), "--yes", database=database)[0] == 0


@pytest.fixture(scope="module")
def realms(lab: Lab, wired: Path) -> Iterator[Realms]:
    """Deploy a line of two VMs in each realm; the ids of their VMs are 65,536 apart, and so the MACs are the same."""
    menu = Menu(lab, "admin", wired)
    warm = menu.create_slice("warm")
    menu.add_vm(warm, "brings")  # the base image
    menu.delete(warm)
    before = traces(lab)
    count_from(wired, 1000)
    first = menu.create_slice("main")
    count_from(wired, SECOND + 1 - 65_536)
    ids = [menu.add_vm(first, name, 2) for name in VMS]
    menu.link(first, ids[0], "eth1", ids[1], "eth1")
    count_from(wired, SECOND)
    created = cli(lab, "create", "--template", "line:2", "--name", "b", "--realm", "b", database=wired)
    assert f"Slice created! ID: {SECOND}" in created[1]
    for slice_id in (first, SECOND):
        make_transparent(lab, wired, slice_id)
        menu.deploy(slice_id)
    yield Realms(lab, wired, menu, (first, SECOND))
    for slice_id in (first, SECOND):
        menu.delete(slice_id)
    menu.close()
    assert traces(lab) == before


def test_guests_of_both_realms_get_the_same_addresses_from_nodes_of_their_own(realms: Realms) -> None:
    own, other = (realms.menu.topology(slice_id) for slice_id in realms.slices)
    for name in VMS:
        first, second = own[name], other[name]
        assert first.vm_id + 65_536 == second.vm_id
        assert (first.vlans, first.macs, first.addresses) == (second.vlans, second.macs, second.addresses)
    for slice_id in realms.slices:
        guests, shown = realms.guests(slice_id), realms.menu.topology(slice_id)
        assert guests["r1"].reaches(shown["r2"].addresses["eth1"])
        assert guests["r1"].reaches("192.168.100.1")
        for guest in guests.values():
            guest.console.close()
    no_internet = {"uplink-unrouted"}  # a worker of the lab has no way out, and these slices ask for none
    assert codes(realms.lab, database=realms.database) <= no_internet
    assert realms.cli("prove")[0] == 0


@contextmanager
def joined(lab: Lab) -> Iterator[None]:
    """Join the bridges of the shared worker by a patch."""
    for bridge, port, peer in PATCH:
        ends = ["add-port", bridge, port, "--", "set", "interface", port, "type=patch", f"options:peer={peer}"]
        lab.exec(SHARED[0], ["ovs-vsctl", "--timeout=20", *ends])
    try:
        yield
    finally:
        for bridge, port, _ in PATCH:
            lab.exec(SHARED[0], ["ovs-vsctl", "--timeout=20", "del-port", bridge, port])


@contextmanager
def passing_reserved(lab: Lab) -> Iterator[None]:
    """Let all bridges pass the frames that bridges keep to themselves, as they do with a tunnel."""
    places = [(host, bridge) for bridge, node in BRIDGES for host in (SHARED[0], node)]
    for host, bridge in places:
        lab.exec(host, ["ovs-vsctl", "set", "Bridge", bridge, "other_config:forward-bpdu=true"])
    try:
        yield
    finally:
        for host, bridge in places:
            lab.exec(host, ["ovs-vsctl", "remove", "Bridge", bridge, "other_config", "forward-bpdu"])


Sender = tuple[int, str, str]
"""The realm and the VM that sent a frame, and the frame's kind."""

ENDING = {"last": (BROADCAST, LOCAL_EXPERIMENT, b"")}
NAMES = [*KINDS, *ENDING]


def exchange(realms: Realms) -> dict[BridgePort, set[Sender]]:
    """Let each VM of both realms send a frame of each kind, and return what arrives at each port of both bridges.

    All VMs send an ending frame then. Each port has to hear one of its own realm: so it heard all that came before.
    """
    with ExitStack() as stack:
        ears = {port: stack.enter_context(port.ear(realms.lab)) for port in realms.ports}
        for kinds in (KINDS, ENDING):
            for realm, name in ENDS:
                vm, number = realms.vms[realm][name], VMS.index(name)
                marks = {kind: b"%d%d%02d" % (realm, number, NAMES.index(kind)) for kind in kinds}
                frames = [frame(vm.macs["eth1"], parts, marks[kind]) for kind, parts in kinds.items()]
                send(realms.lab, SHARED[0], BRIDGES[realm][0], tap_name(vm.vm_id, "eth1"), frames)
        return {port: {*heard(port, ear)} for port, ear in ears.items()}


def heard(port: BridgePort, ear: Ear) -> list[Sender]:
    """Return the frames that arrive at a port until the ending frame of its own realm."""

    def senders() -> list[Sender]:
        return [(mark[0] - ord("0"), VMS[mark[1] - ord("0")], NAMES[int(mark[2:])]) for mark in ear.marks]

    def ended() -> bool:
        return any(realm == port.realm and kind in ENDING for realm, _, kind in senders())

    ear.listen(ended)
    assert ended(), f"{port} hears nothing of its own realm"
    return senders()


def at_taps(realms: Realms, arrived: dict[BridgePort, set[Sender]], *, own: bool) -> dict[tuple[int, str], set[str]]:
    """Return the kinds that arrived at the TAP of each VM, from its own realm or from the other one."""
    taps = {(realm, tap_name(realms.vms[realm][name].vm_id, "eth1")): (realm, name) for realm, name in ENDS}
    return {
        taps[port.realm, port.name]: {kind for realm, _, kind in frames if (realm == port.realm) == own} - {*ENDING}
        for port, frames in arrived.items()
        if (port.realm, port.name) in taps
    }


@pytest.mark.parametrize("reserved", [False, True], ids=["as with a trunk", "as with a tunnel"])
def test_no_kind_of_frame_comes_into_the_other_realm(realms: Realms, *, reserved: bool) -> None:
    assert len(KINDS) == 17
    with passing_reserved(realms.lab) if reserved else nullcontext():
        arrived = exchange(realms)
    passed = {*KINDS} if reserved else {*KINDS} - RESERVED
    assert at_taps(realms, arrived, own=True) == dict.fromkeys(ENDS, passed)
    assert [(port, sender) for port in arrived for sender in arrived[port] if sender[0] != port.realm] == []


def test_the_proof_and_the_ears_find_a_patch_between_the_realms(realms: Realms) -> None:
    with joined(realms.lab):
        status, said = realms.cli("prove")
        assert (status, SHARED[1] in said) == (1, True), said
        with passing_reserved(realms.lab):
            arrived = exchange(realms)
    assert at_taps(realms, arrived, own=False) == {end: {*KINDS} for end in ENDS}, "else no test above could fail"
    assert realms.cli("prove")[0] == 0
