"""The section `realms`: its rules, each with its line, and what realms share and do not share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.errors import FileFault
from core.inventory import Inventory, Realm
from core.rule import Broken
from database import Database
from models import VM, Interface, Slice
from storage import rules
from storage.state import State
from tests.unit.conftest import CLOUD

B = """realms:
  b:
    network_node: 10.0.20.3
    workers_list: [10.0.20.1, 10.0.10.12]
    bridge: br-int-b
    data_ports: {10.0.10.12: ens5}
"""


def written(path: Path, realms: str = B, cloud: str = CLOUD) -> Path:
    path.write_text(f"{cloud}{realms}")
    return path


def test_a_file_with_realms_is_read_and_kept_as_it_is(path: Path) -> None:
    database = Database(written(path))
    inventory = database.load().inventory
    assert inventory.realms == {
        "b": Realm("10.0.20.3", ("10.0.20.1", "10.0.10.12"), "br-int-b", data_ports={"10.0.10.12": "ens5"})
    }
    with database.transaction() as state:
        state.users["admin"].quota_vms += 0
    assert path.read_text() == f"{CLOUD}{B}"
    with database.transaction() as state:
        state.next_vm_id += 1
    assert B in path.read_text()
    assert yaml.safe_load(path.read_text())["in_use"]["realms"] == {
        "b": {
            "network_node": "10.0.20.3", "vlan_id": 400, "cidr": "10.60.7.0/24", "gateway": "10.60.7.1",
            "uplink": "ens3", "underlay": "trunk", "bridge": "br-int-b", "tunnel_key": 2,
        }
    }  # fmt: skip


def test_a_realm_has_its_hosts_and_shares_the_other_settings(path: Path) -> None:
    cloud = Database(written(path)).load().inventory
    b = cloud.of_realm("b")
    assert (b.hosts, b.bridge, b.internet) == (
        ("10.0.20.1", "10.0.10.12", "10.0.20.3"),
        "br-int-b",
        Inventory().internet,
    )
    assert (b.ssh, b.hypervisor, b.all_profiles) == (cloud.ssh, cloud.hypervisor, cloud.all_profiles)
    assert {*b.all_hosts} == {*cloud.all_hosts} == {*cloud.hosts, *b.hosts}
    assert b.all_hosts[:3] == b.hosts
    assert cloud.of_realm("") is cloud
    assert cloud.bridge == "br-int"


FAULTS = {
    "no node": ("    network_node: 10.0.20.3\n", "", "line {1}: realms.b: the key network_node is missing"),
    "unknown key": ("bridge:", "bridges:", 'line {4}: realms.b: unknown key "bridges"'),
    "name": ("  b:", "  B:", "line {1}: realms.B: must be a small letter, then at most 7 small letters and digits"),
    "the name of the first realm": ("  b:", "  main:", "line {1}: realms.main: must be a small letter"),
    "too long a name": ("  b:", "  abcdefghi:", "line {1}: realms.abcdefghi: must be a small letter"),
    "bridge": ("br-int-b", "br0", "line {4}: realms.b.bridge: must be br-int, or br-int- and 1 to 8 small letters"),
    "too long a bridge": ("br-int-b", "br-int-abcdefghi", "line {4}: realms.b.bridge: must be br-int, or"),
    "a shared bridge": (
        "    bridge: br-int-b\n", "",
        "line {1}: realms.b: 10.0.10.12 is a worker of realm main, too, whose bridge is br-int: write",
    ),
    "one network node": (
        "node: 10.0.20.3", "node: 10.0.10.3",
        "line {2}: realms.b.network_node: 10.0.10.3 is the network node of realm main, and so a host of no other",
    ),
    "a network node as a worker": (
        "10.0.20.1,", "10.0.10.3,",
        "line {3}: realms.b.workers_list: 10.0.10.3 is the network node of realm main, and so a host of no other",
    ),
    "a worker as a network node": (
        "node: 10.0.20.3", "node: 10.0.10.1",
        "workers_list: 10.0.10.1 is the network node of realm b, and so a host of no other",
    ),
    "a host twice": ("10.0.20.1,", "10.0.10.12,", "line {3}: realms.b.workers_list: host 10.0.10.12 is there 2 times"),
    "a host in the guests' network": (
        "    bridge", "    internet: {cidr: 10.0.10.0/24, gateway: 10.0.10.5}\n    bridge",
        "line {4}: realms.b.internet.cidr: 10.0.10.0/24 holds the host 10.0.10.12; choose a network",
    ),
    "a gateway elsewhere": (
        "    bridge", "    internet: {gateway: 10.60.8.1}\n    bridge",
        "line {4}: realms.b.internet.gateway: 10.60.8.1 cannot be the gateway of 10.60.7.0/24",
    ),
    "a data port of another's host": (
        "{10.0.10.12: ens5}", "{10.0.10.1: ens5}",
        "line {5}: realms.b.data_ports.10.0.10.1: 10.0.10.1 is neither in workers_list nor the network_node",
    ),
    "a tunnel's address without a tunnel": (
        "    data_ports: {10.0.10.12: ens5}\n", "    data_addresses: {10.0.10.12: 10.9.0.1}\n",
        "line {5}: realms.b.data_addresses: is for a tunnel; write underlay: tunnel, too",
    ),
    "a data port beside a tunnel": (
        "    bridge", "    underlay: tunnel\n    bridge", "line {6}: realms.b.data_ports: is for a trunk; remove it",
    ),
    "a key of the main realm": (
        "    bridge", "    tunnel_key: 1\n    bridge", "line {4}: realms.b.tunnel_key: must be a whole number from",
    ),
}  # fmt: skip


def test_each_tunnel_has_a_key_of_its_own(path: Path) -> None:
    hosts = "{network_node: 10.0.%d.3, workers_list: [10.0.%d.1], underlay: tunnel}"
    with pytest.raises(FileFault, match=r"realms.c.tunnel_key: 2 is the key of realm b, too"):
        Database(written(path, f"realms:\n  b: {hosts % (20, 20)}\n  c: {hosts % (30, 30)}\n")).load()


@pytest.mark.parametrize(("old", "new", "sentence"), FAULTS.values(), ids=FAULTS)
def test_a_broken_realm_is_refused_with_its_line(path: Path, old: str, new: str, sentence: str) -> None:
    assert B.count(old) == 1
    first = len(CLOUD.splitlines()) + 1
    with pytest.raises(FileFault) as refused:
        Database(written(path, B.replace(old, new))).load()
    wanted = sentence.replace("{", "{0[").replace("}", "]}").format([first + number for number in range(9)])
    assert wanted in str(refused.value)


# --- Slices of two realms ---------------------------------------------------------------------------------------------


def add(state: State, slice_id: int, realm: str, vm_id: int, worker: str, port: int = 5990) -> VM:
    """Add a slice of one VM, which has the MAC that its lower 16 bits give."""
    slice_ = state.slices[slice_id] = Slice(slice_id, "admin")
    slice_.realm = realm
    slice_.vms.append(VM(vm_id, "vm", "admin", worker, port, [Interface("eth0", mac="52:54:00:11:22:33")]))
    state.users["admin"].slices.append(slice_id)
    state.users["admin"].used_vms += 1
    return slice_.vms[0]


def test_two_realms_have_the_same_pool_macs_and_ports(path: Path) -> None:
    with Database(written(path)).transaction() as state:
        add(state, 1150, "", 1151, "10.0.10.1")
        add(state, 1250, "b", 1251, "10.0.20.1")
    assert {slice_.vlan_pool_start for slice_ in Database(path).load().slices.values()} >= {1100}
    assert yaml.safe_load(path.read_text())["slices"]["1250"]["realm"] == "b"
    assert "realm" not in yaml.safe_load(path.read_text())["slices"]["1150"]


CLASHES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a port of a shared worker": (
        {"worker": "10.0.10.12", "realm": ""}, {"worker": "10.0.10.12", "realm": "b"},
        "VNC port 5990 on 10.0.10.12 belongs to VM 1151 already",
    ),
    "an id": (
        {"vm_id": 1160, "realm": ""}, {"vm_id": 1160, "realm": "b", "port": 5991}, "id 1160 belongs to VM 1160 of",
    ),
    "a pool": ({"realm": "b"}, {"realm": "b", "port": 5991}, "the VLAN pool from 1100 belongs to slice 1150 already"),
}  # fmt: skip


@pytest.mark.parametrize(("first", "second", "sentence"), CLASHES.values(), ids=CLASHES)
def test_what_realms_share_has_one_owner(
    path: Path, first: dict[str, Any], second: dict[str, Any], sentence: str
) -> None:
    usual: dict[str, Any] = {"worker": "10.0.20.1"}
    state = Database(written(path)).load()
    add(state, 1150, **(usual | {"vm_id": 1151} | first))
    add(state, 1250, **(usual | {"vm_id": 1251} | second))
    with pytest.raises(Broken, match=sentence):
        rules.check_slices(state, (1150, 1250), state.slices.taken)


# --- Settings that do not change while there are slices ---------------------------------------------------------------


def in_b(path: Path) -> Path:
    return added_to_b(written(path))


def added_to_b(path: Path) -> Path:
    with Database(path).transaction() as state:
        add(state, 1150, "b", 1151, "10.0.20.1")
    return path


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("node: 10.0.20.3", "node: 10.0.20.4", r'realms.b.network_node: "10.0.20.4" cannot replace "10.0.20.3" while'),
        ("bridge: br-int-b", "bridge: br-int-c", r'realms.b.bridge: "br-int-c" cannot replace "br-int-b" while'),
        (B, "", "there is no realm b, in which slice 1150 is: write it again"),
    ],
)
def test_the_settings_of_a_realm_stay_while_slices_are_in_it(path: Path, old: str, new: str, sentence: str) -> None:
    text = in_b(path).read_text()
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(FileFault, match=sentence):
        Database(path).load()
    path.write_text(text)
    assert Database(path).load().slices[1150].realm == "b"


def test_a_realm_without_slices_may_change_and_go(path: Path) -> None:
    with Database(written(path)).transaction() as state:
        state.next_vm_id += 1
    text = path.read_text()
    assert "in_use" in text
    for new in (B.replace("20.3", "20.9"), ""):
        path.write_text(text.replace(B, new))
        assert len(Database(path).load().inventory.realms) == bool(new)


def test_an_empty_realm_that_was_changed_takes_slices(path: Path) -> None:
    """The section in_use has its earlier settings until the next change."""
    with Database(written(path)).transaction() as state:
        state.next_vm_id += 1
    path.write_text(path.read_text().replace(B, B.replace("20.3", "20.9")))
    assert Database(added_to_b(path)).load().inventory.realms["b"].network_node == "10.0.20.9"


def test_the_first_realm_may_change_while_slices_are_in_others_only(path: Path) -> None:
    state = Database(written(path)).load()
    for slice_id in [*state.slices]:
        del state.slices[slice_id]
    for user in state.users.values():
        user.slices, user.used_vms = [], 0
    path.write_text(yaml.safe_dump(state.to_dict()))
    record = yaml.safe_load(added_to_b(path).read_text())
    path.write_text(yaml.safe_dump(record | {"network_node": "10.0.10.9"}))
    assert Database(path).load().inventory.network_node == "10.0.10.9"
    path.write_text(yaml.safe_dump(record | {"ssh": {"user": "other"}}))
    with pytest.raises(FileFault, match=r'ssh.user: "other" cannot replace "ubuntu" while there are slices \(1150\)'):
        Database(path).load()


@pytest.mark.parametrize(("realm", "place"), [("", "realms.b.network_node"), ("b", "network_node")])
def test_a_worker_with_vms_of_another_realm_is_no_network_node(path: Path, realm: str, place: str) -> None:
    """The doctor would take the objects of these VMs for those of no slice."""
    state = Database(written(path)).load()
    state.inventory = replace(state.inventory, network_node="10.0.30.1")
    add(state, 1150, realm, 1151, {"": "10.0.20.3", "b": "10.0.30.1"}[realm])
    with pytest.raises(Broken, match=f"^{place}: 10.0.[23]0.[13] has VMs of slice 1150, which is in another realm"):
        rules.check(state)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"10.0.10.12"]', '"10.0.10.12", "10.0.20.1"]', "10.0.20.1 is a worker of realm main, too"),
        ('"10.0.10.12"]', '"10.0.10.12", "10.0.20.3"]', "10.0.20.3 is the network node of realm b"),
    ],
)
def test_an_edit_of_the_first_realm_is_compared_with_the_others_in_an_open_session(
    path: Path, old: str, new: str, sentence: str
) -> None:
    """A session that has read the file checks only what changed."""
    database = Database(written(path, "realms:\n  b: {network_node: 10.0.20.3, workers_list: [10.0.20.1]}\n"))
    assert database.load().inventory.realms
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(FileFault, match=sentence):
        database.load()
