"""Seeds on real hosts: there from deployment to deletion, for no other user to read, harmless to a guest without
cloud-init."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import Lab
from tests.support.lab.program import run_program
from tests.support.lab.visitor import Guest, Menu, empty_database, traces
from tests.support.paths import DATA, ROOT

pytestmark = pytest.mark.lab

FILE = """\
slice: seeded
vms:
  r1: {flavor: seeded, internet: true, seed: {script: "touch /root/here\\n", user_data: {packages: [frr]}}}
  r2: {flavor: seeded, seed: {script: "'; $(touch /tmp/escaped) \\"`id`\\"\\n"}}
  pc: cirros
links:
- r1 - r2
"""
KEY = (DATA / "public_keys.txt").read_text(encoding="utf-8").splitlines()[1]


@pytest.fixture(scope="module")
def database(lab: Lab, home: Path) -> Path:
    def change(record: dict[str, Any]) -> None:
        record["flavors"]["seeded"] = record["flavors"]["cirros"] | {"seed": "nocloud"}
        record["next_vm_id"] = 9500

    return empty_database(lab, home / "cloud.yaml", change)


@pytest.fixture
def menu(lab: Lab, database: Path) -> Iterator[Menu]:
    session = Menu(lab, "admin", database)
    yield session
    session.close()


def command(lab: Lab, database: Path, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Carry out a command of `cli.py` on the manager."""
    whole = [sys.executable, str(ROOT / "cli.py"), "--database", str(database), *words]
    done: subprocess.CompletedProcess[str] = lab.run(whole, input=typed)
    return done


def codes(lab: Lab, database: Path) -> set[str]:
    said = run_program(lab, "doctor", "--json", database=database)
    return {finding["code"] for finding in json.loads(said.stdout)["findings"]}


def seeds(lab: Lab, slice_id: int) -> dict[str, str]:
    """Return name -> mode, owner and size of the slice's seeds on both workers."""
    folder = f"/home/ubuntu/vm_images/slice-{slice_id}"
    found: dict[str, str] = {}
    for host in ("worker1", "worker2"):
        listed = lab.exec(host, ["find", folder, "-name", "*.seed*", "-printf", "%f %m %u %s\n"], check=False).stdout
        found |= dict(line.split(" ", 1) for line in listed.splitlines())
    return found


def create(lab: Lab, database: Path) -> int:
    """Create the slice of the file; return its id."""
    return int(json.loads(command(lab, database, "create", "-", "--json", typed=FILE).stdout)["slice_id"])


def test_a_seed_lives_as_long_as_its_slice_runs(lab: Lab, database: Path, menu: Menu) -> None:
    command(lab, database, "keys", "add", "-", typed=f"{KEY}\n")
    menu.delete(create(lab, database))  # the base image is on both workers now
    before = traces(lab)
    slice_id = create(lab, database)
    assert seeds(lab, slice_id) == {}
    menu.deploy(slice_id)
    found = seeds(lab, slice_id)
    assert {*found} == {"r1.seed", "r2.seed"}
    assert {words.rpartition(" ")[0] for words in found.values()} == {"600 ubuntu"}
    assert codes(lab, database) == set()

    vms = menu.topology(slice_id)
    seed = f"/home/ubuntu/vm_images/slice-{slice_id}/r1.seed"
    other = lab.exec(vms["r1"].worker, ["setpriv", "--reuid=65534", "--clear-groups", "cat", seed], check=False)
    assert other.returncode != 0
    assert "Permission denied" in other.stderr

    lab.exec(vms["r1"].worker, ["chmod", "644", seed])
    lab.exec(vms["r2"].worker, ["rm", seed.replace("r1", "r2")])
    assert codes(lab, database) == {"seed-open", "seed-missing"}
    menu.choose(11, slice_id)
    assert codes(lab, database) == set()
    assert seeds(lab, slice_id) == found

    menu.delete(slice_id)
    assert traces(lab) == before


def test_a_guest_without_cloud_init_boots_beside_its_seed(lab: Lab, database: Path, menu: Menu) -> None:
    slice_id = create(lab, database)
    menu.deploy(slice_id)
    vms = menu.topology(slice_id)
    guests = {name: Guest(lab, slice_id, vm) for name, vm in vms.items()}
    assert guests["r1"].reaches(vms["r2"].addresses["eth1"])
    assert guests["r1"].run("head -c 32774 /dev/vdb | tail -c 5; echo").strip() == "CD001"
    assert not guests["r1"].succeeds("echo x >/dev/vdb")
    assert not guests["pc"].succeeds("test -e /dev/vdb")
    for host in ("worker1", "worker2"):
        assert lab.exec(host, ["test", "-e", "/tmp/escaped"], check=False).returncode == 1
    for guest in guests.values():
        guest.console.close()
    menu.delete(slice_id)
