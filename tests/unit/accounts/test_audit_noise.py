"""Noise in the audit log: no user can hide an act, their own or another's, behind refusals or repetitions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from accounts.audit import Audit, AuditEntry
from database import Database
from storage import act_files
from storage.act_files import OLD_FILES, folder_of, log_of
from storage.acts import ACTS_IN_FULL, FIELDS, REFUSALS_IN_FULL
from tests.support.acts import path_of, read_log
from tests.support.desk import Desk
from tests.support.fake_clock import FakeClock
from tests.support.paths import ROOT
from tests.support.playing import run_command
from tests.support.scale import scaled

NOISE = scaled(4_000, 40_000)
MORNING = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


@pytest.fixture
def clock() -> FakeClock[datetime]:
    return FakeClock(MORNING)


@pytest.fixture
def log(tmp_path: Path, clock: FakeClock[datetime]) -> Iterator[Audit]:
    database = tmp_path / "database.yaml"
    database.touch(0o600)
    log = Audit(Database(database), clock)
    yield log
    assert log.warning() == ""


def found(log: Audit, **wanted: object) -> list[dict[str, Any]]:
    return [e for e in read_log(path_of(log)) if all(e[name] == value for name, value in wanted.items())]


def size(log: Audit, actor: str) -> int:
    folder = folder_of(path_of(log))
    return sum(path.stat().st_size for path in folder.iterdir() if path.name.startswith(f"{actor}."))


def act(log: Audit) -> None:
    log.write(AuditEntry("operator root", "set quota of ann", None), "ok", 0.1)
    log.write(AuditEntry("student", "deploy", 1000, begun=True), "ok", 1.5)


def acts_are_there(log: Audit) -> bool:
    return bool(found(log, action="set quota of ann", result="ok") and found(log, action="deploy", slice=1000))


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.torture
@pytest.mark.parametrize("kind", ["the same", "another each time", "long ones", "of all kinds"])
def test_refusals_of_one_user_push_nothing_out_and_are_counted(log: Audit, kind: str) -> None:
    act(log)
    actions = ("delete", "deploy", "add VM", "create link") if kind == "of all kinds" else ("delete",)
    for number in range(NOISE):
        slice_id = None if kind == "the same" else number
        sentence = f"You have no slice {slice_id}" + ("x" * 2000 if kind == "long ones" else "")
        log.write(AuditEntry("student", actions[number % len(actions)], slice_id), sentence, 0.0, refused=True)
    assert acts_are_there(log)
    lines = found(log, actor="student")[1:]
    assert sum(line["count"] for line in lines) == NOISE
    assert len(lines) <= REFUSALS_IN_FULL + len(actions)
    assert size(log, "student") < 100_000


def test_the_same_refusal_is_one_line_with_its_number_and_last_time(log: Audit, clock: FakeClock[datetime]) -> None:
    for minute in (30, 31, 45):
        clock.now = MORNING.replace(minute=minute)
        log.write(AuditEntry("ann", "delete", 7), "You have no slice 7", 0.25, refused=True)
        log.write(AuditEntry("ann", "delete", 8), "You have no slice 8", 0.25, refused=True)
    clock.now += timedelta(hours=1)
    log.write(AuditEntry("ann", "delete", 7), "You have no slice 7", 0.25, refused=True)
    assert [(e["slice"], e["count"], e["time"][11:16], e["last"][11:16]) for e in found(log)] == [
        (7, 3, "09:30", "09:45"),
        (8, 3, "09:30", "09:45"),
        (7, 1, "10:45", "10:45"),
    ]


def test_a_users_refusals_over_days_are_bounded(
    log: Audit, clock: FakeClock[datetime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(act_files, "LARGEST_FILE", 100_000)
    act(log)
    for hour in range(100):
        clock.now = MORNING + timedelta(hours=hour)
        for number in range(60):
            log.write(AuditEntry("student", "delete", number), f"You have no slice {number}", 0.0, refused=True)
    assert acts_are_there(log)
    assert size(log, "student") < 60_000


# --- acts -------------------------------------------------------------------------------------------------------------


@pytest.mark.torture
def test_cheap_acts_hide_no_act_of_any_user(log: Audit) -> None:
    act(log)
    count = NOISE // 4
    for number in range(count):
        log.write(AuditEntry("student", "create slice", 2000 + number), "ok", 0.0)
        log.write(AuditEntry("student", "delete", 2000 + number), "ok", 0.0)
        log.write(AuditEntry("student", "log in"), "ok", 0.0)
        log.write(AuditEntry("student", "open console", 1000, 1001), "ok", 0.1)
    log.write(AuditEntry("student", "open console", 1000, 1002), "ok", 0.1)
    assert acts_are_there(log)
    assert len(found(log, vm=1002)) == 1
    lines = Counter[str]()
    for line in found(log, actor="student"):
        lines[line["action"]] += line["count"]
    noise = dict.fromkeys(("create slice", "delete", "log in"), count)
    assert lines == {**noise, "open console": count + 1, "deploy": 1}
    assert size(log, "student") < 100_000


def test_acts_on_hosts_are_never_merged_and_have_their_own_bound(log: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(act_files, "LARGEST_FILE", 20_000)
    log.write(AuditEntry("operator root", "set quota of ann", None), "ok", 0.1)
    log.write(AuditEntry("ann", "deploy", 5, begun=True), "ok", 0.1)
    for number in range(ACTS_IN_FULL * 3):
        log.write(AuditEntry("student", "deploy", number, begun=True), "ok", 0.1)
    assert found(log, actor="operator root")
    assert found(log, actor="ann")
    newest = [line["slice"] for line in found(log, actor="student")]
    assert newest == list(range(ACTS_IN_FULL * 3 - len(newest), ACTS_IN_FULL * 3))
    assert 20_000 * (OLD_FILES - 1) < size(log, "student") <= 20_000 * (OLD_FILES + 1)


def test_a_refusal_does_not_say_that_it_began(desk: Desk) -> None:
    desk.ring(2)
    for _ in range(3):
        desk.no(desk.api.deploy_slice("student", 4711))
        desk.no(desk.api.repair_slice("student", 1000))
    desk.ok(desk.api.deploy_slice("student", 1000))
    for _ in range(3):
        desk.no(desk.api.deploy_slice("student", 1000))
    seen = [(e["action"], e["slice"], e["count"], e["result"][:20]) for e in read_log(desk.path)][5:]
    assert seen == [
        ("deploy", 4711, 3, "You have no slice 47"),
        ("repair slice", 1000, 3, "Slice 1000 is in des"),
        ("deploy", 1000, 1, "begun"),
        ("deploy", 1000, 1, "ok"),
        ("deploy", 1000, 3, "Slice already runnin"),
    ]
    names = sorted(path.name for path in folder_of(desk.path).iterdir())
    assert names == ["student.acts.log", "student.refused.log"]


def test_a_failure_after_hosts_were_changed_is_no_refusal(desk: Desk) -> None:
    desk.ring(2)
    desk.cloud.hosts["10.0.10.1"].faults = {"bridge": (1, "", "out of luck")}
    desk.no(desk.api.deploy_slice("student", 1000))
    lines = (folder_of(desk.path) / "student.acts.log").read_text().splitlines()
    assert [json.loads(line)["result"][:5] for line in lines[-2:]] == ["begun", "10.0."]


# --- many processes, and the end of one -------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from accounts import audit
from database import Database
from storage import act_files
act_files._LOCK_WAIT_S = 50.0
log = audit.Audit(Database(sys.argv[1]))
print("begins", flush=True)
for number in range(int(sys.argv[2])):
    log.write(audit.AuditEntry("ann", "delete", number % 70), "no slice", 0.0, refused=True)
    log.write(audit.AuditEntry("ann", "create slice", number), "ok", 0.0)
assert not log.warning()
"""


def writer(log: Audit, count: int) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", WRITER, str(path_of(log)), str(count)]
    return subprocess.Popen(argv, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE)


def totals(log: Audit) -> dict[str, int]:
    lines = Counter[str]()
    for line in found(log):
        lines[line["action"]] += line["count"]
    return dict(lines)


def test_processes_that_count_at_once_lose_none(log: Audit) -> None:
    writers = [writer(log, 300) for _ in range(4)]
    for each in writers:
        each.communicate(timeout=100)
        assert each.returncode == 0
    hours = len({line["time"][:13] for line in found(log)})  # a new hour may have begun meanwhile
    assert totals(log) == {"delete": 1200, "create slice": 1200}
    assert len(found(log)) <= hours * (REFUSALS_IN_FULL + ACTS_IN_FULL + 10)


@pytest.mark.torture
def test_a_process_that_is_killed_while_it_counts_leaves_whole_lines(log: Audit) -> None:
    act(log)
    for moment in range(scaled(4, 60)):
        killed = writer(log, 1_000_000)
        assert killed.stdout
        assert killed.stdout.readline() == b"begins\n"
        time.sleep(0.02 * (moment % 10))  # the moments of the kill, not a wait
        killed.send_signal(signal.SIGKILL)
        killed.communicate(timeout=30)
        whole = [line for path in folder_of(path_of(log)).iterdir() for line in path.read_bytes().splitlines()]
        assert len(list(read_log(path_of(log)))) == len(whole)
    before = totals(log)["delete"]
    log._clock = lambda: datetime.now(UTC)
    log.write(AuditEntry("ann", "delete", 1), "no slice", 0.0, refused=True)
    assert totals(log)["delete"] == before + 1


# --- reading ----------------------------------------------------------------------------------------------------------


def test_all_is_shown_in_the_order_of_time_and_files_of_before_too(log: Audit) -> None:
    before = log_of(path_of(log))
    old = {"actor": "bob", "action": "deploy", "slice": 1, "vm": None, "result": "ok", "seconds": 1.0}
    before.with_name(f"{before.name}.1").write_text(json.dumps({"time": "2026-01-01T00:00:00Z", **old}) + "\n")
    before.write_text(json.dumps({"time": "2026-02-01T00:00:00Z", **old}) + "\n[]\n{}\n7\n")
    for number, actor in enumerate(["ann", "bob", "ann", "operator root", "(unknown)", "bob"]):
        log.write(AuditEntry(actor, "step", number), "ok", 0.0, refused=number % 2 == 0)
    lines = [json.loads(line) for line in run_command(path_of(log), "log", "--json")[1].splitlines()]
    assert [line["slice"] for line in lines] == [1, 1, 0, 1, 2, 3, 4, 5]
    assert {tuple(line) for line in lines} == {FIELDS}
    assert [line["time"][:7] for line in lines[:2]] == ["2026-01", "2026-02"]
    assert (lines[0]["count"], lines[0]["last"]) == (1, "2026-01-01T00:00:00Z")


def test_a_line_that_stands_for_several_says_so(log: Audit) -> None:
    for _ in range(3):
        log.write(AuditEntry("ann", "delete", 7), "You have no slice 7", 0.0, refused=True)
    assert run_command(path_of(log), "log")[1] == (
        "2026-11-21T09:30:00Z  ann  delete slice 7  0.00 s  You have no slice 7  (3 times, last 2026-11-21T09:30:00Z)\n"
    )


def test_a_ring_that_rotates_while_it_is_read_is_read_once_and_whole(
    log: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(act_files, "LARGEST_FILE", 4_000)
    for number in range(20):
        log.write(AuditEntry("ann", "deploy", number), "ok", 0.0)
    reading = read_log(path_of(log))
    seen = [next(reading)["slice"]]
    for number in range(20, 40):
        log.write(AuditEntry("ann", "deploy", number), "ok", 0.0)
    seen += [entry["slice"] for entry in reading]
    assert seen[:20] == list(range(20))
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("actor", ["../../etc/x", "a/b", "", "..", "operator " + "x" * 300, "ann\n", "(unknown)"])
def test_no_name_of_an_actor_leads_out_of_the_folder(log: Audit, actor: str) -> None:
    log.write(AuditEntry(actor, "delete", 1), "ok", 0.0)
    (path,) = folder_of(path_of(log)).iterdir()
    assert path.name.startswith("@") or not actor
    assert [entry["actor"] for entry in read_log(path_of(log))] == [actor]


def test_a_line_costs_little(log: Audit) -> None:
    """Measure a line in a full hour: a change of the design may take 25 ms, a line less than a tenth of it."""
    log._clock = lambda: datetime.now(UTC)
    for number in range(ACTS_IN_FULL * 2):
        log.write(AuditEntry("ann", "deploy", number, begun=True), "ok", 0.0)
    spent = []
    for number in range(50):
        began = time.process_time()
        log.write(AuditEntry("ann", "create slice", number), "ok", 0.0)
        spent.append(time.process_time() - began)
    assert sorted(spent)[25] < 0.0025
