"""An older `database.yaml` is put back while hosts still have what it does not know: only ids come again."""

from __future__ import annotations

import copy
import shutil
import subprocess
from pathlib import Path

import pytest

import qcow_manager
from tests.unit.desk import WORKERS, Desk


def put_back(desk: Desk, version: bytes) -> None:
    desk.path.write_bytes(version)


@pytest.mark.parametrize("deployed", [False, True])
def test_ids_that_come_again_give_nobody_anothers_disk(desk: Desk, deployed: bool) -> None:
    before = desk.path.read_bytes()
    desk.ring(2, "admin")
    if deployed:
        desk.ok(desk.api.deploy_slice("admin", 1000))
    after, hosts = desk.path.read_bytes(), copy.deepcopy(desk.cloud.state())
    put_back(desk, before)
    assert desk.ok(desk.api.create_slice("student", "mine")).slice_id == 1000
    for name in ("vm0", "other"):
        sentence = desk.no(desk.api.add_vm_to_slice("student", 1000, name, "cirros"))
        assert sentence.startswith(f"{WORKERS[0]}: place for the disk of {name}: vm_images/slice-1000 is there already")
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
    stranger = "vm_images/slice-1000/vm2_img.qcow2"
    desk.cloud.hosts[WORKERS[0]].files[stranger] = "somebody's"
    assert f"{stranger} is there already" in desk.no(desk.api.add_vm_to_slice("student", 1000, "vm2", "cirros"))
    assert desk.cloud.hosts[WORKERS[0]].files[stranger] == "somebody's"
    desk.ok(desk.api.add_vm_to_slice("student", 1000, "vm3", "cirros"))


def test_the_look_at_the_place_says_what_to_do(tmp_path: Path) -> None:
    def look() -> subprocess.CompletedProcess[str]:
        argv = ("sh", "-c", qcow_manager._IS_FREE, "sh", str(tmp_path / "slice-1000"))
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    assert look().returncode == 0
    (tmp_path / "slice-1000").mkdir()
    found = look()
    assert found.returncode == 1
    assert found.stderr == (
        f"{tmp_path}/slice-1000 is there already, of a slice that database.yaml does not know (was an older version "
        "put back?); create another slice, and have the operator look\n"
    )
    shutil.rmtree(tmp_path / "slice-1000")
    assert look().returncode == 0
