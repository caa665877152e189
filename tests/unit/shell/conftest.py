"""A host of their own for the tests of scripts that change something."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.own_host import OwnHost, own_host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[OwnHost]:
    with own_host(tmp_path) as made:
        yield made
