"""The lab that tests share: started once in each of pytest's processes, and removed at the end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path

import pytest

from core.errors import CloudError
from database import Database
from lab import Lab, paths
from tests.support.lab.program import end_servers
from tests.support.lab.visitor import DATABASES, Menu, age_measurements, brought_up, traces
from tests.support.paths import ROOT


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Show the lines in which two states of hosts differ; pytest would show their beginnings."""
    if op != "==" or not (isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys()):
        return None
    lines = [
        f"{host} {line}"
        for host in left
        if isinstance(left[host], str) and isinstance(right[host], str)
        for line in unified_diff(right[host].splitlines(), left[host].splitlines(), n=0, lineterm="")
        if not line.startswith(("---", "+++", "@@"))
    ]
    return ["the states of these hosts differ:", *lines] if lines else None


@pytest.fixture(scope="module", autouse=True)
def slices_left() -> Iterator[None]:
    """Delete the slices that a test left because it failed, so that they are in the way of no other file's tests.

    Forget the measurements too: what the file before has broken would decide where the slices of fixtures are placed.
    """
    for lab in DATABASES.values():
        age_measurements(lab.database)
    yield
    end_servers()
    for database, lab in [*DATABASES.items()]:
        if _delete_slices(lab, database):
            lab.down()
            lab.up()


def _delete_slices(lab: Lab, database: Path) -> list[int]:
    """Delete all slices, and return the ids of those that could not be deleted."""
    for slice_id in _slices(database):
        argv = [sys.executable, str(ROOT / "cli.py"), "--database", str(database), "delete", str(slice_id), "--yes"]
        lab.run(argv, check=False)
    return _slices(database)


def _slices(database: Path) -> list[int]:
    """Return the ids of all slices; none where the file is gone, or was left broken on purpose."""
    try:
        return [*Database(database).load().slices] if database.exists() else []
    except CloudError:
        return []


@pytest.fixture(scope="session")
def lab(worker_id: str) -> Iterator[Lab]:
    with brought_up(f"test-{worker_id}") as lab:
        yield lab


@pytest.fixture(autouse=True)
def new_measurements(request: pytest.FixtureRequest) -> None:
    """Let each test measure the workers: one that an earlier test has broken would get no VMs for a minute."""
    if "lab" in request.fixturenames:
        age_measurements(request.getfixturevalue("lab").database)


@pytest.fixture(scope="module")
def idle_guests(lab: Lab) -> Iterator[None]:
    """Give all flavors an empty disk: guests that no test looks into need not take the CPU for their boot."""
    empty, settings = lab.folder / "empty.qcow2", lab.database.read_text(encoding="utf-8")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(empty), "1M"], check=True)
    paths.caller().own(empty)
    lab.database.write_text(settings.replace(str(lab.image), str(empty)), encoding="utf-8")
    yield
    settings = lab.database.read_text(encoding="utf-8")
    lab.database.write_text(settings.replace(str(empty), str(lab.image)), encoding="utf-8")


@pytest.fixture(scope="module")
def home(lab: Lab, request: pytest.FixtureRequest) -> Path:
    """Return a folder of the user at the manager, who is not root where a user called `make test`."""
    folder = lab.folder / f"home-{request.module.__name__}"
    folder.mkdir()
    paths.caller().own(folder)
    return folder


@pytest.fixture
def menu(lab: Lab) -> Iterator[Menu]:
    session = Menu(lab)
    yield session
    session.close()


@pytest.fixture(scope="module")
def before(lab: Lab) -> dict[str, str]:
    """Return the traces on the hosts before the slice, when the base image is there."""
    menu = Menu(lab)
    number = menu.create_slice("warm")
    for name in ("one", "two"):
        menu.add_vm(number, name)
    menu.delete(number)
    menu.close()
    return traces(lab)
