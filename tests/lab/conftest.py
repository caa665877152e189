"""The lab that tests share: started once in each of pytest's processes, and removed at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from database import Database
from lab import Lab, paths
from tests.support.lab.visitor import Menu, age_measurements
from tests.support.paths import ROOT

_STARTED: list[Lab] = []
"""The lab of this process, once it has started."""


@pytest.fixture(scope="module", autouse=True)
def slices_left() -> Iterator[None]:
    """Delete the slices that a test left because it failed, so that they are in the way of no other file's tests."""
    yield
    for lab in _STARTED:
        if _delete_slices(lab):
            lab.down()
            lab.up()


def _delete_slices(lab: Lab) -> list[int]:
    """Delete all slices, and return the ids of those that could not be deleted."""
    for slice_id in Database(lab.database).load().slices:
        argv = [sys.executable, str(ROOT / "cli.py"), "--database", str(lab.database), "delete", str(slice_id), "--yes"]
        lab.run(argv, check=False)
    return [*Database(lab.database).load().slices]


@pytest.fixture(scope="session")
def lab(worker_id: str) -> Iterator[Lab]:
    lab = Lab(f"test-{worker_id}", has_debian=False)
    lab.down()
    try:
        lab.up()
        _STARTED.append(lab)
        yield lab
    finally:
        _STARTED.clear()
        lab.down()


@pytest.fixture(autouse=True)
def new_measurements(request: pytest.FixtureRequest) -> None:
    """Let each test measure the workers: one that an earlier test has broken would get no VMs for a minute."""
    if "lab" in request.fixturenames:
        age_measurements(request.getfixturevalue("lab").database)


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
