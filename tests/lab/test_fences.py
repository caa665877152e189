"""Managers on PostgreSQL that lost their claim: hosts refuse late batches, and another manager goes on."""

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

    def keep(host: str, number: int) -> None:
        lab.exec(host, ["sh", "-c", f"echo {number} >{fence}"])

    def kept(host: str) -> int:
        return int(lab.exec(host, ["cat", fence]).stdout)

    def refusal(*words: str) -> str:
        status, _, errors = desk.ended(*words)
        assert status == 1
        return errors

    desk.run("repair", "lab")
    pids = [desk.processes(desk.vm(name)) for name in ("a", "b")]
    assert len({kept(host) for host in HOSTS.values()}) == 1
    for address, host in HOSTS.items():
        keep(host, HIGHER)
        assert f"{address} refuses this change, because another manager has begun a later one" in refusal(
            "repair", "lab"
        )
        keep(host, 1)

    for host in HOSTS.values():
        keep(host, HIGHER)
    assert "refuses this change" in refusal("stop", "lab", "--now", "--yes")
    assert [desk.processes(desk.vm(name)) for name in ("a", "b")] == pids

    assert "above 1 fences" in desk.run("resume", "--raise-fences")[0]
    desk.run("resume", "--take-back")
    desk.run("repair", "lab")
    assert [desk.processes(desk.vm(name)) for name in ("a", "b")] == pids
    assert all(kept(host) > HIGHER for host in HOSTS.values())
    lines = desk.run("log")[0]
    assert "refuses this change" in lines
    assert "import database" in lines
