"""The life of seeds, over fake hosts: made at a deployment, kept while it runs, gone with the slice."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from core.status import SliceStatus
from tests.support.designs import FLAVOR
from tests.support.desk import WORKERS, Desk, open_desk
from tests.support.fake_hosts import no
from tests.support.plan_text import full_text
from tests.unit.core.test_ssh_keys import GOOD


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Return a desk whose flavor takes a seed."""
    desk = open_desk(tmp_path)
    content = yaml.safe_load(desk.path.read_text())
    content["flavors"]["cirros"] = {**FLAVOR, "seed": "nocloud"}
    desk.path.write_text(yaml.safe_dump(content))
    with desk.database.transaction() as state:
        state.users["student"].keys = GOOD[:1]
    return desk


def seeds(desk: Desk) -> dict[str, str]:
    """Return the digests of all seeds on the workers."""
    hosts = [desk.cloud.hosts[address] for address in WORKERS]
    return {path: text for host in hosts for path, text in host.files.items() if path.endswith(".seed")}


def codes(desk: Desk) -> set[str]:
    return {finding.code for finding in desk.api.doctor.examine().findings}


def test_a_seed_is_there_from_deployment_to_deletion(desk: Desk) -> None:
    desk.ring(2)
    assert not seeds(desk)
    slice_ = desk.ok(desk.api.deploy_slice("student", 1000))
    assert {*seeds(desk)} == {"vm_images/slice-1000/vm0.seed", "vm_images/slice-1000/vm1.seed"}
    assert slice_.keys == GOOD[:1]
    assert codes(desk) == set()
    assert desk.ok(desk.api.repair_slice("student", 1000)) == []
    desk.ok(desk.api.delete_slice("student", 1000))
    assert not seeds(desk)
    assert codes(desk) == set()


def test_a_running_vm_keeps_its_seed_when_keys_change(desk: Desk) -> None:
    desk.ring(2)
    desk.ok(desk.api.deploy_slice("student", 1000))
    before = seeds(desk)
    with desk.database.transaction() as state:
        state.users["student"].keys = []
    assert desk.ok(desk.api.repair_slice("student", 1000)) == []
    assert seeds(desk) == before


@pytest.mark.parametrize("code", ["seed-missing", "seed-open"])
def test_a_seed_that_is_gone_or_open_is_found_and_repaired(desk: Desk, code: str) -> None:
    desk.ring(2)
    desk.ok(desk.api.deploy_slice("student", 1000))
    path, digest = next(iter(seeds(desk).items()))
    host = next(host for host in desk.cloud.hosts.values() if path in host.files)
    if code == "seed-missing":
        del host.files[path]
    else:
        host.open_files.add(path)
    assert codes(desk) == {code}
    assert desk.ok(desk.api.repair_slice("student", 1000)) == [f"seed of vm0 on {host.address}"]
    assert codes(desk) == set()
    assert seeds(desk)[path] == digest


def test_a_failed_deployment_leaves_no_seed(desk: Desk) -> None:
    desk.ring(2)
    desk.cloud.hosts[WORKERS[0]].faults["QEMU"] = no("no memory")
    desk.no(desk.api.deploy_slice("student", 1000))
    assert desk.slice().status == SliceStatus.DESIGN
    assert not seeds(desk)
    assert codes(desk) == set()


def test_a_seed_of_a_slice_that_is_unknown_is_an_orphan(desk: Desk) -> None:
    desk.ring(2)
    desk.ok(desk.api.deploy_slice("student", 1000))
    with desk.database.transaction() as state:
        del state.slices[1000]
        state.users["student"].slices.clear()
        state.users["student"].used_vms = 0
    assert "orphan-overlay" in codes(desk)
    desk.api.doctor.fix()
    assert not seeds(desk)


def test_a_seed_in_the_folder_of_a_slice_in_design_is_an_orphan(desk: Desk) -> None:
    desk.ring(2)
    desk.cloud.hosts[WORKERS[0]].files["vm_images/slice-1000/vm0.seed"] = "old"
    assert codes(desk) == {"orphan-files"}
    desk.api.doctor.fix()
    assert not seeds(desk)


def test_no_log_and_no_plan_shows_a_secret(desk: Desk) -> None:
    desk.ring(2)
    slice_ = desk.ok(desk.api.deploy_slice("student", 1000))
    vm = slice_.vms[0]
    shown = full_text(desk.ok(desk.api.plan_slice("student", 1000)))
    assert "write-seed.sh" in shown
    files = [
        path for path in desk.path.parent.iterdir() if path.is_file() and not path.name.startswith("database.yaml")
    ]
    shown += "".join(path.read_text(errors="replace") for path in files)
    for secret in (vm.password, vm.host_secret, slice_.ssh_secret):
        assert secret
        assert secret not in shown
