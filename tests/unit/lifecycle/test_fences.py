"""Fences of claims: a manager that lost its claim changes nothing any more, on no host."""

from __future__ import annotations

import re

import pytest

from core.errors import CloudError, TakenOver
from database import open_store
from lifecycle.changes import Changes
from lifecycle.fences import HIGHEST, fences_in
from orchestrator import OrchestratorAPI
from remote.events import Event, StageStarted, ignore
from storage.location import ServerURL
from tests.support.desk import NETWORK, WORKERS, Desk, open_desk

LATE = r"^{} refuses this change, because another manager has begun a later one, and ends it: this one stops\."


@pytest.fixture
def shared(database_url: ServerURL, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Return a desk over a database."""
    return open_desk(tmp_path_factory.mktemp("desk"), database_url)


def other_manager(desk: Desk) -> OrchestratorAPI:
    return OrchestratorAPI(open_store(desk.location), desk.cloud.connect)  # type: ignore[arg-type]


def fences(desk: Desk) -> set[int]:
    return {host.fences["slice-1000"] for host in desk.cloud.hosts.values() if "slice-1000" in host.fences}


def test_a_file_has_one_manager_and_no_fences(desk: Desk) -> None:
    desk.ring(2)
    desk.ok(desk.api.deploy_slice("student", 1000))
    assert desk.path
    assert fences(desk) == set()
    with pytest.raises(CloudError, match="one manager"):
        desk.api.fences.above_all_hosts()


@pytest.mark.long
def test_each_claim_has_a_higher_fence_which_all_its_batches_carry(shared: Desk) -> None:
    shared.ring(2)
    numbers = []
    for act in (shared.api.deploy_slice, other_manager(shared).repair_slice, shared.api.repair_slice):
        shared.ok(act("student", 1000))
        (number,) = fences(shared)
        numbers.append(number)
    assert numbers == sorted({*numbers})


@pytest.mark.long
@pytest.mark.parametrize("stage", range(1, 5))
def test_a_manager_that_lost_its_claim_stops_at_the_first_host_that_knows(shared: Desk, stage: int) -> None:
    """Cut a manager off from the database, and let another one finish its change, in each stage of a deployment."""
    shared.ring(3)
    slow, stages = shared.api, list[str]()

    def cut_off(event: Event) -> None:
        if isinstance(event, StageStarted):
            stages.append(event.stage.title)
            if len(stages) == stage:
                slow._database._session._connection.close()  # type: ignore[attr-defined]
                shared.ok(other_manager(shared).finish_slice("student", 1000))
                state.append(shared.cloud.state())

    state: list[object] = []
    sentence = shared.no(slow.deploy_slice("student", 1000, cut_off))
    assert re.match(LATE.format(r"10\.0\.10\.[123]"), sentence)
    assert len(stages) == stage
    assert shared.cloud.state() == state[0]
    assert shared.slice().is_running


@pytest.mark.long
def test_a_late_batch_is_refused_by_every_host(shared: Desk) -> None:
    shared.ring(3)
    with Changes(shared.database, shared.cloud.connect).of(1000, ignore) as late:
        slice_ = late.state.slices[1000]
        plan = late.deployment.deploy_plan(slice_)
    shared.ok(shared.api.deploy_slice("student", 1000))
    before = shared.cloud.state()
    for host in (*WORKERS, NETWORK):
        with pytest.raises(TakenOver, match=LATE.format(re.escape(host))):
            [*shared.cloud.hosts[host].run(plan.stages[1].by_host[host], lock=plan.lock, fence=late.runner._fence)]
    assert shared.cloud.state() == before


@pytest.mark.long
def test_a_change_goes_on_where_no_other_manager_took_over(shared: Desk) -> None:
    shared.ring(2)

    def cut_off(event: Event) -> None:
        if isinstance(event, StageStarted):
            shared.api._database._session._connection.close()  # type: ignore[attr-defined]

    shared.ok(shared.api.deploy_slice("student", 1000, cut_off))
    assert shared.slice().is_running


# --- a restored database ----------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_restored_database_is_raised_above_all_hosts(shared: Desk) -> None:
    shared.ring(2)
    shared.ok(shared.api.deploy_slice("student", 1000))
    shared.cloud.hosts[NETWORK].fences |= {"slice-1000": 70, "images": 3, "slice-2000": 5}
    assert "resume --raise-fences" in shared.no(shared.api.repair_slice("student", 1000))
    raised = shared.api.fences.above_all_hosts()
    assert raised.seen == {"slice-1000": 70, "images": 3, "slice-2000": 5}
    assert raised.unseen == {}
    shared.ok(shared.api.repair_slice("student", 1000))
    assert fences(shared) == {71}


@pytest.mark.long
def test_hosts_that_cannot_be_asked_are_named(shared: Desk) -> None:
    shared.cloud.hosts[WORKERS[0]].dead = True
    shared.cloud.hosts[WORKERS[1]].fences["slice-1000"] = HIGHEST + 1
    raised = shared.api.fences.above_all_hosts()
    assert [*raised.unseen] == [*WORKERS]
    assert "is no fence" in raised.unseen[WORKERS[1]]


WRONG = ["slice-1000", "slice-1000 x", "slice-0 1", "other 1", "slice-1 1 1", "slice-1 -1", "\0"]


@pytest.mark.parametrize("text", WRONG)
def test_another_answer_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="fence"):
        fences_in(text)


def test_fences_are_read() -> None:
    assert fences_in("") == {}
    assert fences_in("images 1\nslice-1000 20\n") == {"images": 1, "slice-1000": 20}
