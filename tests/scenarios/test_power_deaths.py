"""Changes of power whose manager dies or whose worker is lost, at every step: each ends well."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest

from models import Slice
from remote.events import Event, StepDone
from tests.support.desk import WORKERS, Desk, deployed, open_desk
from tests.support.dying import ManagerDiesError
from tests.support.scale import scaled


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return open_desk(tmp_path)


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "reset"])
@pytest.mark.parametrize("after", range(0, 12, 2))
def test_a_lost_worker_leaves_vms_unfinished_or_as_before(desk: Desk, verb: str, after: int) -> None:
    deployed(desk)
    if verb == "start":
        desk.ok(desk.api.power.stop("student", 1000))
    desk.cloud.hosts[WORKERS[0]].dies_after = after
    answer = getattr(desk.api.power, verb)("student", 1000)
    desk.cloud.hosts[WORKERS[0]].dies_after = None
    desk.cloud.hosts[WORKERS[0]].dead = False
    if not answer[0]:
        assert f"{WORKERS[0]} " in answer[1]
    for slice_ in desk.ok(desk.api.unfinished("student")):
        assert re.search(
            rf": a .*{verb} of vm0 and vm2 was not finished", desk.no(desk.api.repair_slice("student", 1000))
        )
        desk.ok(desk.api.finish_slice("student", slice_.slice_id))
    assert not desk.ok(desk.api.unfinished("student"))
    assert desk.api.doctor.examine().findings == ()


@pytest.mark.torture
@pytest.mark.parametrize("way", ["finish", "take back", "again", "delete"])
@pytest.mark.parametrize("verb", ["start", "stop", "restart", "reset"])
@pytest.mark.parametrize("at", range(0, 14, scaled(2, 1)))
def test_a_manager_that_dies_leaves_a_change_that_ends_well(desk: Desk, verb: str, at: int, way: str) -> None:
    deployed(desk, "vm1")
    if verb == "start":
        desk.ok(desk.api.power.stop("student", 1000, [1001]))
    before, steps = desk.slice(), 0

    def listen(event: Event) -> None:
        nonlocal steps
        if isinstance(event, StepDone):
            if steps == at:
                raise ManagerDiesError
            steps += 1

    act = getattr(desk.api.power, verb)
    with suppress(ManagerDiesError):
        act("student", 1000, (), listen)
    died = steps == at and bool(desk.ok(desk.api.unfinished("student")))
    found = desk.api.doctor.examine().findings
    begun = {vm.vm_id for vm in desk.slice().vms if vm.unfinished} if died else set()
    assert {(finding.code, finding.vm_id) for finding in found} == {("power-unfinished", vm_id) for vm_id in begun}
    begins = "start" if verb == "restart" else verb  # of a VM that was stopped
    assert all(begins in finding.what for finding in found)
    match way:
        case "finish" if died:
            assert "is running" in desk.ok(desk.api.finish_slice("student", 1000))
        case "take back" if died:
            _take_back(desk, before)
        case "again":
            desk.ok(act("student", 1000))
        case "delete":
            desk.ok(desk.api.delete_slice("student", 1000))
    assert desk.ok(desk.api.unfinished("student")) == []
    assert desk.api.doctor.examine().findings == ()


def _take_back(desk: Desk, before: Slice) -> None:
    """Take a change back; only a reset that has discarded its old disks refuses that, and is finished."""
    answer = desk.api.take_back_slice("student", 1000)
    if not answer[0]:
        assert "the old disk is gone" in answer[1]
        desk.ok(desk.api.finish_slice("student", 1000))
        return
    for old, new in zip(before.vms, desk.slice().vms, strict=True):
        assert (old.status, old.disk_id) == (new.status, new.disk_id)
