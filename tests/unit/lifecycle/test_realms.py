"""Two realms over fake hosts, which share a worker: the same VLANs, addresses and MACs in both, and none mixed up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest
import yaml

from core.errors import Refused
from core.inventory import Inventory, Realm
from core.names import DHCP_FIRST_HOST, DHCP_LAST_HOST
from core.status import SliceStatus
from database import Database, Store
from inspection import findings
from inspection.doctor import Doctor
from inspection.facts import Facts
from inspection.isolation.proof import Breach
from inspection.isolation.realms import apart
from inspection.realms import Inspectors
from lifecycle.creation import designed_slice
from lifecycle.requests import VMRequest, design_vm, empty_slice
from models import POOL_COUNT, Slice, User
from remote.host import Host
from storage.location import ServerURL
from tests.support.desk import NETWORK, WORKERS, Desk
from tests.support.fake_facts import UNTAGGED
from tests.support.realms import BRIDGE, HOSTS, NODE, OWN, SHARED, open_realms
from topology.templates import make


@pytest.fixture(params=["file", pytest.param("postgres", marks=pytest.mark.long)])
def realms(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    url: ServerURL | None = request.getfixturevalue("database_url") if request.param == "postgres" else None
    return open_realms(tmp_path, url)


def create(desk: Desk, name: str, realm: str = "", size: int = 3) -> Slice:
    design = make(f"ring:{size}", name, "cirros", "all")
    made = desk.ok(desk.api.designs.create("admin", design, realm=realm))
    assert isinstance(made, Slice)
    return made


def pair(desk: Desk) -> tuple[Slice, Slice]:
    """Deploy a slice in each realm, with the same pool, and VMs with the same MACs and addresses."""
    first = create(desk, "one", "main")
    with desk.database.transaction() as state:
        state.next_vm_id = first.slice_id + POOL_COUNT
    second = create(desk, "two", "b")
    for slice_ in (first, second):
        desk.ok(desk.api.deploy_slice("admin", slice_.slice_id))
    return desk.slice(first.slice_id, "admin"), desk.slice(second.slice_id, "admin")


def test_a_shared_worker_that_one_realm_lists_no_more_keeps_the_vms_of_that_realm(realms: Desk) -> None:
    one, two = pair(realms)
    assert SHARED in one.workers
    with realms.database.transaction() as state:
        state.inventory = replace(state.inventory, workers_list=(WORKERS[0],))
        assert state.inventory_in_use.of_realm(one.realm).workers == WORKERS
        assert state.inventory_in_use.of_realm(two.realm).workers == (OWN, SHARED)
    found = realms.ok(realms.api.problems("admin"))
    rules = "rules of VLAN 400 are missing, or not in their order"
    assert {sentence for each in found.values() for sentence in each.sentences} == {f"{NETWORK}: {rules}"}


def test_the_tunnel_of_a_realm_that_was_renamed_is_an_orphan(tmp_path: Path) -> None:
    """Its ports have the names that those of the new tunnel need, as they have the same key."""
    desk = open_realms(tmp_path, tunnel=True)
    made = create(desk, "one", "b")
    desk.ok(desk.api.deploy_slice("admin", made.slice_id))
    desk.ok(desk.api.delete_slice("admin", made.slice_id))
    assert desk.api.doctor.fix().removed == ()
    record = yaml.safe_load(desk.path.read_text())
    record["realms"] = {"c": record["realms"]["b"]}
    desk.path.write_text(yaml.safe_dump(record))
    ends = {address for address, host in desk.cloud.hosts.items() if host.tunnel}
    what = "orphan-tunnel: tunnel 7, with the bridge br-tun-b: a realm had another name"
    assert {*desk.api.doctor.fix().removed} == {f"{host}: {what}" for host in ends}
    assert not any(host.tunnel for host in desk.cloud.hosts.values())


def test_slices_of_two_realms_have_the_same_numbers_on_hosts_of_their_own(realms: Desk) -> None:
    clean = realms.cloud.state()
    one, two = pair(realms)
    assert (one.realm, two.realm) == ("", "b")
    assert [link.vlan_id for link in one.links] == [link.vlan_id for link in two.links]
    assert addresses(one) == addresses(two)
    for slice_, realm in ((one, ""), (two, "b")):
        assert {*slice_.workers} <= HOSTS[realm]
    node, other = (realms.cloud.hosts[host] for host in (NETWORK, NODE))
    assert {*node.ports} == {*other.ports} > {"gw_vlan400", "gw_vlan100", "dhcp_v100"}
    assert {*node.namespaces} ^ {*other.namespaces} == {"ns-gw-slice1000", "ns-gw-slice1100"}
    shared = realms.cloud.hosts[SHARED]
    assert {shared.bridges.get(port, "br-int") for port in shared.ports} == {"br-int", BRIDGE}
    assert len({vm.vnc_port for slice_ in (one, two) for vm in slice_.vms if vm.worker_ip == SHARED}) == sum(
        vm.worker_ip == SHARED for slice_ in (one, two) for vm in slice_.vms
    )
    assert realms.api.doctor.examine().findings == ()
    verdict = realms.api.prover.prove()
    assert (verdict.breaches, verdict.unseen) == (0, ())
    assert all(each.checked for each in verdict.properties)
    assert realms.ok(realms.api.problems("admin")) == {}
    for slice_ in (one, two):
        realms.ok(realms.api.delete_slice("admin", slice_.slice_id))
    assert without_ports(realms.cloud.state()) == without_ports(clean)


def test_a_realm_may_have_a_tunnel_beside_one_with_a_trunk(tmp_path: Path) -> None:
    """The names and the key of the tunnel are the realm's own, also on the worker that both use."""
    realms = open_realms(tmp_path, tunnel=True)
    _, two = pair(realms)
    made = {host: realms.cloud.hosts[host].tunnel for host in (*WORKERS, NETWORK, OWN, NODE)}
    assert [host for host, tunnel in made.items() if tunnel] == [SHARED, OWN, NODE]
    assert made[SHARED][1:2] + made[SHARED][4:8] == ("7", "br-tun-b", BRIDGE, "patch-tun-b", "patch-int-b")
    assert realms.api.doctor.examine().findings == ()
    assert realms.api.prover.prove().breaches == 0
    assert realms.ok(realms.api.problems("admin")) == {}
    realms.ok(realms.api.delete_slice("admin", two.slice_id))
    assert realms.api.doctor.examine().findings == ()
    settings = yaml.safe_load(realms.path.read_text())
    settings["realms"]["b"]["underlay"] = "trunk"
    realms.path.write_text(yaml.safe_dump(settings))
    fixed = realms.api.doctor.fix()
    title = "orphan-tunnel: tunnel 7, with its bridge"
    assert sorted(fixed.removed) == [f"{host}: {title}" for host in (SHARED, OWN, NODE)]
    assert fixed.not_removed == ()


def addresses(slice_: Slice) -> list[str]:
    return [str(slice_.address_of(vm, nic)) for vm in slice_.vms for nic in vm.interfaces]


def without_ports(state: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    return {host: {key: value for key, value in held.items() if value} for host, held in state.items()}


# --- what belongs to one realm is not another's -----------------------------------------------------------------------


def test_macs_repeat_in_another_realm(realms: Desk) -> None:
    one = create(realms, "one", "main")
    two = realms.ok(realms.api.create_slice("admin", "two", realm="b"))
    with realms.database.transaction() as state:
        state.next_vm_id = one.vms[0].vm_id + 65_536
    vm = realms.ok(realms.api.add_vm_to_slice("admin", two.slice_id, "vm", "cirros", 3, True))
    assert vm.vm_id == one.vms[0].vm_id + 65_536
    assert [nic.mac for nic in vm.interfaces] == [nic.mac for nic in one.vms[0].interfaces]
    for slice_id in (one.slice_id, two.slice_id):
        realms.ok(realms.api.deploy_slice("admin", slice_id))
    assert realms.api.prover.prove().breaches == 0
    assert realms.api.doctor.examine().findings == ()


def breaches(desk: Desk) -> Iterator[Breach]:
    return (breach for each in desk.api.prover.prove().properties for breach in each.breaches)


def test_the_proof_finds_a_patch_between_the_bridges_of_a_worker(realms: Desk) -> None:
    pair(realms)
    worker = realms.cloud.hosts[SHARED]
    for name, bridge in {"ens8": "br-int", "ens9": BRIDGE}.items():
        worker.ports[name], worker.bridges[name] = UNTAGGED, bridge
    assert {breach.host for breach in breaches(realms)} == {SHARED}


def test_the_proof_finds_a_tap_on_the_bridge_of_another_realm(realms: Desk) -> None:
    one, _ = pair(realms)
    worker = realms.cloud.hosts[SHARED]
    tap = next(f"tap_{vm.vm_id}_eth1" for vm in one.vms if vm.worker_ip == SHARED)
    worker.bridges[tap] = BRIDGE
    assert any(tap in breach.what and breach.host == SHARED for breach in breaches(realms))
    assert {f.code for f in realms.api.doctor.examine().findings} >= {"port-missing"}
    assert "is not on br-int" in str(realms.ok(realms.api.problems("admin")))


def test_the_proof_finds_frames_of_a_vm_that_arrive_in_another_realm(realms: Desk) -> None:
    """A cable joins the data networks: the bridge of realm b sees a VM of realm main on a VLAN that both have."""
    one, _ = pair(realms)
    vm, nic = one.vms[0], one.vms[0].interfaces[1]
    seen = (nic.vlan_id or 0, str(nic.mac))
    for node, bridge in ((NODE, BRIDGE), (NETWORK, "br-int")):
        realms.cloud.hosts[node].heard[bridge] = {seen, (seen[0], "02:00:00:00:00:07")}
    what = f"frames of VM {vm.vm_id} of realm main arrive on VLAN {seen[0]} of {BRIDGE}"
    assert [*breaches(realms)] == [Breach(NODE, what, frozenset({one.slice_id}))]


def test_a_mac_in_capitals_is_found_in_another_realm(realms: Desk) -> None:
    one, _ = pair(realms)
    nic = one.vms[0].interfaces[1]
    facts = Facts(NODE, learned=frozenset({(nic.vlan_id or 0, f"{nic.mac}".lower())}))
    nic.mac = f"{nic.mac}".upper()
    assert [breach.host for breach in apart(Inventory(), [], [one], {NODE: facts}).breaches] == [NODE]


def test_the_proof_looks_at_all_ports_where_realms_name_their_bridges_alike(realms: Desk) -> None:
    one = create(realms, "one", "main")
    realms.ok(realms.api.deploy_slice("admin", one.slice_id))
    before = checks(realms)
    with realms.database.transaction() as state:
        state.inventory = replace(state.inventory, realms={"b": Realm(NODE, (OWN,))})
    for host in (OWN, NODE):
        realms.cloud.hosts[host].further.clear()
    assert checks(realms)["VLANs: each has one slice"] == before["VLANs: each has one slice"] > len(one.links)


def checks(desk: Desk) -> dict[str, int]:
    return {each.title: each.checked for each in desk.api.prover.prove().properties}


def test_the_hosts_of_all_realms_are_asked_side_by_side(realms: Desk) -> None:
    slices, both = pair(realms), Barrier(2)

    def connect(address: str) -> Host:
        if address in {NETWORK, NODE}:
            both.wait(timeout=10)
        return realms.cloud.connect(address)

    inspectors = Inspectors(realms.database, realms.database.load().inventory, connect)
    assert inspectors.problems(slices) == {slice_.slice_id: [] for slice_ in slices}


def test_a_dead_switch_is_reported_once() -> None:
    facts = Facts(SHARED, bridges=frozenset({"br-int"}), unread=("flows", "learned"))
    assert [finding.code for finding in findings.of_host(Inventory(), facts, 0.0, 0.0)] == ["switch-down"]


@pytest.mark.parametrize("gone", [0, 1])
def test_the_doctor_removes_what_a_forgotten_slice_left_in_its_realm_only(realms: Desk, gone: int) -> None:
    slices = pair(realms)
    lost, kept = slices[gone], slices[1 - gone]
    with realms.database.transaction() as state:
        del state.slices[lost.slice_id]
        state.users["admin"].slices.remove(lost.slice_id)
        state.users["admin"].used_vms -= len(lost.vms)
    doctor = realms.api.doctor
    assert isinstance(doctor, Doctor)
    found = doctor.examine().findings
    assert found
    assert all(finding.host in HOSTS[lost.realm] for finding in found)
    assert doctor.fix().findings == ()
    assert realms.api.prover.prove().breaches == 0
    assert realms.ok(realms.api.problems("admin")) == {}
    nodes = {"": NETWORK, "b": NODE}
    assert not realms.cloud.hosts[nodes[lost.realm]].ports
    assert realms.cloud.hosts[nodes[kept.realm]].ports


def test_the_doctor_asks_once_whether_a_slice_is_claimed(realms: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database answers for each slice, while the state is locked. Each survey asks twice more."""
    slices, asked = pair(realms), Counter[int]()

    def is_claimed(_: Store, slice_id: int) -> bool:
        asked[slice_id] += 1
        return False

    monkeypatch.setattr(Store, "is_claimed", is_claimed)
    doctor = realms.api.doctor
    assert isinstance(doctor, Doctor)
    doctor.examine()
    surveyed = dict(asked)
    doctor.fix()
    assert asked == {slice_.slice_id: 2 * surveyed[slice_.slice_id] + 1 for slice_ in slices}


def test_a_vm_of_a_lost_worker_gets_another_one_of_its_realm(realms: Desk) -> None:
    _, two = pair(realms)
    realms.cloud.hosts[OWN].dead = True
    realms.api.hosts.forget(OWN)
    realms.ok(realms.api.repair_slice("admin", two.slice_id))
    after = realms.slice(two.slice_id, "admin")
    assert after.workers == [SHARED]
    ports = [vm.vnc_port for s in realms.ok(realms.api.list_slices("admin")) for vm in s.vms if vm.worker_ip == SHARED]
    assert len({*ports}) == len(ports)


# --- which realm a new slice is in ------------------------------------------------------------------------------------


def test_a_slice_is_in_the_realm_that_is_named_or_in_the_first_with_room(realms: Desk) -> None:
    assert realms.ok(realms.api.create_slice("admin", "a")).realm == ""
    assert realms.ok(realms.api.create_slice("admin", "c", realm="b")).realm == "b"
    assert realms.no(realms.api.create_slice("admin", "d", realm="x")) == "There is no realm x; there are main, b"
    with realms.database.transaction() as state:
        state.workers[WORKERS[0]] = replace(state.workers[WORKERS[0]], max_ram_gb=0.1)
        state.workers[SHARED] = replace(state.workers[SHARED], max_ram_gb=0.1)
    full = realms.no(realms.api.designs.plan("admin", make("ring:3", "e", "cirros", "all"), "main"))
    assert "No worker has room for cirros" in full
    slice_, plan = realms.ok(realms.api.designs.plan("admin", make("ring:3", "e", "cirros", "all")))
    assert slice_.realm == "b"
    assert {step.host for step in plan.steps} == {OWN}
    assert realms.ok(realms.api.create_slice("admin", "f")).realm == "b"


def test_a_realm_without_free_addresses_leaves_a_design_to_the_next_one(realms: Desk) -> None:
    with realms.database.transaction() as state:
        for worker in state.workers.values():
            worker.max_cores, worker.max_ram_gb, worker.max_disk_gb = 10_000, 10_000.0, 10_000.0
        state.inventory = replace(state.inventory, hypervisor=replace(state.inventory.hypervisor, spread=0))
        full = [empty_slice(state, "admin", f"s{number}", "custom", "main").slice_id for number in range(13)]
        for number in range(DHCP_LAST_HOST - DHCP_FIRST_HOST + 1):
            design_vm(state, VMRequest("admin", full[number // 20], f"vm{number}", "cirros", 0, internet=True))
        made = designed_slice(state, "admin", make("ring:3", "next", "cirros", "all"))
        assert made.realm == "b"
        with pytest.raises(Refused, match="All addresses of the internet network"):
            designed_slice(state, "admin", make("ring:3", "named", "cirros", "all"), "main")
        assert [*state.slices] == state.users["admin"].slices == [*full, made.slice_id]


def test_workers_are_measured_again_where_the_first_realm_has_no_pool(realms: Desk) -> None:
    with realms.database.transaction() as state:
        for number in range(POOL_COUNT):
            empty_slice(state, "admin", f"s{number}", "custom", "main")
        for address in (OWN, SHARED):
            state.workers[address] = replace(state.workers[address], up=False, problem="does not answer", measured=1.0)
    design = make("ring:3", "new", "cirros", "all")
    assert realms.ok(realms.api.designs.create("student", design)).realm == "b"


def test_a_refused_design_leaves_no_trace_in_the_realm_without_room(realms: Desk) -> None:
    with realms.database.transaction() as state:
        state.workers[WORKERS[0]] = replace(state.workers[WORKERS[0]], max_ram_gb=1.0)
        state.workers[SHARED] = replace(state.workers[SHARED], max_ram_gb=0.1)
    made = create(realms, "big", size=6)
    assert (made.realm, made.slice_id, [vm.vm_id for vm in made.vms]) == ("b", 1000, [*range(1001, 1007)])
    state = realms.database.load()
    assert [*state.slices] == state.users["admin"].slices == [1000]
    assert state.users["admin"].used_vms == 6
    assert state.workers[WORKERS[0]].used_ram_gb == 0


@pytest.mark.long
def test_the_101st_slice_is_in_the_second_realm_and_none_is_left_after_all_are_deleted(realms: Desk) -> None:
    """Twelve slices are deployed, and the others stay in design."""
    clean = without_ports(realms.cloud.state())
    owners = iter(["admin", "student"])
    owner, made = "", list[Slice]()
    for number in range(POOL_COUNT + 20):
        owner = next(owners) if number % POOL_COUNT == 0 else owner
        made.append(realms.ok(realms.api.create_slice(owner, f"s{number}")))
    assert [slice_.realm for slice_ in made] == [""] * POOL_COUNT + ["b"] * 20
    assert len({slice_.slice_id for slice_ in made}) == len(made)
    chosen = [*made[:6], *made[-6:]]
    for slice_ in chosen:
        for name in ("a", "b"):
            realms.ok(realms.api.add_vm_to_slice(slice_.owner, slice_.slice_id, name, "cirros", 1, True))
        first, second = realms.slice(slice_.slice_id, slice_.owner).vms
        realms.ok(realms.api.create_link(slice_.owner, slice_.slice_id, first.vm_id, "eth1", second.vm_id, "eth1"))
        deployed = realms.ok(realms.api.deploy_slice(slice_.owner, slice_.slice_id))
        assert deployed.status == SliceStatus.RUNNING
    assert realms.api.prover.prove().breaches == 0
    for slice_ in made:
        realms.ok(realms.api.delete_slice(slice_.owner, slice_.slice_id))
    assert without_ports(realms.cloud.state()) == clean
    assert not realms.database.load().slices


@pytest.mark.long
def test_twenty_realms_hold_2000_slices_and_no_more(tmp_path: Path) -> None:
    hosts = {f"r{n}": {"network_node": f"10.0.{100 + n}.1", "workers_list": [f"10.0.{100 + n}.2"]} for n in range(19)}
    users = {name: User(name, "a" * 64).to_dict() for name in map("u{}".format, range(20))}
    path = tmp_path / "database.yaml"
    users["last"] = User("last", "a" * 64).to_dict()
    path.write_text(yaml.safe_dump({"users": users, "realms": hosts, "login": {"slices": POOL_COUNT}}))
    database = Database(path)
    for user in [*users][:-1]:
        with database.transaction() as state:
            made = [empty_slice(state, user, f"s{number}", "custom") for number in range(POOL_COUNT)]
            assert len({slice_.realm for slice_ in made}) == 1
    state = Database(path).load()
    assert len(state.slices) == 2000
    assert Counter(slice_.realm for slice_ in state.slices.values()) == dict.fromkeys(["", *hosts], POOL_COUNT)
    with pytest.raises(Refused, match="All 100 VLAN pools are in use"):
        empty_slice(state, "last", "more", "custom")
