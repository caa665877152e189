"""Three managers on one PostgreSQL database: each may die or be cut off, and the server may be lost.

The tests run in their order: the last ones leave the standby in the place of the first server.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from core.inventory import Inventory, Worker
from core.status import SliceStatus
from database import Database, open_store
from lab import paths
from lab.errors import wait_until
from lab.postgres import DATA
from storage.postgres import tables
from tests.support.agreement import counts_are_right, nothing_has_two_owners
from tests.support.lab import door
from tests.support.lab.managers import MANAGERS, SECONDS, ManagersLab, go_on, managers_lab
from tests.support.lab.visitor import HOSTS, Menu
from tests.support.many import OWNERS, write_file
from tests.support.paths import ROOT
from tests.support.scale import scaled
from tests.unit.storage.test_stores import FREE_AFTER_S

pytestmark = pytest.mark.lab

FREE_WITHIN_S = 0.1
"""The bound for the better one of two tries: the tests share their cores."""

STEPS = scaled(((4, 2),), tuple((step, step) for step in range(1, 100)))
"""The steps of a deployment, and of the deletion after it, at which managers are killed."""

CUT_OFF_S = 15.0
RECONNECTED_S = 5.0
SESSIONS, SLICES_EACH, VMS_EACH = 8, 10, 10
PRIMARY, STANDBY = "database1", "database2"
PAGE = (ROOT / "docs/many-managers.md").read_text(encoding="utf-8")
AGREED = "Database and hosts agree: no findings\n"
BARE = "--tuples-only --no-align"


@pytest.fixture(scope="module")
def cloud(worker_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagersLab]:
    with pytest.MonkeyPatch.context() as patch, managers_lab(f"managers-{worker_id}") as cloud:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield cloud


def noted(figure: str) -> None:
    """Show a measured figure with `pytest -rP`."""
    sys.stdout.write(f"{figure}\n")


def seconds_until(condition: Callable[[], bool], most: float, what: str) -> float:
    began = time.monotonic()
    wait_until(condition, most, what)
    return time.monotonic() - began


def as_the_page_says(cloud: ManagersLab, server: str, word: str, more: str = "") -> str:
    """Run the one command of the page with this word as the servers' user; return its output."""
    (command,) = {line for line in re.findall(r"^sudo -u postgres .*$", PAGE, re.MULTILINE) if word in line}
    return cloud.lab.exec(server, ["sh", "-c", f"cd /tmp && {command} {more}"]).stdout.strip()


def test_every_manager_has_the_whole_cloud(cloud: ManagersLab) -> None:
    slice_id = cloud.create("shared")
    cloud.run(2, "deploy", "shared")
    assert cloud.run(3, "doctor") == AGREED
    assert "shared" in cloud.run(3, "list")
    assert cloud.run(1, "stop", "shared", "r1", "--now", "--yes") == "Stopped: r1\n"
    for number in range(1, MANAGERS + 1):
        assert cloud.ended(number, "list").stderr == ""
    keys = [(cloud.lab.home(number) / "known_hosts").read_text() for number in range(1, MANAGERS + 1)]
    assert all({*text.splitlines()} <= {*keys[2].splitlines()} and text for text in keys)
    cloud.run(1, "delete", str(slice_id), "--yes")
    assert [line.split()[-1] for line in cloud.run(3, "log", "--slice", str(slice_id)).splitlines()]


@pytest.mark.torture
def test_another_manager_ends_what_a_killed_one_began(cloud: ManagersLab) -> None:
    """Kill managers at steps of deployments and deletions; the timer's command of another one ends what they left."""
    seconds: list[float] = []
    for number, steps in enumerate(STEPS):
        slice_id = cloud.create(f"killed{number}")
        killed = [
            ended_by_another(cloud, action, slice_id, step, seconds)
            for action, step in zip(("deploy", "delete"), steps, strict=True)
        ]
        if not any(killed):
            break
    assert len(seconds) >= 2
    assert min(seconds) <= FREE_WITHIN_S
    noted(f"{len(seconds)} managers killed")
    assert cloud.run(2, "resume") == ""


def ended_by_another(cloud: ManagersLab, action: str, slice_id: int, step: int, seconds: list[float]) -> bool:
    """Begin an action, which is killed at a step, and let another manager end it; return whether it had that step."""
    store = cloud.store()
    with cloud.started(2, "mortal.py", cloud.url, action, str(slice_id), "step", str(step)) as manager:
        was_killed = manager.wait(SECONDS) == -signal.SIGKILL
        if was_killed:
            seconds.append(seconds_until(lambda: not store.is_claimed(slice_id), FREE_AFTER_S, "the claim is free"))
    if was_killed:
        noted(f"claim free {seconds[-1] * 1000:.0f} ms after the end of its manager at step {step} of {action}")
        done = {"deploy": "running", "delete": "deleted"}[action]
        assert cloud.run(3, "resume") == f"Slice {slice_id} is {done}\n"
    assert cloud.run(1, "doctor") == AGREED
    assert (slice_id in store.load().slices) == (action == "deploy")
    return was_killed


def test_hosts_refuse_what_a_manager_sends_that_was_cut_off_meanwhile(cloud: ManagersLab) -> None:
    slice_id, store = cloud.create("cut-off"), cloud.store()
    with cloud.stopped_in(2, "deploy", slice_id, "stage", "3") as first:
        assert store.is_claimed(slice_id)
        before = cloud.fences(slice_id)
        cloud.lab.cut("manager2")
        try:
            free = seconds_until(lambda: not store.is_claimed(slice_id), CUT_OFF_S, "the claim is free")
            noted(f"claim free {free:.1f} s after its manager was cut off")
            assert cloud.run(3, "resume") == f"Slice {slice_id} is running\n"
        finally:
            cloud.lab.reconnect("manager2")
        assert all(cloud.fences(slice_id)[host] > fence for host, fence in before.items())
        answer = go_on(first)
    assert not answer["done"]
    assert "refuses this change, because another manager has begun a later one" in answer["answer"]
    assert {*answer["failed"]} == {*HOSTS}
    assert store.load().slices[slice_id].status == SliceStatus.RUNNING
    assert cloud.run(2, "doctor") == AGREED
    cloud.run(2, "delete", str(slice_id), "--yes")


@pytest.fixture
def running(cloud: ManagersLab) -> Iterator[int]:
    """Let a slice run whose VMs have to keep their processes during the test; return its id."""
    slice_id = cloud.create("running", "line:2")
    cloud.run(1, "deploy", "running")
    before = cloud.processes(slice_id)
    assert len(before) == 2
    yield slice_id
    assert cloud.processes(slice_id) == before
    cloud.run(1, "delete", "running", "--yes")


@pytest.mark.usefixtures("running")
def test_managers_are_updated_one_after_the_other_while_a_slice_runs(cloud: ManagersLab) -> None:
    """Update them to a program with one more version of the tables, and go back to the copy in the end."""
    as_the_page_says(cloud, PRIMARY, "pg_dump")
    newer, known = cloud.newer_checkout(), tables.NEWEST
    (said,) = re.findall(r"^Error: (The tables have version \d+, .*)$", PAGE, re.MULTILINE)
    too_old = re.sub(r"\d+(.*)\d+", rf"{known + 1}\g<1>{known}", said)
    menu = Menu(cloud.lab, "admin", cloud.url, manager=3)
    under_way = cloud.create("under-way", "line:2")
    with cloud.stopped_in(1, "deploy", under_way, "stage", "3") as deploying:
        cloud.checkouts[2] = newer
        assert "running" in cloud.run(2, "list")
        answer = go_on(deploying)
    unsaved = f"The hosts run slice {under_way}, but that could not be written down: "
    assert not answer["done"]
    assert answer["answer"].startswith(f"{unsaved}tell the operator (the audit log says more)")
    for status, command in ((1, "list"), (1, "delete running --yes"), (1, "authorized-keys"), (2, "doctor")):
        refused = cloud.ended(1, *command.split())
        assert (refused.returncode, refused.stdout, refused.stderr) == (status, "", f"Error: {too_old}\n")
    assert f"Error: {too_old}" in menu.choose(5)
    assert f"Error: {too_old}" in menu.choose(2, "late")
    assert menu.close() == 0
    assert cloud.run(2, "resume") == f"Slice {under_way} is running\n"
    assert cloud.run(2, "doctor") == AGREED
    cloud.checkouts |= {1: newer, 3: newer}
    assert f"{unsaved}{too_old}; then log in again to finish it" in cloud.run(1, "log")
    cloud.run(3, "delete", str(under_way), "--yes")
    cloud.create("newer", "line:2")
    cloud.run(3, "deploy", "newer")
    cloud.run(1, "delete", "newer", "--yes")
    assert cloud.run(3, "doctor") == AGREED
    go_back(cloud)
    assert cloud.create("again", "line:2") == under_way  # hosts have seen higher numbers of its claims
    cloud.run(3, "delete", "again", "--yes")
    assert too_old in cloud.run(3, "log")


def go_back(cloud: ManagersLab) -> None:
    """Bring the older program to all managers, and restore the copy."""
    cloud.checkouts.clear()
    cloud.asked(PRIMARY, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'cloud'")
    for word in ("ALTER DATABASE", "createdb", "pg_restore"):
        as_the_page_says(cloud, PRIMARY, word)
    cloud.run(2, "resume", "--raise-fences")
    assert cloud.run(2, "doctor") == AGREED


def test_keys_in_the_database_let_students_in(cloud: ManagersLab) -> None:
    """Set up the network node as one more manager, with the sshd of the page."""
    for server in (PRIMARY, STANDBY):
        cloud.lab.exec(server, ["tee", "-a", f"{DATA}/pg_hba.conf"], input=f"host all cloud {door.ADDRESS}/32 trust\n")
        assert cloud.asked(server, "SELECT pg_reload_conf()") == "t"
    cloud.on_server(PRIMARY, "createdb", "--owner=cloud", "students")
    url = cloud.url.replace("/cloud?", "/students?")
    home = cloud.lab.folder / "students"
    home.mkdir()
    paths.caller().own(home)
    with door.opened_door(cloud.lab, home, more=door.DRIVER) as students:
        students.operate(url, "database", "import", "/var/lib/cloud/database.yaml")
        students.read_keys_from(url)
        refusal = "Permission denied (publickey)"
        wait_until(lambda: refusal in students.piped("alice", "list"), SECONDS, "sshd has its new settings")
        for who in door.PASSWORDS:
            key = students.keys[who].with_suffix(".pub").read_text()
            students.operate(url, "--as", who, "keys", "add", "-", typed=key)
        assert students.piped("alice", "list").strip() == "alice has no slices yet"
        assert "User: mallory" in students.piped("mallory")
        students.operate(url, "--as", "mallory", "keys", "remove", "1")
        assert refusal in students.piped("mallory")
        assert students.piped("alice", "list").strip() == "alice has no slices yet"


def test_eight_sessions_on_three_managers_add_800_vms(cloud: ManagersLab, tmp_path: Path) -> None:
    cloud.on_server(PRIMARY, "createdb", "--owner=cloud", "crowd")
    store = open_store(cloud.local("crowd"))
    store.create(Database(crowd_file(tmp_path / "database.yaml")).load())
    url = cloud.url.replace("/cloud?", "/crowd?")
    sizes = (str(SLICES_EACH), str(VMS_EACH))
    with ExitStack() as sessions:
        crowd = [
            sessions.enter_context(cloud.started(1 + number % MANAGERS, "adder.py", url, owner, *sizes))
            for number, owner in enumerate(OWNERS[:SESSIONS])
        ]
        for session in crowd:
            assert session.stdout
            assert session.stdout.readline() == "ready\n"
        began = time.monotonic()
        results = [json.loads(text) for text in together(crowd)]
        took = time.monotonic() - began
    given = Counter(vm_id for result in results for vm_id in result["vms"])
    state = store.load()
    assert len(given) == SESSIONS * SLICES_EACH * VMS_EACH
    assert {*given.values()} == {1}
    assert {*given} == {vm.vm_id for slice_ in state.slices.values() for vm in slice_.vms}
    nothing_has_two_owners(state)
    counts_are_right(state)
    total, worst = sum(result["transactions"] for result in results), max(result["worst"] for result in results)
    noted(f"{total / took:.0f} transactions a second, the slowest one took {worst * 1000:.0f} ms")


def crowd_file(path: Path) -> Path:
    """Write a state with users for all sessions, and with room for their VMs."""
    write_file(path, [])
    with Database(path).transaction() as state:
        workers = Inventory().workers_list
        state.inventory = replace(state.inventory, workers_list=workers)
        state.workers = {address: Worker(10_000, 10_000.0, 100_000.0) for address in workers}
        for user in state.users.values():
            user.quota_vms = SLICES_EACH * VMS_EACH
    return path


def together(crowd: list[subprocess.Popen[str]]) -> list[str]:
    """Let all sessions begin; return their outputs at their ends."""
    for session in crowd:
        assert session.stdin
        session.stdin.write("go\n")
        session.stdin.flush()
    return [session.communicate(timeout=2 * SECONDS)[0] for session in crowd]


class TakenIds:
    """The ids that a session takes without rest, each with the time of its answer."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: list[tuple[str, float]] = []
        self._process = process
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            taken, moment = line.split()
            self.lines.append((taken, float(moment)))

    def since(self, moment: float = 0.0) -> list[tuple[int, float]]:
        """Return the ids that were surely saved, and when, from a moment on."""
        return [(int(taken), time_) for taken, time_ in [*self.lines] if taken != "?" and time_ >= moment]


def test_the_standby_takes_over_in_mid_deployment_and_nothing_is_lost(cloud: ManagersLab) -> None:
    slice_id, kept = cloud.create("unlucky"), cloud.create("kept")
    before = cloud.run(1, "show", str(kept), "--json")
    assert as_the_page_says(cloud, PRIMARY, "sync_state", BARE) == f"{STANDBY}|sync"
    with (
        cloud.stopped_in(2, "deploy", slice_id, "stage", "3") as deploying,
        cloud.started(3, "counter.py", cloud.url) as counting,
    ):
        taken = TakenIds(counting)
        wait_until(lambda: len(taken.since()) >= 20, SECONDS, "a session takes ids")
        cloud.on_server(PRIMARY, f"{programs(cloud)}/pg_ctl", "stop", "-D", str(DATA), "-m", "immediate")
        assert as_the_page_says(cloud, STANDBY, "pg_promote", BARE) == "t"
        promoted = time.monotonic()
        wait_until(lambda: len(taken.since(promoted)) >= 20, SECONDS, "the session takes ids again")
        reconnected = taken.since(promoted)[0][1] - promoted
        answer = go_on(deploying)
    noted(f"reconnected {reconnected:.2f} s after the promotion")
    assert reconnected <= RECONNECTED_S
    ids = [taken_id for taken_id, _ in taken.since()]
    assert ids == sorted({*ids})
    state = cloud.store(STANDBY).load()
    assert state.next_vm_id > ids[-1]
    assert cloud.run(1, "show", str(kept), "--json") == before
    assert answer["done"], answer["answer"]
    assert state.slices[slice_id].status == SliceStatus.RUNNING
    assert cloud.run(1, "resume") == ""
    assert cloud.run(3, "doctor") == AGREED
    cloud.run(1, "delete", str(slice_id), "--yes")


def programs(cloud: ManagersLab) -> str:
    return cloud.lab.exec(PRIMARY, ["sh", "-c", "ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1"]).stdout.strip()


def test_the_first_server_comes_back_as_the_standby(cloud: ManagersLab) -> None:
    assert "names several servers, but the one that writes waits for none" in cloud.ended(1, "list").stderr
    cloud.lab.stop_host(PRIMARY)
    cloud.lab.start_host(PRIMARY)
    standbys = "SELECT application_name FROM pg_stat_replication"
    wait_until(lambda: cloud.asked(STANDBY, standbys) == PRIMARY, SECONDS, "the first server follows the other one")
    (setting,) = re.findall(r"^synchronous_standby_names = .*\n", PAGE, re.MULTILINE)
    cloud.lab.exec(STANDBY, ["tee", "-a", f"{DATA}/postgresql.conf"], input=setting.replace("two", PRIMARY))
    assert cloud.asked(STANDBY, "SELECT pg_reload_conf()") == "t"
    wait_until(lambda: cloud.ended(1, "list").stderr == "", SECONDS, "the new standby is waited for")
    cloud.run(2, "delete", "kept", "--yes")
    assert cloud.asked(PRIMARY, "SELECT pg_is_in_recovery()") == "t"
