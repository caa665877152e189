"""Slices in a PostgreSQL database: only those that a use-case asks for are read, and tables answer for the others."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from allocation.holdings import Holdings
from allocation.ids import next_slice_id, next_vm_id, next_vnc_port
from allocation.taken import Taken, taken_by
from core.errors import Refused
from database import Database, State
from lifecycle.losses import losses
from models import VM, Interface, Slice
from storage import rules
from storage.location import ServerURL
from storage.postgres import session
from storage.postgres.rows import Row, RowSlices
from storage.postgres.store import PostgresStore
from storage.state import Kept
from storage.version import Version
from tests.support.many import write_file

pytestmark = pytest.mark.long

WORKER = "10.0.10.7"


@pytest.fixture
def store(database_url: ServerURL, tmp_path: Path) -> PostgresStore:
    """Return a store with five slices of two VMs on three workers."""
    path = tmp_path / "database.yaml"
    write_file(path, [2] * 5)
    store = PostgresStore(database_url)
    store.create(Database(path).load())
    return store


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of statements that sessions send from now on."""
    sent: list[str] = []
    execute = psycopg.Connection.execute

    def noted(connection: psycopg.Connection, query: str, *words: Any) -> object:
        sent.append(query)
        return execute(connection, query, *words)

    monkeypatch.setattr(psycopg.Connection, "execute", noted)
    return sent


def read_of(state: State) -> list[str]:
    """Return the keys of the slices that were read."""
    return [key for key, row in state.slices.entries.kept.items() if isinstance(row, Row) and row.is_read]


def test_only_the_slices_that_are_asked_for_are_read(store: PostgresStore) -> None:
    state = PostgresStore(store.url).load()
    assert read_of(state) == []
    first, second, *_ = state.slices
    assert state.slices[first].slice_id == first
    assert state.slices.held(second)
    assert read_of(state) == [str(first), str(second)]


def test_several_slices_are_read_by_one_statement(store: PostgresStore, statements: list[str]) -> None:
    state = PostgresStore(store.url).load()
    statements.clear()
    assert len(state.slices.of([*state.slices][:3])) == 3
    assert len(statements) == 1
    assert len(state.slices.values()) == 5
    assert len(statements) == 2
    assert len(state.to_dict()["slices"]) == 5
    assert len(statements) == 2


def test_a_connection_that_was_idle_is_tried_before_it_is_used(
    store: PostgresStore, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its server may be cut off, which nothing but a missing answer tells."""
    store.load()
    statements.clear()
    store.load()
    usual = [*statements]
    assert len(usual) == 2
    assert "" not in usual
    monkeypatch.setattr(session, "_FRESH_S", -1.0)
    statements.clear()
    store.load()
    assert statements == [sent for statement in usual for sent in ("", statement)]


def test_a_session_with_many_open_files_reads_as_well(store: PostgresStore) -> None:
    """Check that, as `cli.py log` opens a file for each actor, and the server may be restarted meanwhile."""
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(2048, usual[0]), usual[1]))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1024)]
    try:
        late = PostgresStore(store.url)
        assert late.load().slices.keys() == late.load().slices.keys()
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)


def test_a_slice_that_was_changed_meanwhile_is_read_as_it_is_now(store: PostgresStore) -> None:
    state = PostgresStore(store.url).load()
    first = next(iter(state.slices))
    with store.transaction() as other:
        other.slices[first].name = "renamed"
    assert state.slices[first].name == "renamed"


def test_a_slice_that_was_deleted_meanwhile_is_refused_in_one_sentence(store: PostgresStore) -> None:
    state = PostgresStore(store.url).load()
    first = next(iter(state.slices))
    with store.transaction() as other:
        remove(other)
    with pytest.raises(Refused, match=f"^Slice {first} was deleted by another session just now; look again$"):
        state.slices[first]
    assert first not in PostgresStore(store.url).load().slices


def test_slices_that_were_deleted_meanwhile_are_in_no_list(store: PostgresStore) -> None:
    state = PostgresStore(store.url).load()
    first, *rest = state.slices
    with store.transaction() as other:
        remove(other)
    assert [slice_.slice_id for slice_ in state.slices.of([first, rest[0]])] == rest[:1]
    assert [slice_.slice_id for slice_ in state.slices.values()] == rest == [*state.slices.holdings]
    assert first not in state.slices
    assert state.slices.held(first) is None


def test_slices_that_were_created_meanwhile_are_in_no_list(store: PostgresStore) -> None:
    state = PostgresStore(store.url).load()
    there = [*state.slices]
    with store.transaction() as other:
        add(other)
    assert len(state.slices.taken.slices_on(WORKER)) == 1
    assert losses(state, WORKER) == []
    assert [slice_.slice_id for slice_ in state.slices.values()] == there


@pytest.mark.parametrize("changes", [1, 3])
def test_a_whole_state_is_of_one_moment(store: PostgresStore, monkeypatch: pytest.MonkeyPatch, changes: int) -> None:
    """Let another session save changes in between, before slices are read, and check that the export is valid."""
    read, left = RowSlices.read, [add, remove, add][:changes]

    def late(rows: RowSlices, kept: Mapping[str, Kept]) -> Collection[str]:
        if rows is reader._slices and left:
            with store.transaction() as other:
                left.pop()(other)
        return read(rows, kept)

    reader = PostgresStore(store.url)
    monkeypatch.setattr(RowSlices, "read", late)
    state = reader.load_whole()
    assert not left
    with store.transaction() as other:
        remove(other)
    assert Version.first(state).content.count(b"slice_id") == len(state.slices)
    rules.check(state)


# --- What slices hold -------------------------------------------------------------------------------------------------


def move(state: State) -> None:
    """Move a VM to another worker, and give it another VNC port."""
    vm = next(iter(state.slices.values())).vms[0]
    vm.worker_ip, vm.vnc_port = "10.0.10.9", 6100


def add(state: State) -> None:
    """Add a slice with a VM on a worker that has no other one."""
    owner = next(iter(state.users.values()))
    slice_ = Slice(next_slice_id(state.next_vm_id, state.slices.taken), owner.username)
    state.slices[slice_.slice_id] = slice_
    vm_id = next_vm_id(slice_.slice_id + 1, state.slices.taken)
    slice_.vms = [VM(vm_id, "vm", owner.username, WORKER, next_vnc_port(state.slices.taken), [Interface("eth0")])]
    owner.slices.append(slice_.slice_id)
    owner.used_vms += 1


def remove(state: State) -> None:
    slice_id = next(iter(state.slices))
    owner = state.users[state.slices[slice_id].owner]
    owner.used_vms -= len(state.slices[slice_id].vms)
    owner.slices.remove(slice_id)
    del state.slices[slice_id]


def change_nothing(_: State) -> None:
    """Leave the state as it is."""


CHANGES = [move, remove, change_nothing]


def agrees(taken: Taken, state: State) -> bool:
    """Return whether a store answers as slices in memory do, also where nothing is held."""
    wanted = taken_by(state.slices.values())
    things = {"id 9", "pool 99", *(claim for each in state.slices.values() for claim in Holdings.of(each).claims)}
    hosts = {"10.0.10.8", *(worker for _, worker in wanted.places())}
    return (
        taken.among(things) == wanted.among(things) == things - {"id 9", "pool 99"}
        and taken.promised(hosts) == wanted.promised(hosts)
        and all(taken.slices_on(host) == wanted.slices_on(host) for host in hosts)
        and taken.places() >= wanted.places()
    )


@pytest.mark.parametrize("change", CHANGES)
def test_tables_answer_as_slices_in_memory_do_before_a_change_is_saved_and_after(
    store: PostgresStore, change: Callable[[State], None]
) -> None:
    with store.transaction() as state:
        before = {claim for each in state.slices.values() for claim in Holdings.of(each).claims}
        change(state)
        assert agrees(state.slices.taken, state)
        gone = before - {claim for each in state.slices.values() for claim in Holdings.of(each).claims}
        assert not state.slices.taken.among(gone)
        state.recount()
    state = PostgresStore(store.url).load()
    assert agrees(state.slices.taken, state)
    assert not state.slices.taken.among(gone)


def test_slices_are_counted_by_realm_without_reading_them(store: PostgresStore) -> None:
    assert PostgresStore(store.url).load().slices.by_realm() == {"": 5}
    with store.transaction() as state:
        remove(state)
        assert state.slices.by_realm() == {"": 4}
