"""The lab that the product's own tests share: up once, down at the end, whatever happened."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab import Lab
from tests.lab.seat import Menu


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    lab = Lab("test")
    lab.down()
    try:
        lab.up()
        yield lab
    finally:
        lab.down()


@pytest.fixture
def menu(lab: Lab) -> Iterator[Menu]:
    session = Menu(lab)
    yield session
    session.close()
