"""Slices of whole designs over fake hosts: all of them or nothing, in one transaction and one batch per worker."""

from __future__ import annotations

import copy
from collections import Counter
from contextlib import AbstractContextManager
from typing import Any

import pytest
import yaml

from core.first_boot import FirstBoot
from core.status import SliceStatus, VMStatus
from database import State, Store
from deployment import DeploymentAPI
from models import Slice
from tests.support.acts import read_log
from tests.support.desk import NETWORK, WORKERS, Desk
from topology.design import Design, DesignedVM
from topology.of_slice import design_of
from topology.reader import read
from topology.templates import make
from topology.writer import write


def ring(count: int = 4, name: str = "lab", internet: str = "first") -> Design:
    return make(f"ring:{count}", name, "cirros", internet)


def records(desk: Desk) -> dict[str, Any]:
    """Return the users and slices of the file, and what is promised on the workers."""
    record = yaml.safe_load(desk.path.read_text())
    promised = {
        address: {key: value for key, value in worker.items() if key.startswith("used_")}
        for address, worker in record["workers"].items()
    }
    return {"users": record["users"], "slices": record.get("slices"), "promised": promised}


def steps_of(desk: Desk, design: Design) -> list[tuple[str, str]]:
    """Return host and title of each step that creates a design."""
    _, plan = desk.ok(desk.api.designs.plan("student", design))
    return [(step.host, step.title) for step in plan.steps]


def test_a_design_becomes_a_slice_in_design(desk: Desk) -> None:
    made = desk.ok(desk.api.designs.create("student", ring(6)))
    slice_ = desk.slice()
    assert made.to_dict() == slice_.to_dict()
    assert (slice_.name, slice_.status, slice_.owner) == ("lab", SliceStatus.DESIGN, "student")
    assert [(vm.name, vm.vm_id, vm.status) for vm in slice_.vms] == [
        (f"r{number}", 1000 + number, VMStatus.DESIGN) for number in range(1, 7)
    ]
    assert [link.vlan_id for link in slice_.links] == list(range(100, 106))
    assert [vm.name for vm in slice_.vms if vm.interfaces[0].ip_config] == ["r1"]
    assert (desk.used(), desk.ok(desk.api.get_user("student")).slices) == (6, [1000])
    for vm in slice_.vms:
        assert f"vm_images/slice-1000/{vm.name}_img.qcow2" in desk.cloud.hosts[vm.worker_ip].files
    assert desk.ok(desk.api.deploy_slice("student", 1000)).status == SliceStatus.RUNNING
    desk.ok(desk.api.delete_slice("student", 1000))
    assert (desk.used(), desk.ok(desk.api.unfinished("student"))) == (0, [])


def test_linked_vms_share_workers_evenly(desk: Desk) -> None:
    slice_ = desk.ok(desk.api.designs.create("student", ring(6)))
    assert [vm.worker_ip for vm in slice_.vms] == [WORKERS[0]] * 3 + [WORKERS[1]] * 3
    on = {vm.vm_id: vm.worker_ip for vm in slice_.vms}
    assert len([link for link in slice_.links if on[link.vm1_id] != on[link.vm2_id]]) == 2


@pytest.mark.on_a_file
@pytest.mark.parametrize(("spread", "used"), [(1, 1), (2, 2), (0, 2)])
def test_a_design_uses_at_most_so_many_workers(desk: Desk, spread: int, used: int) -> None:
    edit(desk, hypervisor={"spread": spread})
    assert len(desk.ok(desk.api.designs.create("student", ring(6))).workers) == used


def test_twenty_vms_are_one_transaction_and_one_batch_for_each_worker(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.api.accounts.set_quota("student", 20)
    kind = type(desk.database)
    begun, transaction = Counter[str](), kind.transaction

    def counted(store: Store) -> AbstractContextManager[State]:
        begun["transactions"] += 1
        return transaction(store)

    monkeypatch.setattr(kind, "transaction", counted)
    before = {address: host.runs for address, host in desk.cloud.hosts.items()}
    slice_ = desk.ok(desk.api.designs.create("student", ring(20)))
    assert (len(slice_.vms), len(slice_.links)) == (20, 20)
    runs = {address: host.runs - before[address] for address, host in desk.cloud.hosts.items()}
    assert runs == {WORKERS[0]: 1, WORKERS[1]: 1, NETWORK: 0}
    assert begun["transactions"] == 2  # the beginning and the end


@pytest.mark.on_a_file
def test_a_failure_of_any_step_leaves_nothing(desk: Desk) -> None:
    desk.ok(desk.api.designs.create("student", ring(3, "first")))  # the base image is there
    before, hosts, design = records(desk), copy.deepcopy(desk.cloud.state()), ring(3)
    for host, title in steps_of(desk, design):
        faults = {title: (1, "", "out of luck")}
        desk.cloud.hosts[host].faults = dict(faults)
        answer = desk.api.designs.create("student", design)
        if desk.cloud.hosts[host].faults:  # a guard skipped the step
            desk.cloud.hosts[host].faults = {}
            desk.ok(desk.api.delete_slice("student", desk.ok(answer).slice_id))
            assert title.startswith("base image")
        else:
            assert desk.no(answer) == f"{host}: {title}: out of luck; nothing was created"
        assert records(desk) == before, title
        assert desk.cloud.state() == hosts, title
        assert desk.ok(desk.api.unfinished("student")) == []


@pytest.mark.on_a_file
@pytest.mark.parametrize("answer", ["finish_slice", "take_back_slice"])
@pytest.mark.parametrize("after", range(8))
def test_a_worker_that_dies_leaves_nothing_or_what_is_finished_or_taken_back(
    desk: Desk, after: int, answer: str
) -> None:
    before, hosts = records(desk), copy.deepcopy(desk.cloud.state())
    desk.cloud.hosts[WORKERS[1]].dies_after = after
    sentence = desk.no(desk.api.designs.create("student", ring()))
    assert sentence.startswith(f"{WORKERS[1]} does not answer")
    desk.cloud.hosts[WORKERS[1]].dead, desk.cloud.hosts[WORKERS[1]].dies_after = False, None
    if after:
        assert "not all could be taken back" in sentence
        (found,) = desk.ok(desk.api.unfinished("student"))
        assert (found.status, len(found.links)) == (SliceStatus.CREATING, 4)
        assert "in the middle of creating; log in again" in desk.no(desk.api.deploy_slice("student", 1000))
        desk.ok(getattr(desk.api, answer)("student", 1000))
    if after and answer == "finish_slice":
        assert [(vm.status, vm.lost_with) for vm in desk.slice().vms] == [(VMStatus.DESIGN, None)] * 4
        assert (desk.slice().status, desk.slice().left) == (SliceStatus.DESIGN, [])
        assert desk.ok(desk.api.deploy_slice("student", 1000)).status == SliceStatus.RUNNING
    else:
        assert (records(desk), desk.cloud.state()) == (before, hosts)


def test_a_slice_in_creating_is_deleted_like_any_other(desk: Desk) -> None:
    hosts = copy.deepcopy(desk.cloud.state())
    desk.cloud.hosts[WORKERS[1]].dies_after = 3
    desk.no(desk.api.designs.create("student", ring()))
    desk.cloud.hosts[WORKERS[1]].dead, desk.cloud.hosts[WORKERS[1]].dies_after = False, None
    desk.ok(desk.api.delete_slice("student", 1000))
    assert (desk.used(), desk.ok(desk.api.list_slices("student")), desk.cloud.state()) == (0, [], hosts)


@pytest.mark.parametrize(("answer", "vms"), [("finish_slice", 4), ("take_back_slice", 0)])
def test_a_worker_that_is_written_off_meanwhile_costs_no_vm(desk: Desk, answer: str, vms: int) -> None:
    desk.cloud.hosts[WORKERS[1]].dies_after = 3
    desk.no(desk.api.designs.create("student", ring()))
    assert desk.api.hosts.forget(WORKERS[1]).unfinished == ()
    desk.ok(getattr(desk.api, answer)("student", 1000))
    slices: list[Slice] = desk.ok(desk.api.list_slices("student"))
    assert [vm.worker_ip for slice_ in slices for vm in slice_.vms] == [WORKERS[0]] * vms
    assert desk.used() == vms
    if vms:
        assert desk.ok(desk.api.deploy_slice("student", 1000)).status == SliceStatus.RUNNING


def edit(desk: Desk, **sections: object) -> None:
    """Change sections of the file by hand."""
    record = yaml.safe_load(desk.path.read_text())
    for name, section in sections.items():
        record[name] = record.get(name, {}) | section if isinstance(section, dict) else section
    desk.path.write_text(yaml.safe_dump(record))


LANS = """\
slice: lab
description: one LAN, and a wire
vms: {a: cirros, b: cirros, c: cirros}
links:
- {ends: [a, b, c], name: core, cidr: 10.1.0.0/16, addresses: {b: 10.1.0.99}}
- {ends: [a, c], services: none}
- {ends: [b, c], services: dhcp}
"""


def test_a_design_with_lans_and_services_is_made_and_exported_as_it_was(desk: Desk) -> None:
    design = read(LANS)
    slice_ = desk.ok(desk.api.designs.create("student", design))
    assert design_of(slice_) == (design, [])
    assert [slice_.addresses_on(link) for link in slice_.links] == [
        ["10.1.0.10", "10.1.0.99", "10.1.0.11"],
        [None, None],
        ["192.168.102.10", "192.168.102.11"],
    ]
    assert desk.ok(desk.api.deploy_slice("student", 1000)).status == SliceStatus.RUNNING
    assert desk.ok(desk.api.problems("student", 1000)) == {}
    desk.ok(desk.api.delete_slice("student", 1000))


def test_a_link_without_services_is_nothing_on_the_network_node(desk: Desk) -> None:
    text = "slice: lab\nvms: {a: cirros, b: cirros}\nlinks: [{ends: [a, b], services: none}]\n"
    slice_ = desk.ok(desk.api.designs.create("student", read(text)))
    plan = DeploymentAPI(desk.database.load().inventory).deploy_plan(slice_, new=True)
    assert {step.host for step in plan.steps} == set(WORKERS)


def test_a_chosen_network_that_another_link_has_by_its_vlan_changes_nothing(desk: Desk) -> None:
    links = "[{ends: [a, b], cidr: 192.168.101.0/24}, {ends: [a, b]}]"
    text = f"slice: lab\nvms: {{a: cirros, b: cirros}}\nlinks: {links}\n"
    before = desk.path.read_bytes()
    assert desk.no(desk.api.designs.create("student", read(text))) == (
        "The network 192.168.101.0/24 overlaps 192.168.101.0/24 of another link; choose another one"
    )
    assert desk.path.read_bytes() == before


def test_a_network_of_the_hosts_is_refused(desk: Desk) -> None:
    text = "slice: lab\nvms: {a: cirros, b: cirros}\nlinks: [{ends: [a, b], cidr: 10.0.10.0/24}]\n"
    assert desk.no(desk.api.designs.create("student", read(text))) == (
        "The network 10.0.10.0/24 holds 10.0.10.1, a host of the cloud; choose another `cidr`"
    )


REFUSALS = {
    "quota": (ring(7), "Quota exceeded: you have 2 of 6 VMs, and 7 more are needed; delete a slice first"),
    "name": (ring(3, "ring"), "You have a slice ring already (1000); choose another name"),
    "digit": (ring(3, "3d"), "The name of a new slice begins with a letter"),
    "flavor": (make("ring:3", "lab", "tiny"), "There is no flavor tiny; there are cirros, ubuntu"),
    "interfaces": (
        Design("lab", (DesignedVM("a", "fw", 1),), ()),
        "A VM of flavor fw takes 2 to 4 data interfaces, not 1",
    ),
    "room": (make("ring:3", "lab", "huge"), "No worker has room for huge"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_design_that_may_not_be_changes_nothing(desk: Desk, kind: str) -> None:
    size = {"cores": 1, "ram_gb": 0.5, "disk_gb": 1, "image": "/tmp/vm_images/cirros.img"}
    edit(desk, flavors={"huge": size | {"ram_gb": 9.0}, "fw": size | {"min_nics": 2, "max_nics": 4}})
    desk.ring(2)
    desk.ok(desk.api.discover_workers())
    before, runs = desk.path.read_bytes(), [host.runs for host in desk.cloud.hosts.values()]
    design, sentence = REFUSALS[kind]
    assert desk.no(desk.api.designs.create("student", design)).startswith(sentence)
    assert desk.no(desk.api.designs.plan("student", design)).startswith(sentence)
    assert (desk.path.read_bytes(), [host.runs for host in desk.cloud.hosts.values()]) == (before, runs)


@pytest.mark.on_a_file
def test_vms_have_as_many_interfaces_as_their_flavor_takes(desk: Desk) -> None:
    size = {"cores": 1, "ram_gb": 0.5, "disk_gb": 1, "image": "/tmp/vm_images/cirros.img"}
    edit(desk, flavors={"fw": size | {"min_nics": 4, "max_nics": 4}, "hub": size | {"max_nics": 2}})
    desk.ok(desk.api.discover_workers())
    for flavor, nics in (("fw", 4), ("hub", 2)):
        slice_ = desk.ok(desk.api.designs.create("student", make("ring:3", flavor, flavor)))
        assert {len(vm.interfaces) - 1 for vm in slice_.vms} == {nics}


def test_the_quota_of_slices_holds(desk: Desk) -> None:
    for number in range(4):
        desk.ok(desk.api.create_slice("student", f"s{number}"))
    assert desk.no(desk.api.designs.create("student", ring(3))).startswith("Slice quota exceeded")


def test_another_user_may_have_the_name(desk: Desk) -> None:
    desk.ok(desk.api.designs.create("student", ring(3)))
    assert desk.ok(desk.api.designs.create("admin", ring(3))).slice_id == 1004


@pytest.mark.on_a_file
@pytest.mark.parametrize(("links", "slice_id"), [(19, 1015), (20, 1016)])
def test_the_pool_with_the_internet_holds_one_link_less(desk: Desk, links: int, slice_id: int) -> None:
    desk.api.accounts.set_quota("student", 30)
    edit(desk, next_vm_id=1015)
    slice_ = desk.ok(desk.api.designs.create("student", make(f"line:{links + 1}", "lab", "cirros")))
    assert (slice_.slice_id, len(slice_.links)) == (slice_id, links)
    assert 400 not in slice_.vlan_pool_used


def test_more_links_than_a_pool_has_are_refused(desk: Desk) -> None:
    desk.api.accounts.set_quota("student", 30)
    pairs = [*("a - b", "a - c", "b - c") * 5, *("d - e", "d - f", "e - f") * 2]
    links = "".join(f"- {pair}\n" for pair in pairs)
    text = f"slice: lab\nvms: {{{', '.join(f'{name}: cirros' for name in 'abcdef')}}}\nlinks:\n{links}"
    assert desk.no(desk.api.designs.create("student", read(text))) == (
        "A slice can have 20 links, and 21 are needed: use several slices"
    )


def test_the_size_is_known_before(desk: Desk) -> None:
    desk.ring(2)
    demand = desk.ok(desk.api.designs.demand("student", ring(4)))
    assert (demand.vms, demand.links, demand.ram_gb, demand.free_ram_gb) == (4, 4, 2.0, 31.0)
    assert (demand.used_vms, demand.quota_vms) == (6, 6)


def test_a_creation_is_in_the_audit_log(desk: Desk) -> None:
    desk.ok(desk.api.designs.create("student", ring(3)))
    desk.no(desk.api.designs.create("student", ring(3)))
    entries = [entry for entry in read_log(desk.path) if entry["action"] == "create slice"]
    assert [(entry["slice"], entry["result"]) for entry in entries] == [
        (1000, "ok"),
        (None, "You have a slice lab already (1000); choose another name"),
    ]


SEEDED = """\
slice: lab
vms:
  r1: {flavor: debian, seed: {script: "date\\n", user_data: {packages: [frr]}}}
  r2: debian
links:
- ends: [r1, r2]
  services: none
  cidr: 10.1.2.0/30
  addresses: {r1: 10.1.2.1, r2: 10.1.2.2}
"""


def with_debian(desk: Desk) -> Desk:
    """Add a flavor that takes a seed."""
    content = yaml.safe_load(desk.path.read_text())
    content["flavors"]["debian"] = {**content["flavors"]["cirros"], "seed": "nocloud"}
    desk.path.write_text(yaml.safe_dump(content))
    return desk


@pytest.mark.on_a_file
def test_a_seed_of_a_file_is_kept_and_exported(desk: Desk) -> None:
    design = with_debian(desk).ok(desk.api.designs.read("student", SEEDED))
    desk.ok(desk.api.designs.create("student", design))
    slice_ = desk.slice()
    assert slice_.vms[0].seed == FirstBoot("date\n", '{"packages": ["frr"]}')
    assert slice_.vms[1].seed is None
    assert design_of(slice_) == (design, [])
    assert read(write(design)) == design


@pytest.mark.on_a_file
def test_a_seed_of_a_slice_in_design_follows_its_file(desk: Desk) -> None:
    design = with_debian(desk).ok(desk.api.designs.read("student", SEEDED))
    desk.ok(desk.api.designs.create("student", design))
    text = SEEDED.replace("date", "uptime").replace("r2: debian", "r2: {flavor: debian, seed: {script: date}}")
    changed = desk.ok(desk.api.designs.read("student", text))
    slice_ = desk.ok(desk.api.edits.apply("student", 1000, changed))
    assert [vm.seed.script for vm in slice_.vms if vm.seed] == ["uptime\n", "date"]


@pytest.mark.on_a_file
def test_a_user_has_a_bound_of_seeds(desk: Desk) -> None:
    with_debian(desk)
    script = "x" * 16_000
    vms = "".join(f"  r{number}: {{flavor: debian, seed: {{script: {script}}}}}\n" for number in range(3))
    with desk.database.transaction() as state:
        state.users["student"].quota_vms, state.users["student"].quota_slices = 100, 9
    for number in range(5):
        design = desk.ok(desk.api.designs.read("student", f"slice: lab{number}\nvms:\n{vms}"))
        desk.ok(desk.api.designs.create("student", design))
    more = desk.ok(desk.api.designs.read("student", f"slice: more\nvms:\n{vms}"))
    refused = desk.no(desk.api.designs.create("student", more))
    assert refused.startswith("The seeds of all your slices would have 288000 bytes; at most 262144 are allowed")
    assert len(desk.ok(desk.api.list_slices("student"))) == 5
