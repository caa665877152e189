"""Fixtures of the tests of use-cases and of the file."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import passwords
from database import Database
from storage.location import ServerURL
from tests.support.desk import Desk, open_desk
from tests.support.paths import DATA, ROOT

CLOUD = (DATA / "cloud.yaml").read_text()
"""A file that keeps all rules, written by hand."""


@pytest.fixture(autouse=True, scope="module")
def cheap_digests() -> Iterator[None]:
    """Let new digests cost next to nothing; a module about their cost has a fixture of this name that does nothing."""
    with pytest.MonkeyPatch.context() as patch:
        _cost(patch, 16)
        yield


@pytest.fixture
def real_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let new digests cost what they cost in use."""
    _cost(monkeypatch, _REAL_N)


_REAL_N = passwords.COST_N


def _cost(patch: pytest.MonkeyPatch, n: int) -> None:
    patch.setattr(passwords, "COST_N", n)
    patch.setattr(passwords, "_CURRENT", f"scrypt${n}${passwords.COST_R}${passwords.COST_P}$")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "database.yaml"
    target.write_text(CLOUD)
    return target


@pytest.fixture
def database(path: Path) -> Database:
    return Database(path)


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return accepted files, as JSON."""
    path = tmp_path_factory.mktemp("good") / "database.yaml"
    files = []
    for text in (CLOUD, (ROOT / "database.yaml").read_text()):
        path.write_text(text)
        files.append(json.dumps(Database(path).load().to_dict()))
    for number in (1000, 1001):
        entry = json.loads((DATA / f"documented_slice_{number}.json").read_text())
        user = {"username": entry["owner"], "password_hash": "a" * 64, "used_vms": 2, "slices": [number]}
        files.append(json.dumps({"users": {entry["owner"]: user}, "slices": {str(number): entry}}))
    return files


STORES = ("file", pytest.param("postgres", marks=pytest.mark.long))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses a desk over each kind of store, but one that is about the file over a file only."""
    chosen = [str(mark.args[0]) for mark in metafunc.definition.iter_markers("parametrize")]
    if "desk" in metafunc.fixturenames and "desk" not in chosen:
        is_marked = metafunc.definition.get_closest_marker("on_a_file") is not None
        is_about_the_file = is_marked or "desk.path" in inspect.getsource(metafunc.function)
        metafunc.parametrize("desk", STORES[:1] if is_about_the_file else STORES, indirect=True)


@pytest.fixture
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    """Return a desk over the kind of store that the parameter names."""
    if request.param == "file":
        return open_desk(tmp_path)
    url: ServerURL = request.getfixturevalue("database_url")
    return open_desk(tmp_path, url)
