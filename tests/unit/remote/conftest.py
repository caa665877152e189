"""Fixtures of the tests over a real connection: a host on the loopback interface, and a manager's connection to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from remote.ssh import SSHHost
from tests.support.loopback import LoopbackHost, loopback_host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[LoopbackHost]:
    with loopback_host(tmp_path / "home") as server:
        yield server


@pytest.fixture
def client(host: LoopbackHost, tmp_path: Path) -> Iterator[SSHHost]:
    connected = SSHHost("127.0.0.1", host.settings(tmp_path))
    yield connected
    connected.close()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "base.img"
    path.write_bytes(b"image" * 600_000)
    return path
