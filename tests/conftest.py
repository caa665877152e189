"""Marks, order and fixtures of all tests: no real hosts, derivations made once, slices without a database."""

from __future__ import annotations

import ipaddress
import signal
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from core import passwords
from core.inventory import Inventory, Worker
from models import Slice
from storage.location import ServerURL
from tests.support.designs import design
from tests.support.paths import LONGEST_ON_THE_LAB, SCENARIOS
from tests.support.postgres import PostgresServer, started


def _stay_at_home(event: str, args: tuple[object, ...]) -> None:
    """Refuse packets to foreign addresses, because the default addresses belong to real hosts.

    A test that has to reach a host runs a process inside the lab's namespaces.
    """
    if event not in {"socket.connect", "socket.sendto"} or not isinstance(args[-1], tuple):
        return
    host = str(args[-1][0])
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        raise PermissionError(f"a test tried to reach {host}")


sys.addaudithook(_stay_at_home)

# A shell that starts the tests in its background has Ctrl-C ignored, and all programs that they start would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark scenarios and tests with a longer version as `long`, and begin with the longest files on the lab."""
    for item in items:
        if item.get_closest_marker("torture") or _is_scenario(item.path):
            item.add_marker("long")
    places = {path: number - len(LONGEST_ON_THE_LAB) for number, path in enumerate(LONGEST_ON_THE_LAB)}
    items.sort(key=lambda item: places.get(item.path, 0) if item.get_closest_marker("lab") else 0)


@cache
def _is_scenario(path: Path) -> bool:
    return SCENARIOS in path.parents


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was left out because it is not built: without that a reader sees only the number of skipped tests."""
    reasons = {str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", ())}
    for reason in sorted(reason.removeprefix("Skipped: ") for reason in reasons if "is not built" in reason):
        terminalreporter.write_line(f"Left out: {reason}")


_derived_once = cache(passwords._derive)


@pytest.fixture(autouse=True, scope="module")
def derivations() -> Iterator[None]:
    """Derive each password once per process, at its real cost: few tests of logins are about scrypt."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_derive", _derived_once)
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Start a PostgreSQL server for the tests of this process."""
    with started() as server:
        yield server


@pytest.fixture
def database_url(postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServerURL]:
    """Yield the URL of an empty database; managers have their home in the test's folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    url = postgres.new_database()
    yield url
    postgres.remove_database(url)


@pytest.fixture
def inventory() -> Inventory:
    return Inventory()


@pytest.fixture
def workers() -> dict[str, Worker]:
    """Return two workers with much room."""
    return {address: Worker(8, 64.0, 500.0) for address in ("10.0.10.1", "10.0.10.2")}


@pytest.fixture
def line() -> Slice:
    """Return three VMs in a line over two workers, the first with internet."""
    return design("line")
