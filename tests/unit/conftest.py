"""What the tests of the use-cases share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.desk import Desk, open_desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return open_desk(tmp_path)
