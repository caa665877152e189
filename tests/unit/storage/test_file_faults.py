"""Faults of `database.yaml` from outside: cut off, read-only, linked, swapped, without room."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import re
import resource
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import database as database_module
from core.errors import Refused
from core.status import SliceStatus
from database import MAX_BYTES, Database
from models import Slice, User
from storage import files
from storage.state import SECTIONS
from tests.support.paths import DATA
from tests.support.scale import scaled
from tests.unit.conftest import CLOUD
from tests.unit.test_database import DEADLINE_S, refusal

PROCESSES = multiprocessing.get_context("fork")
OVERFLOW_UID = 65_534
NAMES = {f"database.yaml{suffix}" for suffix in ("", ".lock", ".previous")}


def untouched(path: Path, action: Callable[[], object]) -> str:
    """Return the sentence that refuses `action`; no byte and no time of the file may change."""
    before = path.read_bytes(), path.stat()
    sentence = refusal(action)
    after = path.read_bytes(), path.stat()
    assert (after[0], after[1].st_mtime_ns, after[1].st_ino) == (before[0], before[1].st_mtime_ns, before[1].st_ino)
    return sentence


def go_back(sentence: str) -> None:
    """Follow the advice of the sentence."""
    command = re.fullmatch(r".*; to go back to the version before the last change: (cp \S+ \S+)", sentence)
    assert command, sentence
    subprocess.run(command[1].split(), check=True)


def in_a_process(work: Callable[[], object]) -> None:
    """Run `work` in its own process, because it limits or drops something for good; a failure there is one here."""
    process = PROCESSES.Process(target=work)
    process.start()
    process.join(DEADLINE_S)
    assert process.exitcode == 0


# --- The file itself --------------------------------------------------------------------------------------------------


@pytest.mark.torture
def test_every_prefix_of_a_file_is_refused_or_has_lost_nothing(path: Path, database: Database) -> None:
    whole = database.load().to_dict()
    database.get_next_vm_id()
    kept = database.previous.read_bytes()
    content = CLOUD.encode()
    for length in range(0, len(content), scaled(3, 1)):
        path.write_bytes(content[:length])
        try:
            state = Database(path).load()
        except Refused:
            assert re.match(rf"{re.escape(str(path))}, line \d+: ", refusal(Database(path).load))
        else:  # a part of the last line, an unused counter, is a number, too
            assert content[:length].rpartition(b"\n")[2].startswith(b"next_vlan_id: 1")
            assert state.to_dict() | {"next_vlan_id": 100} == whole
    path.write_bytes(content[:1000])
    go_back(untouched(path, lambda: Database(path).get_next_vm_id()))
    assert database.previous.read_bytes() == kept
    assert Database(path).load().to_dict() == whole


@pytest.mark.parametrize(
    ("junk", "sentence"),
    [
        (b"\x7fELF\x02\x01\x01\x00", "line 1: has the character '\\x7f'"),
        (b"\0" * 4096, "line 1: has the character '\\x00'"),
        (b"\x1f\x8b\x08\x00\x00", "line 1: is not UTF-8 text"),
        (CLOUD.encode("utf-16"), "line 1: is not UTF-8 text"),
        (CLOUD.encode("utf-16-le"), "line 1: has the character '\\x00'"),
        (CLOUD.replace("  admin:\n", "\tadmin:\n", 1).encode(), "line 10: "),
        (b"!!python/object/apply:os.system ['touch pwned']\n", "line 1: tags such as "),
        (b"users: !!python/object/new:os.system [touch pwned]\n", "line 1: tags such as "),
        (b"a: &a [lol]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\n", "line 1: anchors and aliases"),
        (b"users: {}\n<<: {next_vm_id: 5}\n", 'line 2: "<<" is no value, put it in quotes'),
        (b"users: {}\n? [a, b]\n: 1\n", "line 2: the key a list must be a text, put it in quotes"),
        (b"users: {}\n? {a: b}\n: 1\n", "line 2: the key a mapping must be a text, put it in quotes"),
        (b"users: {}\nnext_vm_id: '" + b"x" * 1_000_000 + b"'\n", "line 2: next_vm_id: must be a whole number"),
        (b"users: {}\n" + b"x" * 1_000_000 + b": 1\n", "line 2: "),
        (b"users: {}\n" + b"\n" * 1_000_000 + b"!", "line 1000003: "),
        (b"users: {}\n---\nusers: {}\n", "line 2: a second document begins here"),
        (b"---\n---\n", "line 2: a second document begins here"),
        (b"%YAML 9.9\n---\nusers: {}\n", "line 1: "),
        (b"users: {}\nslices: [" + b"1," * 200_000 + b"]\n", "line 2: slices: must be a mapping, not a list"),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else "",
)
def test_a_refused_file_stays_and_its_named_way_back_works(
    path: Path, database: Database, junk: bytes, sentence: str
) -> None:
    database.get_next_vm_id()
    path.write_bytes(junk)
    found = untouched(path, database.get_next_vm_id)
    assert found.startswith(f"{path}, {sentence}")
    assert len(found) < 600
    assert not list(path.parent.rglob("pwned"))
    go_back(found)
    assert database.load().next_vm_id == 1017
    assert database.get_next_vm_id() == 1017


def test_a_saved_file_has_all_sections_and_one_written_by_hand_need_not(path: Path, database: Database) -> None:
    lines = CLOUD.splitlines(keepends=True)
    record = database.load().to_dict()
    assert tuple(record) == SECTIONS
    path.write_text("".join(lines[:13]))
    assert list(Database(path).load().users) == ["admin"]
    database.get_next_vm_id()
    path.write_text("".join(lines[:13]))
    assert untouched(path, database.get_next_vm_id).startswith(
        f"{path}, line 14: ends after users, it was cut off; to go"
    )


def test_a_previous_version_that_is_no_good_is_not_named_as_the_way_back(path: Path, database: Database) -> None:
    database.get_next_vm_id()
    for bad in (b"", b"\0", b"users: []\n"):
        database.previous.write_bytes(bad)
        path.write_bytes(b"users: 1\n")
        assert untouched(path, database.load).endswith("line 1: users: must be a mapping, not a whole number") or (
            "go back" not in refusal(database.load)
        )


def test_a_file_that_was_removed_comes_back_from_the_previous_version(path: Path, database: Database) -> None:
    database.get_next_vm_id()
    path.unlink()
    go_back(refusal(database.get_next_vm_id))
    assert database.get_next_vm_id() == 1017


def test_a_file_larger_than_any_database_is_refused_before_it_is_read(path: Path) -> None:
    os.truncate(path, 1 << 40)  # a sparse file: reading it would take all memory

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
        assert refusal(Database(path).load) == (
            f"{path}, line 1: has more than {MAX_BYTES >> 20} MiB, and no database is that large"
        )

    in_a_process(limited)


def test_a_file_never_grows_beyond_the_readable_size(
    path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body() -> None:
        with database.transaction() as state:
            state.slices[1015].left = ["x" * len(CLOUD)] * 2

    monkeypatch.setattr(database_module, "MAX_BYTES", 2 * len(CLOUD))
    assert "would outgrow 0 MiB, nothing was saved" in untouched(path, body)


def test_a_full_file_has_room_for_the_deletion_of_a_slice(
    path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fill the file: the longer status of a deletion must fit, or the advice could not be followed."""
    with database.transaction() as state:
        state.slices[1015].name = "saved"  # saved once, so that its layout stays the same

    def add() -> None:
        with database.transaction() as state:
            state.slices[1099] = Slice(1099, "admin")
            state.users["admin"].slices.append(1099)

    before = path.read_bytes()
    add()
    monkeypatch.setattr(database_module, "MAX_BYTES", path.stat().st_size)  # room for exactly this file
    path.write_bytes(before)
    assert "would outgrow 0 MiB, nothing was saved: delete slices" in untouched(path, add)
    with database.transaction() as state:
        state.slices[1015].status, state.slices[1015].left = SliceStatus.DELETING, ["QEMU on 10.0.10.1"]


def test_windows_line_ends_and_a_byte_order_mark_are_read_and_the_comment_stays(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + CLOUD.replace("\n", "\r\n").encode())
    database = Database(path)
    state = database.load()
    state.note_in_use()
    expected = state.to_dict()
    assert database.get_next_vm_id() == 1017
    assert path.read_bytes().startswith(b"# A cloud that keeps all the rules.\r\n")
    assert Database(path).load().to_dict() == expected | {"next_vm_id": 1018}


@pytest.mark.parametrize("end", ["\r", "\x85", "\u2028", "\u2029"])
def test_a_comment_ends_where_yaml_ends_it(path: Path, end: str) -> None:
    # The rest of that line is no comment: as one, it would be saved a second time.
    path.write_bytes(f"# comment{end}users: {{}}\nnext_vm_id: 1000\n".encode())
    database = Database(path)
    assert [database.get_next_vm_id() for _ in range(3)] == [1000, 1001, 1002]


def older(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the same cloud in the form of older versions and the documentation."""
    bare = json.loads(json.dumps(record))
    for section in ("ssh", "hypervisor", "internet", "flavors", "workers", "next_vlan_id"):
        bare.pop(section, None)
    spare = json.loads(json.dumps(bare))
    for slice_ in spare["slices"].values():
        for key in ("topology_type", "vlan_pool_start", "vlan_pool_end", "networks", "name"):
            slice_.pop(key, None)
        for vm in slice_["vms"]:
            for key in ("status", "pid", "qcow_image", "flavor_name", "disk_id", "vnc_secret"):
                vm.pop(key, None)
    return [bare, spare]


def test_a_file_of_an_older_layout_is_read_and_goes_on_with_all_that_it_had(path: Path, database: Database) -> None:
    record = database.load().to_dict()
    for layout in older(record):
        path.write_text(json.dumps(layout))
        state = Database(path).load()
        assert {vm.vm_id for slice_ in state.slices.values() for vm in slice_.vms} == {1001, 1002, 1016}
        assert [state.slices[1000].links[0].vlan_id, state.users["student"].slices] == [100, [1015]]
        assert Database(path).get_next_vm_id() == 1017
        assert set(Database(path).load().slices) == {1000, 1015}


@pytest.mark.parametrize("number", [1000, 1001])
def test_a_documented_slice_is_saved_as_it_was(path: Path, number: int) -> None:
    entry = json.loads((DATA / f"documented_slice_{number}.json").read_text())
    user = {"username": entry["owner"], "password_hash": "a" * 64, "used_vms": 2, "slices": [number]}
    path.write_text(json.dumps({"users": {entry["owner"]: user}, "slices": {str(number): entry}}))
    Database(path).get_next_vm_id()
    saved = Database(path).load().slices[number].to_dict()
    assert saved | {"vms": []} == entry | {"vms": []}
    for vm, documented in zip(saved["vms"], entry["vms"], strict=True):
        assert vm | {"interfaces": []} == documented | {"interfaces": []}
        for interface, wanted in zip(vm["interfaces"], documented["interfaces"], strict=True):
            assert interface == {"ip_config": None} | wanted


# --- Where it is kept -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o444, 0o400])
def test_a_file_made_read_only_is_not_replaced(path: Path, database: Database, mode: int) -> None:
    path.chmod(mode)
    assert untouched(path, database.get_next_vm_id) == (
        f"{path} is read-only; nothing was saved: give yourself the right to write it"
    )
    assert stat.S_IMODE(path.stat().st_mode) == mode
    path.chmod(0o600)
    assert database.get_next_vm_id() == 1017


@pytest.fixture
def open_path() -> Iterator[Path]:
    """Return the file in a folder that every user can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        target = Path(folder) / "database.yaml"
        target.write_text(CLOUD)
        yield target
        Path(folder).chmod(0o755)


def test_a_read_only_folder_is_read_from_and_not_saved_to(open_path: Path) -> None:
    def without_rights() -> None:
        if os.geteuid() == 0:
            os.setuid(OVERFLOW_UID)
        database = Database(open_path)
        assert database.load().next_vm_id == 1018
        assert untouched(open_path, database.get_next_vm_id) == (
            f"{open_path} cannot be saved (Permission denied), it is as it was: check free space and rights in "
            f"{open_path.parent}"
        )
        assert "cannot be locked" in refusal(lambda: database.claim(1000).__enter__())

    Database(open_path).get_next_vm_id()
    open_path.chmod(0o666)
    open_path.with_name("database.yaml.lock").chmod(0o666)
    open_path.parent.chmod(0o555)
    in_a_process(without_rights)
    assert {entry.name for entry in open_path.parent.iterdir()} == NAMES


@pytest.mark.torture
def test_no_room_for_the_new_file_leaves_the_old_one(path: Path, database: Database) -> None:
    database.get_next_vm_id()
    whole = path.stat().st_size

    def limited() -> None:
        for room in range(0, whole, scaled(211, 7)):
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, whole * 2))
            assert "cannot be saved (File too large), it is as it was" in untouched(path, database.get_next_vm_id)
            assert {entry.name for entry in path.parent.iterdir()} == NAMES
            assert Database(database.previous).load().next_vm_id == 1017
        resource.setrlimit(resource.RLIMIT_FSIZE, (whole * 2, whole * 2))
        assert database.get_next_vm_id() == 1018

    in_a_process(limited)


def test_a_file_with_a_second_name_is_not_split_in_two(path: Path, database: Database) -> None:
    other = path.with_name("second.yaml")
    other.hardlink_to(path)
    for name in (path, other):
        sentence = untouched(path, Database(name).get_next_vm_id)
        assert sentence.startswith(f"{name} has a second name (a hard link), which would not see the change")
    other.unlink()
    assert database.get_next_vm_id() == 1017
    other.symlink_to(path)
    assert [Database(other).get_next_vm_id(), database.get_next_vm_id()] == [1018, 1019]


@pytest.mark.parametrize("suffix", [".previous", ".previous.new"])
def test_the_second_name_that_a_dying_manager_gave_it_is_none(path: Path, database: Database, suffix: str) -> None:
    database.get_next_vm_id()
    kept = path.read_bytes()
    second = path.with_name(f"database.yaml{suffix}")
    second.unlink(missing_ok=True)
    second.hardlink_to(path)
    assert database.get_next_vm_id() == 1018
    assert database.previous.read_bytes() == kept
    assert {entry.name for entry in path.parent.iterdir()} == NAMES
    assert path.stat().st_nlink == database.previous.stat().st_nlink == 1


@pytest.mark.parametrize("target", ["database.yaml", "database.yaml.previous.new"])
def test_a_symbolic_link_in_the_place_of_the_second_name_hides_none(
    path: Path, database: Database, target: str
) -> None:
    symbolic, other = path.with_name("database.yaml.previous.new"), path.with_name("second.yaml")
    symbolic.symlink_to(target)
    other.hardlink_to(path)
    assert "has a second name (a hard link)" in untouched(path, database.get_next_vm_id)
    other.unlink()
    assert database.get_next_vm_id() == 1017
    assert {entry.name for entry in path.parent.iterdir()} == NAMES


def test_a_symbolic_link_and_its_target_share_their_locks(path: Path, database: Database) -> None:
    other = path.parent / "elsewhere"
    other.mkdir()
    (other / "link.yaml").symlink_to(path)
    with Database(other / "link.yaml").claim(1000):
        assert database.is_claimed(1000)
        assert "being worked on" in refusal(lambda: database.claim(1000).__enter__())


def test_a_temporary_file_of_a_killed_manager_blocks_no_other(path: Path, database: Database) -> None:
    for suffix in (".new", ".previous.new"):
        path.with_name(f"database.yaml{suffix}").write_text("half")
    assert database.get_next_vm_id() == 1017
    assert {entry.name for entry in path.parent.iterdir()} == NAMES


@pytest.mark.parametrize("suffix", [".lock", ".previous", ".new", ".previous.new"])
def test_a_folder_where_one_of_our_files_belongs_is_refused(path: Path, database: Database, suffix: str) -> None:
    path.with_name(f"database.yaml{suffix}").mkdir()
    assert "(Is a directory)" in untouched(path, database.get_next_vm_id)


# --- The lock ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave something that is root's")
def test_files_made_by_root_do_not_lock_out_the_owner(open_path: Path) -> None:
    os.chown(open_path, OVERFLOW_UID, OVERFLOW_UID)
    os.chown(open_path.parent, OVERFLOW_UID, OVERFLOW_UID)
    database = Database(open_path)
    database.get_next_vm_id()
    claim = database.claim(1000)
    claim.__enter__()

    def as_owner() -> None:
        os.setgid(OVERFLOW_UID)
        os.setuid(OVERFLOW_UID)
        mine = Database(open_path)
        assert mine.get_next_vm_id() == 1018
        assert mine.is_claimed(1000)
        assert "being worked on" in refusal(lambda: mine.claim(1000).__enter__())

    in_a_process(as_owner)
    claim.__exit__(None, None, None)
    assert open_path.stat().st_uid == OVERFLOW_UID


@pytest.mark.parametrize(("mode", "wanted"), [(0o600, 0o600), (0o640, 0o640), (0o660, 0o660), (0o664, 0o660)])
def test_a_user_who_may_write_the_file_may_lock_it(path: Path, database: Database, mode: int, wanted: int) -> None:
    path.chmod(mode)
    database.get_next_vm_id()
    assert stat.S_IMODE(path.with_name("database.yaml.lock").stat().st_mode) == wanted


def test_a_lock_that_was_deleted_while_held_loses_no_change(path: Path, database: Database) -> None:
    other = Database(path)

    def body() -> None:
        with database.transaction() as state:
            state.users["first"] = User("first", "a" * 64)
            path.with_name("database.yaml.lock").unlink()
            with other.transaction() as theirs:
                theirs.users["second"] = User("second", "a" * 64)

    assert refusal(body) == f"{path}.lock was removed by another program just now; nothing was saved, try again"
    assert "second" in database.load().users
    assert "first" not in database.load().users


def test_a_change_from_outside_while_the_new_file_is_written_is_not_lost(
    path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = files.replace

    def meanwhile(target: Path, *arguments: Any) -> None:
        if target == path:
            path.write_text(CLOUD.replace("quota_vms: 6", "quota_vms: 600"))
        replace(target, *arguments)

    monkeypatch.setattr(database_module, "replace", meanwhile)
    assert refusal(database.get_next_vm_id).endswith(
        "was changed by another program just now; nothing was saved, try again"
    )
    assert database.load().users["student"].quota_vms == 600
    assert {entry.name for entry in path.parent.iterdir()} == NAMES - {"database.yaml.previous"}


def test_where_there_are_no_hard_links_a_change_from_outside_is_not_lost_either(
    path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        path.write_text(CLOUD.replace("quota_vms: 6", "quota_vms: 600"))
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    assert refusal(database.get_next_vm_id).endswith(
        "was changed by another program just now; nothing was saved, try again"
    )
    assert database.load().users["student"].quota_vms == 600
    assert {entry.name for entry in path.parent.iterdir()} == NAMES - {"database.yaml.previous"}


def test_a_claim_whose_file_was_removed_does_not_remove_the_next_ones(path: Path, database: Database) -> None:
    lock = path.with_name("database.yaml.slice-1000.lock")
    with database.claim(1000):
        lock.unlink()
        second = Database(path).claim(1000)
        second.__enter__()
    assert database.is_claimed(1000)
    second.__exit__(None, None, None)
    assert not lock.exists()


@pytest.mark.parametrize("shift_s", [-86_400.0, 86_400.0])
def test_a_clock_that_is_set_hides_no_change(
    path: Path, database: Database, monkeypatch: pytest.MonkeyPatch, shift_s: float
) -> None:
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: int(now() + shift_s * 1e9))
    assert database.load().next_vm_id == 1017
    for number in range(1017, 1027):
        assert Database(path).get_next_vm_id() == number
        assert database.load().next_vm_id == number + 1


def test_edits_by_hand_while_a_session_runs_are_seen(path: Path, database: Database) -> None:
    for quota in range(7, 27):
        path.write_text(
            path.read_text().replace(f"quota_vms: {quota - 1}\n    used_vms: 1", f"quota_vms: {quota}\n    used_vms: 1")
        )
        assert database.load().users["student"].quota_vms == quota
        database.get_next_vm_id()
        assert database.load().users["student"].quota_vms == quota
