"""Managers on a PostgreSQL database that die at every step, or lose their server: another one ends what they began."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from database import open_store
from orchestrator import OrchestratorAPI
from remote.events import Event, StageStarted
from storage.location import ServerURL
from tests.support.agreement import hosts_agree
from tests.support.desk import Desk, open_desk
from tests.support.dying import ManagerDiesError
from tests.support.postgres import PostgresServer, started
from tests.support.scale import LONG

FEW = 4
"""How many moments of each change are tried, where `make torture` tries all."""


@pytest.fixture
def shared(database_url: ServerURL, tmp_path: Path) -> Desk:
    """Return a desk over a database, with a ring in design."""
    desk = open_desk(tmp_path, database_url)
    desk.ring(3)
    return desk


def next_manager(desk: Desk) -> OrchestratorAPI:
    return OrchestratorAPI(open_store(desk.location), desk.cloud.connect)  # type: ignore[arg-type]


def agree(desk: Desk) -> None:
    """Check that hosts and database have the same objects."""
    hosts_agree(desk.cloud, desk.database.load())


def killed(manager: OrchestratorAPI) -> None:
    """End the manager's session with the server, as the kernel does for a process that was killed."""
    manager._database._session._connection.close()  # type: ignore[attr-defined]


def counted(act: Callable[..., Any], desk: Desk) -> int:
    """Carry out a change, and return the number of its events."""
    events: list[Event] = []
    desk.ok(act("student", 1000, events.append))
    return len(events)


def dies(manager: OrchestratorAPI, act: Callable[..., Any], moment: int) -> None:
    """Begin a change whose manager dies at an event, counted from 1."""
    count = 0

    def listen(_: Event) -> None:
        nonlocal count
        count += 1
        if count == moment:
            raise ManagerDiesError

    with pytest.raises(ManagerDiesError):
        act("student", 1000, listen)
    killed(manager)


def moments(total: int) -> list[int]:
    return [*range(1, total + 1)] if LONG else [total * number // FEW for number in range(1, FEW + 1)]


def listened(total: int) -> Iterator[tuple[int, str]]:
    """Yield the moments of a change, each with what the next manager does about it."""
    for number, moment in enumerate(moments(total)):
        yield moment, ("finish", "take back")[number % 2]


def test_a_deployment(shared: Desk) -> None:
    total = counted(shared.api.deploy_slice, shared)
    shared.ok(shared.api.delete_slice("student", 1000))
    empty = shared.cloud.state()
    for moment, answer in listened(total):
        slice_id = shared.ring(3).slice_id
        _dies_and_ends(shared, slice_id, moment, answer)
        shared.ok(next_manager(shared).delete_slice("student", slice_id))
        assert shared.cloud.state() == empty


def _dies_and_ends(desk: Desk, slice_id: int, moment: int, answer: str) -> None:
    first, other = next_manager(desk), next_manager(desk)
    dies(first, lambda actor, _, listen: first.deploy_slice(actor, slice_id, listen), moment)
    (left,) = desk.ok(other.unfinished("student"))
    assert left.slice_id == slice_id
    act = other.finish_slice if answer == "finish" else other.take_back_slice
    desk.ok(act("student", slice_id))
    assert desk.slice(slice_id).is_running == (answer == "finish")
    agree(desk)


def test_a_deletion(shared: Desk) -> None:
    shared.ok(shared.api.deploy_slice("student", 1000))
    total = counted(shared.api.delete_slice, shared)
    for moment in moments(total):
        slice_id = shared.ring(3).slice_id
        shared.ok(next_manager(shared).deploy_slice("student", slice_id))
        first, other = next_manager(shared), next_manager(shared)
        dies(first, lambda actor, _, listen: first.delete_slice(actor, slice_id, listen), moment)  # noqa: B023
        shared.ok(other.finish_slice("student", slice_id))
        assert shared.ok(other.list_slices("student")) == []
        agree(shared)


# --- a server that is stopped at once ---------------------------------------------------------------------------------


@pytest.fixture
def own_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresServer]:
    """Start a server that the test may stop, and which keeps what it has committed."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with started(settings=["fsync=on"]) as server:
        yield server


def test_a_server_that_is_stopped_at_once_in_each_stage_loses_nothing(
    own_server: PostgresServer, tmp_path: Path
) -> None:
    desk = open_desk(tmp_path, own_server.new_database())
    desk.ring(3)

    def restart(event: Event) -> None:
        if isinstance(event, StageStarted):
            own_server.stop("immediate")
            own_server.start()

    desk.ok(desk.api.deploy_slice("student", 1000, restart))
    assert desk.slice().is_running
    agree(desk)
    desk.ok(desk.api.delete_slice("student", 1000, restart))
    assert desk.ok(next_manager(desk).list_slices("student")) == []
    acts = [(act.entry["action"], act.entry["result"]) for act in desk.database.acts()][-4:]
    assert acts == [("deploy", "begun"), ("deploy", "ok"), ("delete", "begun"), ("delete", "ok")]


def test_a_server_that_stays_away_ends_a_change_with_one_sentence(
    own_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.postgres.session.RECONNECT_S", 0.2)
    desk = open_desk(tmp_path, own_server.new_database())
    desk.ring(2)

    def stop(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage.title == "launch":
            own_server.stop("immediate")

    sentence = desk.no(desk.api.deploy_slice("student", 1000, stop))
    assert sentence.startswith("The hosts run slice 1000, but that could not be written down")
    own_server.start()
    assert "is running" in desk.ok(next_manager(desk).finish_slice("student", 1000))
    agree(desk)
