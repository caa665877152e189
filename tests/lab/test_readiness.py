"""When guests are ready, on real hosts: leases, frames, the console, SSH, and VMs that never are."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import Lab
from tests.support.lab.program import run_program
from tests.support.lab.visitor import Guest, Menu, empty_database, wait_until
from tests.support.paths import ROOT

pytestmark = pytest.mark.lab

FLAVORS: dict[str, dict[str, Any]] = {
    "greeting": {"ready": ["no such words", "^guest (ready|login)"]},
    "never": {"ready": ["no such words"]},
    "broken": {"ready": ["("]},
}


@pytest.fixture(scope="module")
def database(lab: Lab, home: Path) -> Path:
    def change(record: dict[str, Any]) -> None:
        size = record["flavors"]["cirros"]
        record["flavors"] |= {name: size | devices for name, devices in FLAVORS.items()}
        record["next_vm_id"] = 9300

    return empty_database(lab, home / "cloud.yaml", change)


@pytest.fixture
def own_menu(lab: Lab, database: Path) -> Iterator[Menu]:
    session = Menu(lab, "admin", database)
    yield session
    session.close()


def cli(lab: Lab, database: Path, *words: str) -> tuple[int, str, str]:
    """Run a command; return its exit status and both outputs."""
    done = run_program(lab, *words, database=database)
    return done.returncode, done.stdout, done.stderr


def deployed(lab: Lab, database: Path, flavor: str, seconds: int, template: str = "line:2") -> tuple[int, str, str]:
    name = f"of-{flavor}"
    words = ("--template", template, "--flavor", flavor, "--name", name, "--internet", "first")
    assert cli(lab, database, "create", *words)[0] == 0
    return cli(lab, database, "deploy", name, "--wait", str(seconds))


def test_guests_are_ready_with_their_lease(lab: Lab, database: Path) -> None:
    status, output, said = deployed(lab, database, "cirros", 240)
    assert status == 0, said
    assert "2 VMs ready after " in output
    lines = [line for line in said.splitlines() if line.startswith("VM ")]
    assert sum("process, first frame, address by DHCP; ready" in line for line in lines) >= 2
    assert cli(lab, database, "delete", "of-cirros", "--yes")[0] == 0


def test_a_guest_is_ready_with_the_words_of_its_flavor(lab: Lab, database: Path) -> None:
    status, _, said = deployed(lab, database, "greeting", 240)
    assert status == 0, said
    assert "console; ready" in said
    assert cli(lab, database, "delete", "of-greeting", "--yes")[0] == 0


@pytest.mark.parametrize(
    ("flavor", "why"),
    [("never", "waiting for: console"), ("broken", "its patterns cannot be compared with its console")],
)
def test_guests_that_are_not_ready_in_time_are_named(lab: Lab, database: Path, flavor: str, why: str) -> None:
    began = time.monotonic()
    status, output, said = deployed(lab, database, flavor, 15)
    assert (status, output) == (3, "Slice deployed successfully\n")
    assert said.splitlines()[-1].startswith("Not ready after 1")
    assert f"r1 ({why}), r2 ({why})" in said.splitlines()[-1]
    assert time.monotonic() - began < 60
    assert cli(lab, database, "delete", f"of-{flavor}", "--yes")[0] == 0


_LOOK = """
import sys
sys.path.insert(0, sys.argv[3])
from database import Database
from orchestrator import OrchestratorAPI
done, look = OrchestratorAPI(Database(sys.argv[1])).readiness.look("admin", int(sys.argv[2]))
print(*(f"{vm.name}:{sign}" for vm in look.vms for sign in sorted(vm.seen)), *look.errors)
"""


def test_an_ssh_server_of_a_guest_is_seen(lab: Lab, database: Path, own_menu: Menu) -> None:
    """BusyBox answers on port 22 with a banner, behind the internet VLAN and behind a link."""
    assert deployed(lab, database, "cirros", 240)[0] == 0
    slice_id = int(cli(lab, database, "list")[1].split()[1].rstrip(":"))
    vms = own_menu.topology(slice_id)
    words = [sys.executable, "-c", _LOOK, str(database), str(slice_id), str(ROOT)]
    assert "ssh" not in lab.run(words).stdout
    for vm in vms.values():
        guest = Guest(lab, slice_id, vm)
        guest.run("(while :; do echo SSH-2.0-guest | nc -l -p 22; done) >/dev/null 2>&1 &")
        guest.console.close()
    wait_until(lambda: {"r1:ssh", "r2:ssh"} <= {*lab.run(words).stdout.split()}, "both banners", 30)
    assert cli(lab, database, "delete", "of-cirros", "--yes")[0] == 0
