"""A running cloud that moves into a PostgreSQL database and back, while its VMs run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab
from tests.support.lab.power_desk import PowerDesk
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.lab


@pytest.fixture
def desk(lab: Lab, home: Path) -> Iterator[PowerDesk]:
    desk = PowerDesk(lab, home)
    yield desk
    desk.run("delete", "lab", "--yes")


def test_a_running_cloud_moves_there_and_back(desk: PowerDesk, postgres: PostgresServer, home: Path) -> None:
    file, a, b = desk.database, desk.vm("a"), desk.vm("b")
    pids = [desk.processes(vm) for vm in (a, b)]
    assert [len(each) for each in pids] == [1, 1]

    desk.location = postgres.new_database()
    assert "1 slices and 2 VMs" in desk.run("database", "import", str(file))[0]
    file.rename(file.with_suffix(".moved"))
    assert desk.run("doctor")[0] == "Database and hosts agree: no findings\n"
    desk.run("prove")
    assert [desk.processes(vm) for vm in (a, b)] == pids
    assert desk.run("stop", "lab", "b", "--now", "--yes")[0] == "Stopped: b\n"
    assert not desk.processes(b)
    assert desk.run("start", "lab")[0] == "Started: b\nRan already: a\n"
    desk.run("create", "--template", "ring:3", "--name", "other")
    desk.run("deploy", "other")
    desk.run("delete", "other", "--yes")
    assert desk.processes(a) == pids[0]

    back = home / "back.yaml"
    desk.run("database", "export", str(back))
    desk.location = desk.database = back
    assert desk.run("doctor")[0] == "Database and hosts agree: no findings\n"
    assert desk.run("repair", "lab")[0] == "Nothing was missing: 0 changes\n"
    assert desk.processes(a) == pids[0]
