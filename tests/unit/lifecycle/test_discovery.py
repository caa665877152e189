"""Measurements of workers: kept for a minute, made by one session for all, and only of hosts that were contacted."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from database import Database, open_store
from lifecycle import discovery as discovery_module
from lifecycle.discovery import FRESH_SECONDS, Discovery
from orchestrator import OrchestratorAPI
from remote.runner import Runner
from tests.support.desk import WORKERS, Desk
from tests.support.fake_hosts import FakeHost

PROCESSES = multiprocessing.get_context("fork")
DEADLINE_S = 30.0
FIRST, SECOND = WORKERS


class Hours:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Hours:
    """Return the clock of all managers and workers."""
    hours = Hours()
    monkeypatch.setattr(time, "time", hours)
    monkeypatch.setattr("tests.support.fake_hosts.CLOCK", hours)
    return hours


class UserSession:
    """A separate session; `asked` has the hosts of its connections, one entry for each plan."""

    def __init__(self, desk: Desk) -> None:
        self.asked: list[str] = []
        self._cloud = desk.cloud
        self.api = OrchestratorAPI(open_store(desk.location), self.connect)  # type: ignore[arg-type]

    def connect(self, address: str) -> FakeHost:
        self.asked.append(address)
        return self._cloud.connect(address)

    def log_in(self) -> list[str]:
        """Do a login's work with the workers; return the hosts of its connections."""
        self.asked.clear()
        ok, workers = self.api.known_workers()
        assert ok, workers
        return sorted(self.asked)

    def add_vm(self, name: str, slice_id: int = 1000) -> list[str]:
        """Add a VM; return the hosts of its connections."""
        self.asked.clear()
        ok, vm = self.api.add_vm_to_slice("student", slice_id, name, "cirros")
        assert ok, vm
        return sorted(set(self.asked))


def set_measured(desk: Desk, **times: float) -> None:
    """Change when the `first` or `second` worker was measured."""
    with desk.database.transaction() as state:
        for name, address in zip(("first", "second"), WORKERS, strict=True):
            state.workers[address].measured = times.get(name, state.workers[address].measured)


# --- At login ---------------------------------------------------------------------------------------------------------


def test_a_login_connects_to_no_host_within_a_minute_and_to_all_afterwards(desk: Desk, clock: Hours) -> None:
    assert UserSession(desk).log_in() == [FIRST, SECOND]  # the fixture used another clock
    clock.now += FRESH_SECONDS
    assert UserSession(desk).log_in() == []
    assert UserSession(desk).log_in() == []
    clock.now += 1
    assert UserSession(desk).log_in() == [FIRST, SECOND]
    assert {worker.measured for worker in desk.database.load().workers.values()} == {clock.now}


def test_a_login_connects_to_those_only_that_are_stale(desk: Desk, clock: Hours) -> None:
    UserSession(desk).log_in()
    set_measured(desk, second=clock.now - FRESH_SECONDS - 1)
    assert UserSession(desk).log_in() == [SECOND]
    with desk.database.transaction() as state:
        del state.workers[FIRST]
    assert UserSession(desk).log_in() == [FIRST]
    assert UserSession(desk).log_in() == []


def test_a_worker_that_does_not_answer_is_asked_once_a_minute(desk: Desk, clock: Hours) -> None:
    desk.cloud.hosts[SECOND].dead = True
    first = UserSession(desk)
    first.log_in()
    assert [worker.up for worker in desk.ok(first.api.known_workers()).values()] == [True, False]
    assert UserSession(desk).log_in() == []
    desk.cloud.hosts[SECOND].dead = False
    clock.now += 1
    assert desk.ok(first.api.discover_workers())[SECOND].up  # entry 1 asks all of them
    clock.now += FRESH_SECONDS + 1
    assert UserSession(desk).log_in() == [FIRST, SECOND]


@pytest.mark.parametrize("step", [1.0, 3600.0, 1e9])
def test_a_measurement_from_the_future_is_old(desk: Desk, clock: Hours, step: float) -> None:
    """Set a clock wrong for a moment: its measurements must not count for years."""
    clock.now += step
    UserSession(desk).log_in()
    clock.now -= step
    assert UserSession(desk).log_in() == [FIRST, SECOND]
    assert UserSession(desk).log_in() == []


def test_a_clock_that_jumps_back_at_every_reading_ends_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [2e9]

    def backwards() -> float:
        now[0] -= 100
        return now[0]

    monkeypatch.setattr(discovery_module, "_now", backwards)
    desk.ok(desk.api.create_slice("student", "lab"))
    runner = Runner(desk.cloud.connect)
    found = Discovery(desk.database, runner, backwards)
    assert set(found.known()) == set(found.workers()) == set(WORKERS)
    found.refresh(lambda _state: FIRST)


def test_an_older_file_says_no_times_and_is_measured_at_the_first_login(desk: Desk) -> None:
    with desk.database.transaction() as state:
        for worker in state.workers.values():
            worker.measured = 0.0
    text = desk.path.read_text().replace(", measured: 0.0", "").replace("    measured: 0.0\n", "")
    assert "measured" not in text
    desk.path.write_text(text)
    desk.ok(desk.api.create_slice("student", "lab"))
    session = UserSession(desk)
    assert session.add_vm("vm1") == [FIRST]
    assert [host.runs for host in desk.cloud.hosts.values()][:2] == [2, 1]  # what the file says was enough
    assert session.log_in() == [FIRST, SECOND]
    assert UserSession(desk).log_in() == []


def test_a_worker_that_is_no_longer_listed_goes_without_a_connection(desk: Desk, clock: Hours) -> None:
    session = UserSession(desk)
    session.log_in()
    desk.path.write_text(f"workers_list: ['{FIRST}']\n" + _without(desk.path.read_text(), "workers_list"))
    assert session.log_in() == []
    assert list(desk.database.load().workers) == [FIRST]
    desk.path.write_text(f"workers_list: ['{FIRST}', 10.0.10.9]\n" + _without(desk.path.read_text(), "workers_list"))
    assert session.log_in() == ["10.0.10.9"]
    assert clock.now


def _without(text: str, section: str) -> str:
    lines = text.splitlines(keepends=True)
    begin = next(n for n, line in enumerate(lines) if line.startswith(f"{section}:"))
    end = next(n for n in range(begin + 1, len(lines)) if lines[n][0].isalpha())
    return "".join(lines[:begin] + lines[end:])


def test_a_file_that_cannot_be_saved_keeps_no_answer_back(desk: Desk, clock: Hours) -> None:
    clock.now += 1000
    desk.path.chmod(0o400)
    before = desk.path.read_bytes()
    desk.cloud.hosts[SECOND].dead = True
    workers = desk.ok(UserSession(desk).api.known_workers())
    assert [worker.up for worker in workers.values()] == [True, False]
    assert desk.path.read_bytes() == before


def test_a_claim_that_cannot_be_made_keeps_no_answer_back(desk: Desk, clock: Hours) -> None:
    clock.now += 1000
    desk.path.with_name(f"{desk.path.name}.workers.lock").mkdir()
    desk.cloud.hosts[SECOND].dead = True
    workers = desk.ok(UserSession(desk).api.known_workers())
    assert [worker.up for worker in workers.values()] == [True, False]


# --- Several sessions -------------------------------------------------------------------------------------------------


def hold(monkeypatch: pytest.MonkeyPatch, asked: threading.Event, may: threading.Event) -> None:
    """Let hosts answer when they may, and report their questions."""
    run = FakeHost.run

    def held(self: FakeHost, *arguments: object, **options: object) -> object:
        asked.set()
        assert may.wait(DEADLINE_S)
        return run(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeHost, "run", held)


def test_while_one_session_measures_others_use_stored_measurements(
    desk: Desk, clock: Hours, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, may = threading.Event(), threading.Event()
    hold(monkeypatch, asked, may)
    clock.now += 1000
    one, other, entry = UserSession(desk), UserSession(desk), UserSession(desk)
    with ThreadPoolExecutor() as pool:
        measuring = pool.submit(one.log_in)
        assert asked.wait(DEADLINE_S)
        assert other.log_in() == []  # at once, though the hosts have not answered
        waiting = pool.submit(entry.api.discover_workers)
        may.set()
        assert measuring.result(DEADLINE_S) == [FIRST, SECOND]
        workers = desk.ok(waiting.result(DEADLINE_S))
    assert {worker.measured for worker in workers.values()} == {clock.now}
    assert entry.asked == []  # it has waited for the other session's measurements
    assert not desk.path.with_name(f"{desk.path.name}.workers.lock").exists()


def test_a_session_that_dies_while_it_measures_leaves_no_claim(desk: Desk, clock: Hours) -> None:
    clock.now += 1000
    reading, writing = os.pipe()

    def hang(*_: object, **__: object) -> None:
        os.write(writing, b".")
        time.sleep(DEADLINE_S)

    def die() -> None:
        desk.cloud.hosts[FIRST].run = hang  # type: ignore[assignment]
        UserSession(desk).log_in()

    process = PROCESSES.Process(target=die, daemon=True)
    process.start()
    assert os.read(reading, 1) == b"."
    assert UserSession(desk).log_in() == []  # it is alive, and measures
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join(DEADLINE_S)
    assert UserSession(desk).log_in() == [FIRST, SECOND]
    os.close(reading)
    os.close(writing)


def test_many_logins_at_once_measure_once(desk: Desk, clock: Hours) -> None:
    clock.now += 1000
    seats = [UserSession(desk) for _ in range(8)]
    with ThreadPoolExecutor(len(seats)) as pool:
        asked = [hosts for hosts in pool.map(UserSession.log_in, seats) if hosts]
    assert asked == [[FIRST, SECOND]]


# --- For placement ----------------------------------------------------------------------------------------------------


def test_a_vm_needs_no_measurement_within_a_minute(desk: Desk, clock: Hours) -> None:
    session = UserSession(desk)
    session.log_in()
    desk.ok(desk.api.create_slice("student", "lab"))
    before = desk.cloud.hosts[FIRST].runs
    assert session.add_vm("vm1") == [FIRST]
    assert desk.cloud.hosts[FIRST].runs == before + 1
    assert clock.now


def test_a_vm_needs_the_worker_that_it_is_placed_on_and_no_other(desk: Desk, clock: Hours) -> None:
    session = UserSession(desk)
    session.log_in()
    desk.ok(desk.api.create_slice("student", "lab"))
    clock.now += FRESH_SECONDS + 1
    assert session.add_vm("vm1") == [FIRST]
    assert session.add_vm("vm2") == [SECOND]
    assert [worker.measured for worker in desk.database.load().workers.values()] == [clock.now, clock.now]


def test_a_worker_that_went_down_since_is_passed_over(desk: Desk, clock: Hours) -> None:
    session = UserSession(desk)
    session.log_in()
    desk.ok(desk.api.create_slice("student", "lab"))
    clock.now += FRESH_SECONDS + 1
    desk.cloud.hosts[FIRST].dead = True
    assert session.add_vm("vm1") == [FIRST, SECOND]
    assert desk.slice().vms[0].worker_ip == SECOND
    assert session.add_vm("vm2") == [SECOND]  # the other one is known to be down
    assert not desk.database.load().workers[FIRST].up


def test_where_there_is_no_room_all_that_may_have_some_are_asked(desk: Desk, clock: Hours) -> None:
    session = UserSession(desk)
    for address in WORKERS:
        desk.cloud.hosts[address].dead = True
    session.log_in()
    desk.ok(desk.api.create_slice("student", "lab"))
    assert session.api.add_vm_to_slice("student", 1000, "vm1", "cirros") == (
        False,
        "No worker answers at present; ask the operator",
    )
    desk.cloud.hosts[SECOND].dead = False
    assert session.add_vm("vm1") == [FIRST, SECOND]
    assert desk.slice().vms[0].worker_ip == SECOND
    assert clock.now


def test_a_vm_that_may_not_be_added_costs_no_connection(desk: Desk, clock: Hours) -> None:
    session = UserSession(desk)
    desk.ok(desk.api.create_slice("student", "lab"))
    clock.now += 10_000
    for arguments in (("vm1", "no such flavor"), ("a b", "cirros")):
        assert not session.api.add_vm_to_slice("student", 1000, *arguments)[0]
    assert not session.api.add_vm_to_slice("student", 4711, "vm1", "cirros")[0]
    assert session.asked == []


def test_a_worker_that_was_found_dead_is_not_asked_again_at_the_next_login(desk: Desk, clock: Hours) -> None:
    session = UserSession(desk)
    session.log_in()
    desk.ok(desk.api.create_slice("student", "lab"))
    desk.cloud.hosts[FIRST].dead = True
    assert "does not answer" in desk.no(session.api.add_vm_to_slice("student", 1000, "vm1", "cirros"))
    assert (session.log_in(), desk.database.load().workers[FIRST].up) == ([], False)
    assert clock.now


def test_a_measurement_is_read_by_the_next_one(desk: Desk, tmp_path: Path) -> None:
    measured = {address: worker.measured for address, worker in desk.database.load().workers.items()}
    assert all(abs(time.time() - seen) < DEADLINE_S for seen in measured.values())
    copy = tmp_path / "copy.yaml"
    copy.write_bytes(desk.path.read_bytes())
    assert {address: worker.measured for address, worker in Database(copy).load().workers.items()} == measured
