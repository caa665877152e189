"""An older `database.yaml` is put back while hosts still have newer objects: only ids repeat."""

from __future__ import annotations

import copy
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from core.errors import HostUnreachable
from core.status import SliceStatus, VMStatus
from network import ovs
from shell.scripts import load
from tests.support.agreement import hosts_agree
from tests.support.desk import NETWORK, WORKERS, Desk
from tests.support.dying import ManagerDiesError
from tests.support.fake_hosts import FORGOTTEN, FakeHost


def put_back(desk: Desk, version: bytes) -> None:
    desk.path.write_bytes(version)


@pytest.mark.parametrize("deployed", [False, True])
def test_repeated_ids_give_no_slice_the_disk_of_another(desk: Desk, deployed: bool) -> None:
    before = desk.path.read_bytes()
    desk.ring(2, "admin")
    if deployed:
        desk.ok(desk.api.deploy_slice("admin", 1000))
    after, hosts = desk.path.read_bytes(), copy.deepcopy(desk.cloud.state())
    put_back(desk, before)
    assert desk.ok(desk.api.create_slice("student", "mine")).slice_id == 1000
    for name in ("vm0", "other"):
        sentence = desk.no(desk.api.add_vm_to_slice("student", 1000, name, "cirros"))
        assert sentence.startswith(f"{WORKERS[0]}: place for the disks: vm_images/slice-1000 is there already, of a")
        assert sentence.endswith("; nothing was added")
    assert (desk.slice(1000).vms, desk.used()) == ([], 0)
    assert desk.cloud.state() == hosts
    desk.ok(desk.api.delete_slice("student", 1000))
    assert desk.cloud.state() == hosts
    put_back(desk, after)
    desk.ok(desk.api.delete_slice("admin", 1000))
    assert not [host for host in desk.cloud.hosts.values() if host.processes or host.ports]


def test_a_second_vm_is_not_given_a_disk_that_is_there(desk: Desk) -> None:
    desk.ring(2)
    foreign = "vm_images/slice-1000/vm2_img.qcow2"
    desk.cloud.hosts[WORKERS[0]].files[foreign] = "foreign"
    assert f"{foreign} is there already" in desk.no(desk.api.add_vm_to_slice("student", 1000, "vm2", "cirros"))
    assert desk.cloud.hosts[WORKERS[0]].files[foreign] == "foreign"
    desk.ok(desk.api.add_vm_to_slice("student", 1000, "vm3", "cirros"))


def forgotten(desk: Desk) -> dict[str, FakeHost]:
    """Put an older file back that knows neither slice 1000 nor its VM `vm`, whose disk was written to."""
    before = desk.path.read_bytes()
    desk.ok(desk.api.create_slice("admin", "first"))
    desk.ok(desk.api.add_vm_to_slice("admin", 1000, "vm", "cirros"))
    desk.cloud.hosts[WORKERS[0]].files["vm_images/slice-1000/vm_img.qcow2"] = "what a guest wrote"
    put_back(desk, before)
    desk.ok(desk.api.create_slice("student", "second"))
    return copy.deepcopy(desk.cloud.hosts)


def die_before_the_hosts(desk: Desk) -> None:
    """Record a VM of the same name, and kill its manager before it has contacted any host."""

    def die(_event: object) -> None:
        raise ManagerDiesError

    with pytest.raises(ManagerDiesError):
        desk.api.add_vm_to_slice("student", 1000, "vm", "cirros", 1, False, die)
    assert [(vm.name, vm.status) for vm in desk.slice().vms] == [("vm", VMStatus.PENDING)]


def disks(hosts: Mapping[str, FakeHost]) -> list[dict[str, str]]:
    return [{p: text for p, text in host.files.items() if "slice-" in p} for _, host in sorted(hosts.items())]


@pytest.mark.on_a_file
def test_taking_back_after_a_dead_manager_costs_no_disk_of_a_forgotten_slice(desk: Desk) -> None:
    hosts = forgotten(desk)
    die_before_the_hosts(desk)
    desk.ok(desk.api.take_back_slice("student", 1000))
    assert (desk.slice().vms, desk.used(), disks(desk.cloud.hosts)) == ([], 0, disks(hosts))


@pytest.mark.on_a_file
def test_deleting_after_a_dead_manager_costs_no_disk_of_a_forgotten_slice(desk: Desk) -> None:
    hosts = forgotten(desk)
    die_before_the_hosts(desk)
    desk.ok(desk.api.delete_slice("student", 1000))
    assert (desk.used(), disks(desk.cloud.hosts)) == (0, disks(hosts))


@pytest.mark.on_a_file
def test_finishing_after_a_dead_manager_takes_no_disk_of_a_forgotten_slice(desk: Desk) -> None:
    hosts = forgotten(desk)
    die_before_the_hosts(desk)
    sentence = desk.no(desk.api.finish_slice("student", 1000))
    assert sentence.startswith(f"{WORKERS[0]}: place for the disks: vm_images/slice-1000 is there already, of a slice")
    assert sentence.endswith("; nothing was added")
    assert (desk.slice().vms, desk.used(), disks(desk.cloud.hosts)) == ([], 0, disks(hosts))


@pytest.mark.on_a_file
@pytest.mark.parametrize("theirs", [True, False])
@pytest.mark.parametrize("received", range(7))
def test_a_connection_lost_in_the_only_batch_costs_no_disk_of_another_slice(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, theirs: bool, received: int
) -> None:
    """Let the host finish its batch while only a part of its answer arrives."""
    if theirs:
        forgotten(desk)
    else:
        desk.ok(desk.api.create_slice("student", "first"))
    before, host = copy.deepcopy(desk.cloud.state()), desk.cloud.hosts[WORKERS[0]]
    run = host.run

    def cut(*steps: Any, **how: Any) -> Iterator[Any]:
        outcomes = [*run(*steps, **how)]
        monkeypatch.undo()
        yield from outcomes[:received]
        raise HostUnreachable(WORKERS[0], "the connection was lost", begun=True)

    monkeypatch.setattr(host, "run", cut)
    assert desk.no(desk.api.add_vm_to_slice("student", 1000, "vm", "cirros")).endswith("; nothing was added")
    assert (desk.slice().vms, desk.used()) == ([], 0)
    assert desk.cloud.state() == before


def test_a_deployment_takes_no_disk_that_is_not_marked_as_its_own(desk: Desk) -> None:
    desk.ring(2)
    worker = desk.cloud.hosts[WORKERS[0]]
    (mark,) = (path for path in worker.files if ".id-" in path)
    del worker.files[mark]
    hosts = copy.deepcopy(desk.cloud.state())
    sentence = desk.no(desk.api.deploy_slice("student", 1000))
    assert sentence.startswith(f"{WORKERS[0]}: disks on cirros.img: the disk vm_images/slice-1000/vm0_img.qcow2 is ano")
    assert sentence.endswith("; nothing was changed and the slice is in design")
    desk.ok(desk.api.delete_slice("student", 1000))
    left = [path for host in desk.cloud.hosts.values() for path in host.files if "slice-" in path]
    assert left == ["vm_images/slice-1000/vm0_img.qcow2"]
    assert hosts[WORKERS[0]]["files"].items() >= worker.state()["files"].items()
    assert desk.api.doctor.fix().not_removed == ()
    assert not [path for path in worker.files if "slice-" in path]


# --- what a forgotten slice has where the new one has no disk yet -----------------------------------------------------


def line(desk: Desk, owner: str, *, links: bool) -> None:
    """Create two VMs with internet on one worker: the first for one slice, the second for the other."""
    other = desk.cloud.hosts[WORKERS[owner == "admin"]]
    other.dead = True
    desk.ok(desk.api.discover_workers())
    other.dead = False
    desk.ok(desk.api.create_slice(owner, "line"))
    for name in ("a", "b"):
        desk.ok(desk.api.add_vm_to_slice(owner, 1000, name, "cirros", 1, True))
    if links:
        desk.ok(desk.api.create_link(owner, 1000, 1001, "eth1", 1002, "eth1"))


def reboot(host: FakeHost) -> None:
    """Reboot a host: only Open vSwitch's ports stay."""
    host.namespaces = {"": {"ens3": set(), "ens4": set()}}
    host.folders = {path for path in host.folders if not path.startswith("/run/")}
    host.files = {path: text for path, text in host.files.items() if not path.startswith(("/run/", "/tmp/"))}
    for books in (
        host.processes,
        host.argvs,
        host.holders,
        host.aliases,
        host.rules,
        host.filters,
        host.bounds,
        host.forwarding,
    ):
        books.clear()


def lose_ports(host: FakeHost) -> None:
    host.ports.clear()
    host.ours.clear()


DAMAGE: dict[str, tuple[str, Callable[[FakeHost], None]]] = {
    "nothing": (NETWORK, lambda _: None),
    "its worker was rebooted": (WORKERS[0], reboot),
    "its worker has lost its ports": (WORKERS[0], lose_ports),
    "the network node was rebooted": (NETWORK, reboot),
    "the network node has lost its ports": (NETWORK, lose_ports),
}


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("settle", ["doctor", "wait"])
def test_a_new_slice_takes_over_nothing_of_a_forgotten_one(desk: Desk, damage: str, links: bool, settle: str) -> None:
    links = links or damage == "the network node was rebooted"  # otherwise no object of the forgotten slice is left
    before = desk.path.read_bytes()
    line(desk, "admin", links=links)
    desk.ok(desk.api.deploy_slice("admin", 1000))
    after = desk.path.read_bytes()
    address, strike = DAMAGE[damage]
    strike(desk.cloud.hosts[address])
    put_back(desk, before)
    line(desk, "student", links=links)
    assert {vm.worker_ip for vm in desk.slice().vms} == {WORKERS[1]}
    hosts = copy.deepcopy(desk.cloud.state())
    said = desk.no(desk.api.deploy_slice("student", 1000))
    assert "is there already, of a slice that database.yaml does not know" in said
    assert "python3 cli.py doctor --fix; nothing was changed and the slice is in design" in said
    assert (desk.cloud.state(), desk.slice().status, desk.slice().left) == (hosts, SliceStatus.DESIGN, [])
    if settle == "wait":  # no object of the old slice was touched: with the newer file all of it works again
        put_back(desk, after)
        desk.ok(desk.api.repair_slice("admin", 1000))
        return
    assert desk.api.doctor.fix().not_removed == ()
    assert desk.api.doctor.examine().findings == ()
    assert not any(h.ours or h.flows or h.rules or h.processes for h in desk.cloud.hosts.values())
    desk.ok(desk.api.deploy_slice("student", 1000))
    hosts_agree(desk.cloud, desk.database.load())
    assert desk.api.doctor.examine().findings == ()


def test_shared_objects_are_no_forgotten_ones(desk: Desk) -> None:
    desk.ring(2, "admin")
    desk.ok(desk.api.deploy_slice("admin", 1000))
    desk.ring(2)
    desk.ok(desk.api.deploy_slice("student", 1003))
    assert desk.api.doctor.examine().findings == ()


def test_the_check_for_forgotten_files_has_advice(tmp_path: Path) -> None:
    def look(*paths: Path) -> subprocess.CompletedProcess[str]:
        argv = load("hosts/check-free-paths").argv(*map(str, paths))
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    assert look().returncode == look(tmp_path / "a", tmp_path / "b").returncode == 0
    (tmp_path / "b").mkdir()
    found = look(tmp_path / "a", tmp_path / "b")
    assert (found.returncode, found.stderr) == (1, f"{tmp_path}/b {FORGOTTEN}\n")


def test_the_check_for_forgotten_ports_has_advice(tmp_path: Path) -> None:
    program = tmp_path / "ovs-vsctl"
    program.write_text("#!/bin/sh\nprintf 'br-int\\ngw_vlan100\\ntap_1001_eth0\\n'\n")
    program.chmod(0o755)

    def look(*ports: str) -> subprocess.CompletedProcess[str]:
        argv = ovs.check_free_ports(ports)
        path = f"{tmp_path}:{os.environ['PATH']}"
        return subprocess.run(argv, capture_output=True, text=True, check=False, env={"PATH": path})

    assert look().returncode == look("gw_vlan10", "vlan100", "tap_1001_eth").returncode == 0
    found = look("gw_vlan101", "tap_1001_eth0")
    assert (found.returncode, found.stderr) == (1, f"port tap_1001_eth0 {FORGOTTEN}\n")
    program.write_text("#!/bin/sh\nexit 1\n")
    assert look("gw_vlan101").returncode == 1
