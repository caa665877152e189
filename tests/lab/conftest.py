"""The lab that tests share: started once in each of pytest's processes, and removed at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab, paths
from tests.support.lab.visitor import Menu, age_measurements


@pytest.fixture(scope="session")
def lab(worker_id: str) -> Iterator[Lab]:
    lab = Lab(f"test-{worker_id}", has_debian=False)
    lab.down()
    try:
        lab.up()
        yield lab
    finally:
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
