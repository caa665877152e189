"""Late batches of a manager that lost its claim: each host of the lab refuses them, and says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab
from tests.support.lab.power_desk import PowerDesk
from tests.support.lab.visitor import HOSTS
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.lab

HIGHER = 1000


@pytest.fixture
def desk(lab: Lab, home: Path, postgres: PostgresServer) -> Iterator[PowerDesk]:
    """Return a desk whose cloud has moved into a database, and take its fences from the hosts afterwards."""
    desk = PowerDesk(lab, home)
    desk.location = postgres.new_database()
    desk.run("database", "import", str(desk.database))
    yield desk
    desk.run("delete", "lab", "--yes")
    for host in HOSTS.values():
        lab.exec(host, ["sh", "-c", "rm -f /run/cloud-repositorio-*.fence"])


def test_every_host_refuses_a_late_batch(desk: PowerDesk, lab: Lab) -> None:
    fence = f"/run/cloud-repositorio-slice-{desk.slice_id}.fence"
    desk.run("repair", "lab")
    pids = [desk.processes(desk.vm(name)) for name in ("a", "b")]
    for address, host in HOSTS.items():
        own = lab.exec(host, ["cat", fence]).stdout
        assert int(own) < HIGHER
        lab.exec(host, ["sh", "-c", f"echo {HIGHER} >{fence}"])
        for words in (("repair", "lab"), ("stop", "lab", "--now", "--yes"), ("delete", "lab", "--yes")):
            status, _, errors = desk.ended(*words)
            assert status == 1
            assert f"{address} refuses this change, because another manager has begun a later one" in errors
        lab.exec(host, ["sh", "-c", f"echo {own.strip()} >{fence}"])
        assert [desk.processes(desk.vm(name)) for name in ("a", "b")] == pids
        desk.run("resume", "--take-back")

    lab.exec(host, ["sh", "-c", f"echo {HIGHER} >{fence}"])
    assert "above 1 fences" in desk.run("resume", "--raise-fences")[0]
    desk.run("repair", "lab")
    assert lab.exec(host, ["cat", fence]).stdout == f"{HIGHER + 1}\n"
    lines = desk.run("log")[0]
    assert "refuses this change" in lines
    assert "import database" in lines
