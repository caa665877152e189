"""The audit log: its content, its secrets kept out, and its behaviour with crowds, half lines and full disks."""

from __future__ import annotations

import fcntl
import inspect
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from accounts.audit import BY_OPERATOR, Audit, AuditEntry
from core.errors import Refused
from database import Database
from remote.events import StageStarted
from storage import act_files
from storage.act_files import folder_of, log_of
from storage.acts import FIELDS
from tests.support import use_cases
from tests.support.acts import read_log, ring_of_acts
from tests.support.desk import WORKERS, Desk
from tests.support.dying import ManagerDiesError
from tests.support.paths import ROOT
from tests.support.playing import run_command
from topology.templates import make

READ_ONLY = {
    "flavors",
    "get_user",
    "most_slices",
    "list_slices",
    "get_slice",
    "find_slice",
    "command_address",
    "designs.read",
    "designs.files",
    "designs.read_file",
    "designs.convert",
    "designs.demand",
    "designs.plan",
    "edits.compare",
    "reach.ways",
    "discover_workers",
    "known_workers",
    "plan_slice",
    "plan_deletion",
    "operate_for",
    "unfinished",
    "problems",
    "prove_isolation",
    "power.plan",
    "readiness.look",
    "readiness.wait",
    "snapshots.list",
    "snapshots.plan",
    "snapshots.unfinished",
    *("images.check", "images.list", "images.plan_stage", "images.plan_removal"),
    *("keys.check", "keys.check_removal", "keys.list"),
}
FAILS = {
    "get_slice",
    "find_slice",
    "designs.read",
    "designs.read_file",
    "designs.convert",
    "plan_slice",
    "plan_deletion",
    "power.plan",
    "edits.compare",
    "readiness.look",
    "readiness.wait",
    "snapshots.list",
    "snapshots.plan",
}
FAILS |= {"images.check", "images.list", "images.plan_stage", "images.plan_removal"}
FAILS |= {"keys.check", "keys.check_removal"}
WORKS = {"create_slice", "designs.create", "open_session"}
ACTIONS = {
    "authenticate": "log in",
    "change_password": "change password",
    "create_slice": "create slice",
    "designs.create": "create slice",
    "edits.apply": "change slice",
    "add_vm_to_slice": "add VM",
    "create_link": "create link",
    "deploy_slice": "deploy",
    "repair_slice": "repair slice",
    "delete_slice": "delete",
    "finish_slice": "finish",
    "take_back_slice": "take back",
    "open_console": "open console",
    "open_command": "run command",
    "reach.connect": "connect",
    "reach.watch": "read console",
    "reach.capture": "capture",
    "snapshots.take": "snapshot",
    "snapshots.delete": "delete snapshot",
    "snapshots.restore": "restore",
    "power.start": "start",
    "power.stop": "stop",
    "power.restart": "restart",
    "power.reset": "reset",
    "images.add": "add image",
    "images.stage": "stage image",
    "images.remove": "remove image",
    "keys.add": "add key",
    "keys.remove": "remove key",
}
NO_ANSWER = {"needs_new_password", "warning", "warning_at_start"}


def acts(database: Path, actor: str) -> Path:
    """Return the file of an actor's acts."""
    return ring_of_acts(database, actor).path


def entries(desk: Desk) -> list[dict[str, Any]]:
    return list(read_log(desk.path))


VALUES: dict[str, object] = {
    "actor": "student",
    "username": "student",
    "slice_id": 4242,
    "vm_id": 4242,
    "verb": "start",
    "vm1_id": 1,
    "vm2_id": 2,
    "number": 1,
}
VALUES |= dict.fromkeys(("design", "wanted"), make("ring:3", "lab", "cirros"))


@pytest.mark.on_a_file
@pytest.mark.parametrize("name", sorted(use_cases.names() - NO_ANSWER))
def test_every_use_case_that_changes_something_is_recorded(desk: Desk, name: str) -> None:
    method = use_cases.method(desk.api, name)
    parameters = [p for p in inspect.signature(method).parameters.values() if p.default is p.empty]
    assert method(*(VALUES.get(p.name, "x") for p in parameters))[0] is (name in READ_ONLY - FAILS | WORKS)
    wanted = [] if name in READ_ONLY | {"open_session"} else [ACTIONS[name]]
    assert [(e["actor"], e["action"]) for e in entries(desk)] == [("student", action) for action in wanted]


def test_a_slices_life_is_in_it(desk: Desk) -> None:
    desk.ok(desk.api.authenticate("student", "admin"))
    desk.ring(2)
    desk.ok(desk.api.deploy_slice("student", 1000))
    desk.ok(desk.api.open_console("student", 1001))
    desk.ok(desk.api.delete_slice("student", 1000))
    found = entries(desk)
    assert [(e["actor"], e["action"], e["slice"], e["vm"], e["result"]) for e in found] == [
        ("student", "log in", None, None, "ok"),
        ("student", "create slice", 1000, None, "ok"),
        ("student", "add VM", 1000, 1001, "ok"),
        ("student", "add VM", 1000, 1002, "ok"),
        ("student", "create link", 1000, None, "ok"),
        ("student", "create link", 1000, None, "ok"),
        ("student", "deploy", 1000, None, "begun"),
        ("student", "deploy", 1000, None, "ok"),
        ("student", "open console", 1000, 1001, "ok"),
        ("student", "delete", 1000, None, "begun"),
        ("student", "delete", 1000, None, "ok"),
    ]
    for entry in found:
        assert tuple(entry) == FIELDS
        at = datetime.strptime(entry["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        assert abs(datetime.now(UTC) - at) < timedelta(minutes=5)
        assert 0 <= entry["seconds"] < 60
    assert stat.S_IMODE(acts(desk.path, "student").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder_of(desk.path).stat().st_mode) == 0o700


@pytest.mark.on_a_file
def test_failures_are_in_it_with_their_sentence(desk: Desk) -> None:
    desk.ring(2)
    sentences = [
        desk.no(desk.api.deploy_slice("admin", 1000)),
        desk.no(desk.api.add_vm_to_slice("student", 1000, "vm0", "cirros")),
        desk.no(desk.api.open_console("student", 1001)),
    ]
    desk.cloud.hosts[WORKERS[0]].faults = {"bridge": (1, "", "out of luck")}
    sentences.append(desk.no(desk.api.deploy_slice("student", 1000)))
    found = [entry["result"] for entry in entries(desk) if entry["result"] not in {"ok", "begun"}]
    assert found == sentences


@pytest.mark.on_a_file
def test_a_manager_that_dies_leaves_the_line_that_it_began(desk: Desk) -> None:
    desk.ring(2)
    seen: list[dict[str, Any]] = []
    desk.ok(desk.api.deploy_slice("student", 1000, lambda _: seen.extend(entries(desk)[-1:])))
    assert {(e["action"], e["slice"], e["result"]) for e in seen} == {("deploy", 1000, "begun")}


@pytest.mark.on_a_file
def test_an_outside_end_of_an_action_is_recorded(desk: Desk) -> None:
    desk.ring(2)

    def die(event: object) -> None:
        if isinstance(event, StageStarted):
            raise ManagerDiesError

    with pytest.raises(ManagerDiesError):
        desk.api.deploy_slice("student", 1000, die)
    assert entries(desk)[-1]["result"] == "ended by ManagerDiesError"


@pytest.mark.on_a_file
def test_logins_and_the_operators_acts_are_in_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "root_of_all")
    accounts = desk.api.accounts
    desk.no(desk.api.authenticate("student", "wrong one"))
    desk.no(desk.api.authenticate("pa55word-typed-as-a-name", "x"))
    accounts.add("ann", "long enough")
    accounts.set_quota("ann", 3)
    accounts.set_role("ann", "admin")
    accounts.set_password("ann", "another one")
    desk.ok(desk.api.change_password("ann", "another one", "her own one"))
    accounts.remove("ann")
    assert [(e["actor"], e["action"], e["result"]) for e in entries(desk)] == [
        ("student", "log in", "Wrong user name or password"),
        ("(unknown)", "log in", "Wrong user name or password"),
        ("operator root_of_all", "add user ann", "ok"),
        ("operator root_of_all", "set quota of ann", "ok"),
        ("operator root_of_all", "set role of ann", "ok"),
        ("operator root_of_all", "set password of ann", "ok"),
        ("ann", "change password", "ok"),
        ("operator root_of_all", "remove user ann", "ok"),
    ]


@pytest.mark.parametrize("typed", ["p@ss word!", "hunter2secret"])
def test_a_typed_name_without_an_account_is_not_in_it(desk: Desk, typed: str) -> None:
    accounts = desk.api.accounts
    requests: tuple[Callable[[], None], ...] = (
        lambda: accounts.add(typed, "short"),
        lambda: accounts.set_password(typed, "long enough"),
        lambda: accounts.set_quota(typed, 3),
        lambda: accounts.set_role(typed, "admin"),
        lambda: accounts.remove(typed),
    )
    for request in requests:
        with pytest.raises(Refused) as refused:
            request()
        assert typed not in str(refused.value)
    found = [entry["action"] for entry in entries(desk)]
    whose = ["add user", "set password of", "set quota of", "set role of", "remove user"]
    assert found == [f"{action} (unknown)" for action in whose]
    for path in folder_of(desk.path).iterdir():
        assert typed.encode() not in path.read_bytes() + path.name.encode()


def test_no_secret_is_in_it_nor_in_any_other_log(desk: Desk) -> None:
    api, accounts = desk.api, desk.api.accounts
    words = [f"s3cret-{number}-word" for number in range(8)]
    accounts.add("ann", words[0])
    desk.no(api.authenticate("ann", words[1]))
    desk.no(api.authenticate(words[2], words[3]))
    desk.ok(api.change_password("ann", words[0], words[4]))
    desk.no(api.change_password("ann", words[5], words[6]))
    accounts.set_password("ann", words[7])
    desk.ring(2)
    slice_ = desk.ok(api.deploy_slice("student", 1000))
    desk.ok(api.open_console("student", 1001))
    secrets = [*words, *(vm.vnc_secret for vm in slice_.vms)]
    assert all(secrets)
    desk.ok(api.delete_slice("student", 1000))
    beside = [path for path in desk.path.parent.rglob("*") if path.is_file()]
    files = [path for path in beside if path.suffix not in {".yaml", ".previous"}]
    assert {path.suffix for path in files} >= {".log", ".logins"}
    for path in files:
        assert not [secret for secret in secrets if secret.encode() in path.read_bytes()], path


# --- the file ---------------------------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from accounts import audit
from database import Database
from storage import act_files
act_files.LARGEST_FILE = 4000
act_files._LOCK_WAIT_S = 50.0  # polling is not fair: one may wait until the others have ended
log = audit.Audit(Database(sys.argv[1]))
for number in range(60):
    log.write(audit.AuditEntry("ann", "deploy", number, int(sys.argv[2])), "x" * 50, 0.0)
assert not log.warning()
"""


def test_a_new_log_that_others_have_filled_meanwhile_is_not_written_beyond_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "database.yaml"
    database.touch(0o600)
    monkeypatch.setattr(act_files, "LARGEST_FILE", 4000)
    log, rotate, full = acts(database, "admin"), act_files._Ring.rotate, b"x" * 3999 + b"\n"
    log.parent.mkdir()
    log.write_bytes(full)
    others = [full, full]

    def rotate_slowly(ring: act_files._Ring) -> None:
        rotate(ring)
        if others:
            ring.path.write_bytes(others.pop())

    monkeypatch.setattr(act_files._Ring, "rotate", rotate_slowly)
    Audit(Database(database)).write(AuditEntry("admin", "deploy", 1000), "ok", 0.0)
    assert [path.stat().st_size for path in sorted(log.parent.glob("*.log.?"))] == [4000, 4000, 4000]
    assert json.loads(log.read_text())["actor"] == "admin"


def test_many_processes_write_and_rotate_and_no_line_is_torn(tmp_path: Path) -> None:
    database = tmp_path / "database.yaml"
    database.touch(0o600)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(database), str(number)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        for number in range(4)
    ]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    files = sorted(folder_of(database).iterdir())
    assert [path.name.removeprefix("ann.acts.log") for path in files] == ["", ".1", ".2", ".3", ".4", ".5"]
    lines = [line for path in files for line in path.read_text().splitlines()]
    assert {tuple(json.loads(line)) for line in lines} == {(*FIELDS[:8], "order", *FIELDS[8:])}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 and path.stat().st_size <= 4000 for path in files)
    kept = list(read_log(database))
    assert len(kept) == len(lines)
    for number in range(4):  # the log keeps the end of each writer's lines, in order and without a gap
        theirs = [entry["slice"] for entry in kept if entry["vm"] == number]
        assert theirs == list(range(60 - len(theirs), 60)) or max(theirs, default=0) < 59
        assert theirs == sorted(theirs)


def test_a_lock_that_is_never_free_loses_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(act_files, "_LOCK_WAIT_S", 0.02)
    monkeypatch.setattr(act_files, "LARGEST_FILE", 300)
    database = tmp_path / "database.yaml"
    database.touch(0o600)
    log = Audit(Database(database))
    log.write(AuditEntry("ann", "deploy", 1), "ok", 0.5)
    with acts(database, "ann").open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        for number in range(2, 6):
            log.write(AuditEntry("ann", "deploy", number), "ok", 0.5)
        assert log.warning() == ""
        assert [entry["slice"] for entry in read_log(database)] == [1, 2, 3, 4, 5]
        assert [path.name for path in tmp_path.glob("*/*.log*")] == ["ann.acts.log"]
    log.write(AuditEntry("ann", "deploy", 6), "ok", 0.5)  # the lock is free: now room is made
    assert [entry["slice"] for entry in read_log(database)] == [1, 2, 3, 4, 5, 6]
    assert (tmp_path / "database.yaml.audit" / "ann.acts.log.1").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_log_that_root_begins_is_the_database_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(act_files, "LARGEST_FILE", 300)
    database = tmp_path / "database.yaml"
    database.touch(0o600)
    os.chown(database, 65_534, 65_534)
    log = Audit(Database(database))
    for number in range(6):
        log.write(AuditEntry("operator root", "set quota of ann", number), "ok", 0.5)
        files = list(folder_of(database).iterdir())
        assert folder_of(database).stat().st_uid == 65_534
        assert {(path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) for path in files} == {(65_534, 0o600)}
    assert len(files) > 2


def test_half_a_line_is_left_out_and_the_next_one_is_whole(tmp_path: Path) -> None:
    database = tmp_path / "database.yaml"
    database.touch(0o600)
    log = Audit(Database(database))
    log.write(AuditEntry("ann", "deploy", 1), "ok", 0.5)
    with acts(database, "ann").open("ab") as file:
        file.write(b'{"time": "2026-01-01T00:00:00Z", "act')
    log.write(AuditEntry("ann", "deploy", 2), "ok", 0.5)
    with acts(database, "ann").open("ab") as file:
        file.write(b"\xff\xfe junk\n[1]\n{}\nnull\n" + b"[" * 50_000 + b"\n")
    log.write(AuditEntry("eve\nann\x1b[31m", "deploy", 3), "a\nb", 0.5)
    assert [(e["actor"], e["slice"]) for e in read_log(database)] == [("ann", 1), ("ann", 2), ("eve\nann\x1b[31m", 3)]


def test_a_log_that_cannot_be_written_stops_nothing_and_is_reported_once(desk: Desk) -> None:
    folder_of(desk.path).write_text("")
    desk.ring(2)
    desk.ok(desk.api.deploy_slice("student", 1000))
    assert "audit log cannot be written" in desk.api.warning()
    desk.ok(desk.api.delete_slice("student", 1000))
    assert desk.api.warning() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_stops_nothing(desk: Desk) -> None:
    acts(desk.path, "student").parent.mkdir()
    acts(desk.path, "student").symlink_to("/dev/full")
    desk.ring(2)
    assert "cannot be written" in desk.api.warning()


# --- who is told what of the cloud's own files ------------------------------------------------------------------------


def test_a_student_sees_that_a_file_is_broken_and_the_operator_how(desk: Desk) -> None:
    desk.ring(1 + 1)
    desk.api.accounts.set_role("admin", "admin")
    desk.ok(desk.api.authenticate("admin", "admin"))
    desk.ok(desk.api.authenticate("student", "admin"))
    desk.path.write_text(desk.path.read_text().replace("vlan_pool_start: 100", "vlan_pool_start: 7"))
    api = desk.api
    for request in (api.flavors, api.list_slices, api.unfinished, api.get_user, api.create_slice):
        reported = desk.no(request("student"))
        assert reported.startswith("The cloud's own files have a fault")
        assert "1000" not in reported
        assert "slices.1000.vlan_pool_start" in entries(desk)[-1]["result"]
        assert "slices.1000.vlan_pool_start" in desk.no(request("admin"))


# --- python3 cli.py log -----------------------------------------------------------------------------------------------


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    database = tmp_path / "database.yaml"
    database.write_text("not a database: [")  # the log is readable although the database is not
    log = Audit(Database(database), lambda: datetime(2026, 11, 21, 9, 30, tzinfo=UTC))
    log.write(AuditEntry("ann", "log in"), "ok", 0.05)
    log.write(AuditEntry("ann", "deploy", 1000), "begun", 0.0)
    ring_of_acts(database, "ann").rotate()
    log.write(AuditEntry("bob", "open console", 1003, 1004), "VM 1004 is not \x1b[31mrunning", 0.001)
    log.write(AuditEntry("ann", "deploy", 1000), "ok", 12.3)
    return database


LINES = [
    "2026-11-21T09:30:00Z  ann  log in  0.05 s  ok",
    "2026-11-21T09:30:00Z  ann  deploy slice 1000  0.00 s  begun",
    "2026-11-21T09:30:00Z  bob  open console slice 1003 vm 1004  0.00 s  VM 1004 is not ?[31mrunning",
    "2026-11-21T09:30:00Z  ann  deploy slice 1000  12.30 s  ok",
]


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ([], [0, 1, 2, 3]),
        (["--user", "ann"], [0, 1, 3]),
        (["--slice", "1000"], [1, 3]),
        (["--last", "2"], [2, 3]),
        (["--user", "ann", "--last", "1"], [3]),
        (["--last", "0"], []),
        (["--user", "ghost"], []),
    ],
)
def test_the_log_is_read_over_rotated_files(logged: Path, arguments: list[str], shown: list[int]) -> None:
    status, output, errors = run_command(logged, "log", *arguments)
    assert (status, errors) == (0, "")
    assert output.splitlines() == [LINES[index] for index in shown]


def test_a_line_names_a_slice_once(logged: Path) -> None:
    log = Audit(Database(logged), lambda: datetime(2026, 11, 21, 9, 30, tzinfo=UTC))
    log.write(AuditEntry("ann", "repair slice", 1001), "ok", 1.0)
    log.write(AuditEntry("ann", "add VM", 1001, 1002), "ok", 1.0)
    lines = run_command(logged, "log", "--slice", "1001")[1].splitlines()
    assert [line.split("  ")[2] for line in lines] == ["repair slice 1001", "add VM slice 1001 vm 1002"]


def test_the_log_is_json_for_programs(logged: Path) -> None:
    (entry,) = map(json.loads, run_command(logged, "log", "--json", "--slice", "1003")[1].splitlines())
    assert (entry["actor"], entry["vm"], tuple(entry)) == ("bob", 1004, FIELDS)


def test_no_log_yet_is_no_failure_and_one_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    assert run_command(tmp_path / "none.yaml", "log")[0] == 0
    log_of(tmp_path / "odd.yaml").mkdir()
    status, _, errors = run_command(tmp_path / "odd.yaml", "log")
    assert status == 1
    assert re.fullmatch(r"Error: .*cannot be read \(Is a directory\): check its rights\n", errors)


def test_an_act_of_the_command_line_says_by_whom(logged: Path) -> None:
    (line,) = ring_of_acts(logged, "bob").path.read_bytes().splitlines()
    old = line.replace(b'"by": null, ', b"")
    assert old != line
    ring_of_acts(logged, "bob").path.write_bytes(old + b"\n")  # as older versions wrote it
    log = Audit(Database(logged), lambda: datetime(2026, 11, 21, 9, 31, tzinfo=UTC))
    log.by = BY_OPERATOR
    log.write(AuditEntry("bob", "deploy", 1003), "ok", 1.0)
    shown = run_command(logged, "log", "--json", "--user", "bob")[1]
    assert [json.loads(entry)["by"] for entry in shown.splitlines()] == [None, "operator"]
    lines = run_command(logged, "log", "--user", "bob", "--last", "1")[1]
    assert lines == "2026-11-21T09:31:00Z  bob (by operator)  deploy slice 1003  1.00 s  ok\n"
