"""The audit log of a store, which the file and the PostgreSQL database both keep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from accounts.audit import Audit, AuditEntry
from core.errors import CloudError, Refused
from database import Database, Store, open_store
from storage import acts
from storage.acts import ACTS_IN_FULL, REFUSALS_IN_FULL, ActLine, Entry
from storage.location import ServerURL
from tests.support.dying import ManagerDiesError
from tests.support.many import write_file

ACT = ActLine("2026-11-29T10:00:00Z", "ann", None, "deploy", 1000, None, "ok", 1.5, 1, begun=True)


@pytest.fixture(params=["file", pytest.param("postgres", marks=pytest.mark.long)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    file = tmp_path / "database.yaml"
    write_file(file, [2])
    return open_store(file) if request.param == "file" else filled(request.getfixturevalue("database_url"), file)


@pytest.fixture
def rows(database_url: ServerURL, tmp_path: Path) -> Store:
    """Return a store in a database."""
    file = tmp_path / "database.yaml"
    write_file(file, [2])
    return filled(database_url, file)


def filled(url: ServerURL, file: Path) -> Store:
    store = open_store(url)
    store.create(Database(file).load())
    return store


def entries(store: Store) -> list[Entry]:
    return [act.entry for act in store.acts()]


def seen(store: Store) -> list[tuple[object, ...]]:
    return [(each["actor"], each["action"], each["slice"], each["result"], each["count"]) for each in entries(store)]


def many(store: Store, number: int, *, refused: bool, action: str = "log in") -> None:
    for slice_id in range(number):
        store.write_act(replace(ACT, action=action, slice_id=slice_id, order=slice_id, refused=refused, begun=False))


def renamed(store: Store, name: str) -> None:
    with store.transaction() as state:
        state.slices[1000].name = name


def test_lines_come_in_the_order_of_time_with_all_fields(store: Store) -> None:
    store.write_act(ACT)
    store.write_act(replace(ACT, order=5, result="\x00 \ud800 no", seconds=0.25))
    store.write_act(replace(ACT, order=3, actor="operator root", by="operator", vm_id=7))
    assert [entry["by"] for entry in entries(store)] == [None, "operator", None]
    assert entries(store)[2] == {
        "time": ACT.time,
        "actor": "ann",
        "by": None,
        "action": "deploy",
        "slice": 1000,
        "vm": None,
        "result": "\x00 \ud800 no",
        "seconds": 0.25,
        "count": 1,
        "last": ACT.time,
    }


@pytest.mark.parametrize(("refused", "most"), [(True, REFUSALS_IN_FULL), (False, ACTS_IN_FULL)])
def test_noise_is_counted(store: Store, monkeypatch: pytest.MonkeyPatch, refused: bool, most: int) -> None:
    most //= 10
    monkeypatch.setattr(acts, "REFUSALS_IN_FULL" if refused else "ACTS_IN_FULL", most)
    store.write_act(replace(ACT, actor="bob"))
    many(store, most + 5, refused=refused)
    assert len(entries(store)) == most + 2
    assert max(each["count"] for each in entries(store)) == 5
    many(store, 3, refused=refused, action="deploy")
    assert sum(each["count"] for each in entries(store)) == most + 9


def test_acts_on_hosts_are_never_counted_as_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acts, "ACTS_IN_FULL", 2)
    for slice_id in range(4):
        store.write_act(replace(ACT, slice_id=slice_id))
    assert [each["slice"] for each in entries(store)] == [0, 1, 2, 3]


def test_lines_move_to_another_store(store: Store, tmp_path: Path) -> None:
    many(store, 3, refused=False)
    many(store, REFUSALS_IN_FULL + 3, refused=True)
    other = Database(tmp_path / "other.yaml")
    other.create(store.load())
    other.keep_acts(store.acts())
    assert entries(other) == entries(store)
    assert [*other.acts()] == [*store.acts()]


# --- with the change that it tells of ---------------------------------------------------------------------------------


@pytest.fixture
def audit(rows: Store) -> Iterator[Audit]:
    audit = Audit(rows)
    yield audit
    assert audit.warning() == ""


@pytest.mark.long
def test_a_change_brings_its_line_along(rows: Store, audit: Audit) -> None:
    with audit.noted(AuditEntry("ann", "create slice", 1000)):
        assert seen(rows) == []
        renamed(rows, "one")
        assert seen(rows) == [("ann", "create slice", 1000, "begun", 1)]
        renamed(rows, "two")
        audit.write(AuditEntry("ann", "take console"), "ok", 0.0)
    assert seen(rows) == [("ann", "take console", None, "ok", 1), ("ann", "create slice", 1000, "ok", 1)]


@pytest.mark.long
def test_a_change_that_is_dropped_has_no_line(rows: Store, audit: Audit) -> None:
    def refuse() -> None:
        with audit.noted(AuditEntry("ann", "create slice")), rows.transaction() as state:
            state.slices[1000].name = "x"
            raise Refused("no")

    with pytest.raises(Refused):
        refuse()
    assert seen(rows) == [("ann", "create slice", None, "no", 1)]


@pytest.mark.long
def test_an_act_that_is_announced_has_two_lines(rows: Store, audit: Audit) -> None:
    entry = AuditEntry("ann", "deploy", 1000)
    with audit.noted(entry):
        renamed(rows, "one")
        audit.begin(entry)
        renamed(rows, "two")
    assert [each[3] for each in seen(rows)] == ["begun", "ok"]


@pytest.mark.long
def test_a_manager_that_dies_leaves_the_line_of_what_it_changed(
    rows: Store, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise ManagerDiesError

    def change() -> None:
        with audit.noted(AuditEntry("ann", "create slice", 1000)):
            renamed(rows, "one")
            monkeypatch.setattr(type(rows), "write_act", die)

    with pytest.raises(ManagerDiesError):
        change()
    assert seen(rows) == [("ann", "create slice", 1000, "begun", 1)]


@pytest.mark.long
def test_a_line_that_the_server_does_not_take_is_kept_by_its_manager(
    rows: Store, audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise CloudError("the server is gone")

    with monkeypatch.context() as patch:
        patch.setattr("storage.postgres.acts.ActRows._write", fail)
        audit.write(AuditEntry("ann", "deploy", 1000), "ok", 0.0)
    audit.write(AuditEntry("ann", "deploy", 1001), "ok", 0.0)
    assert [each[2] for each in seen(rows)] == [1000, 1001]


@pytest.mark.long
def test_an_actor_has_a_bounded_number_of_lines(rows: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.postgres.acts.MOST_ACTS", 10)
    rows.write_act(replace(ACT, actor="bob", slice_id=7))
    for number in range(100):
        rows.write_act(replace(ACT, slice_id=number, order=number))
    assert len(entries(rows)) < 80
    assert [each["slice"] for each in entries(rows) if each["actor"] == "bob"] == [7]
    assert [each["slice"] for each in entries(rows) if each["actor"] == "ann"][-10:] == [*range(90, 100)]
