"""The tables of older programs: what they hold is there after each step, as the file of 0.2.0 shows."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
import yaml

from database import Database, open_store
from storage.location import ServerURL
from storage.postgres import rows, tables
from storage.postgres.session import ServerSession
from storage.postgres.store import PostgresStore
from storage.version import Version
from tests.support.paths import DATA

pytestmark = pytest.mark.long

OLD = DATA / "old_files" / "cloud_0.2.0.yaml"
"""A file with a running slice and one in design, as 0.2.0 wrote it."""

WITH_PROMISES = 4
"""The first version that has a table of promises."""


@pytest.fixture
def old(tmp_path: Path) -> Database:
    path = tmp_path / "database.yaml"
    path.write_bytes(OLD.read_bytes())
    return Database(path)


def filled(url: ServerURL, old: Database, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bring the file into tables of an older version, as the program of that version did."""
    with monkeypatch.context() as patch:
        patch.setattr(tables, "STEPS", tables.STEPS[:number])
        with ServerSession(url).transaction() as connection:
            tables.bring_up(connection)
            state = old.load()
            if number < WITH_PROMISES:
                patch.setattr(rows, "_write_promises", lambda *_: None)
            rows.write(connection, PostgresStore(url)._changes({}, state, {}), state, 1)


@pytest.mark.parametrize("number", range(1, tables.NEWEST + 1))
def test_the_file_of_0_2_0_comes_back_from_tables_of_each_version(
    database_url: ServerURL, old: Database, number: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    filled(database_url, old, number, monkeypatch)
    store = open_store(database_url)
    back = Database(tmp_path / "back.yaml")
    back.create(store.load())
    assert back.load().to_dict() == old.load().to_dict()
    assert Version.first(back.load()).content == Version.first(old.load()).content
    with psycopg.connect(database_url.text) as connection:
        assert connection.execute("SELECT max(number) FROM schema_version").fetchone() == (tables.NEWEST,)


@pytest.mark.parametrize("number", range(1, tables.NEWEST + 1))
def test_a_cloud_goes_on_after_the_step(
    database_url: ServerURL, old: Database, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(database_url, old, number, monkeypatch)
    store = open_store(database_url)
    with store.claim(1000) as fence, store.transaction() as state:
        state.slices[1000].name = "renamed"
    assert fence == 1
    assert [*store.acts()] == []
    assert open_store(database_url).load().slices[1000].name == "renamed"


def test_slices_from_before_realms_hold_their_vnc_ports_on_workers(
    database_url: ServerURL, old: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(database_url, old, 2, monkeypatch)
    wanted = old.load().slices.holdings
    assert any(holdings.doors for holdings in wanted.values())
    with psycopg.connect(database_url.text) as connection:  # as the program of that version left it
        connection.execute("UPDATE piece SET holdings = holdings - 'realm' - 'doors'")
        connection.execute("DELETE FROM holding WHERE thing LIKE 'port % on %'")
    store = open_store(database_url)
    assert store.load().slices.holdings == wanted
    with psycopg.connect(database_url.text) as connection:
        found = {thing for (thing,) in connection.execute("SELECT thing FROM holding WHERE thing LIKE 'port % on %'")}
    assert found == {door for holdings in wanted.values() for door in holdings.doors}


def test_the_promises_of_workers_are_taken_from_the_slices(
    database_url: ServerURL, old: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(database_url, old, WITH_PROMISES - 1, monkeypatch)
    wanted = old.load().slices.taken
    workers = {worker for _, worker in wanted.places()}
    assert workers
    found = open_store(database_url).load().slices.taken
    assert found.promised(workers) == wanted.promised(workers)


def test_the_old_file_has_a_running_slice_and_one_in_design() -> None:
    slices = yaml.safe_load(OLD.read_text())["slices"]
    assert [each["status"] for each in slices.values()] == ["running", "design"]
