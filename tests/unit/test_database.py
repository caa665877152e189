"""`database.yaml`: valid and refused content, and no loss with many writers or a killed one."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import database as database_module
from core.errors import Refused
from core.inventory import Inventory, Timeouts, Worker
from core.names import LAST_ID
from database import Database, State
from models import VM, Flavor, Interface, Slice, User
from storage import files
from storage import text as yaml_text
from storage.state import Slices
from tests.support.paths import DATA, ROOT
from tests.unit.conftest import CLOUD

SHA256_OF_ADMIN = "8c6976e5b5410415bde908bd4dee15dfb167a9c873fc4bb8a81f6f2ab448a918"
PROCESSES = multiprocessing.get_context("fork")
DEADLINE_S = 60.0
YAML: Any = sys.modules["yaml"]  # only storage/text.py imports it


def in_a_process(target: Callable[..., object], *arguments: object) -> BaseProcess:
    process = PROCESSES.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def joined(*processes: BaseProcess) -> None:
    for process in processes:
        process.join(DEADLINE_S)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(Refused) as caught:
        action()
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.isprintable()
    return sentence


def failing(number: int) -> Callable[..., Any]:
    def call(*_: object, **__: object) -> Any:
        raise OSError(number, os.strerror(number))

    return call


def sentence_or_nothing(path: Path) -> str:
    """Return the sentence that refuses a file, or an empty string."""
    try:
        Database(path).load()
    except Refused as refused:
        return str(refused)
    return ""


def enter(database: Database) -> State:
    with database.transaction() as state:
        return state


# --- What is read -----------------------------------------------------------------------------------------------------


def test_the_shipped_file_has_the_documented_content() -> None:
    state = Database(ROOT / "database.yaml").load()
    assert state.inventory == Inventory()
    assert {name: (user.quota_vms, user.used_vms, user.slices) for name, user in state.users.items()} == {
        "admin": (10, 0, []),
        "student": (6, 0, []),
    }
    assert (state.flavors, state.workers, dict(state.slices)) == ({}, {}, {})
    assert (state.next_vm_id, state.next_vlan_id) == (1000, 100)


def test_every_section_but_users_has_a_default(path: Path) -> None:
    path.write_text("users: {}\n")
    assert Database(path).load() == State(Inventory(), {}, {}, {}, Slices({}), 1000, 100)


def test_every_setting_has_a_default(path: Path) -> None:
    path.write_text("users: {}\nssh: {}\nhypervisor: {}\ninternet: {}\nworkers: {10.0.0.1: {}}\n")
    state = Database(path).load()
    assert state.inventory == Inventory()
    assert state.workers == {"10.0.0.1": Worker()}


def test_timeouts_are_kept_as_they_were_written(path: Path) -> None:
    path.write_text("ssh: {user: ubuntu, timeouts: {connect: 30}}  # slow names\nusers: {}\n")
    database = Database(path)
    with database.transaction() as state:
        assert state.inventory.ssh.timeouts == Timeouts(connect=30)
        state.next_vlan_id = 200
    assert database.load().inventory.ssh.timeouts == Timeouts(connect=30)
    assert "timeouts: {connect: 30}" in path.read_text()
    assert "# slow names" in path.read_text()


def test_data_ports_are_read_and_stay(path: Path) -> None:
    path.write_text("data_ports: {10.0.10.1: bond0}\nusers: {}\n")
    assert Database(path).load().inventory.data_ports == {"10.0.10.1": "bond0"}
    Database(path).get_next_vm_id()
    assert Database(path).load().inventory.data_ports == {"10.0.10.1": "bond0"}


def test_a_cloud_becomes_models(database: Database) -> None:
    state = database.load()
    assert state.inventory.hosts == ("10.0.10.1", "10.0.10.12", "10.0.10.3")
    assert state.slices[1000].vms[0].interfaces[1].link_id == 1
    assert state.slices[1015].left == ["10.0.10.1: overlay of vm1"]
    assert state.workers["10.0.10.1"].max_ram_gb == 15.5
    assert state.users["student"].slices == [1015]


@pytest.mark.parametrize("name", ["documented_slice_1000.json", "documented_slice_1001.json"])
def test_a_documented_slice_is_a_valid_entry(path: Path, name: str) -> None:
    entry = json.loads((DATA / name).read_text())
    owner, key = entry["owner"], str(entry["slice_id"])
    user = {"username": owner, "password_hash": SHA256_OF_ADMIN, "used_vms": 2, "slices": [entry["slice_id"]]}
    path.write_text(json.dumps({"users": {owner: user}, "slices": {key: entry}}))
    assert [vm.vnc_port for vm in Database(path).load().slices[int(key)].vms] == [vm["vnc_port"] for vm in entry["vms"]]


def test_flavors_of_the_file_are_added_to_the_built_in_ones_and_replace_them(path: Path) -> None:
    own = "{cores: 4, ram_gb: 1, disk_gb: 3, image: /srv/c.img}"
    path.write_text(f"users: {{}}\nflavors:\n  cirros: {own}\n  big.1: {own}\n")
    flavors = Database(path).load().all_flavors
    assert list(flavors) == ["cirros", "ubuntu", "big.1"]
    assert flavors["cirros"].cores == 4
    assert flavors["ubuntu"] == Flavor.built_in()["ubuntu"]
    assert flavors["big.1"].to_dict() == {"cores": 4, "ram_gb": 1, "disk_gb": 3, "image": "/srv/c.img"}


def test_changes_to_a_loaded_state_are_not_seen_by_the_next_caller(database: Database) -> None:
    untouched = database.load().to_dict()
    state = database.load()
    vm = state.slices[1000].vms[0]
    assert vm.flavor
    vm.flavor = replace(vm.flavor, cores=9)
    assert vm.interfaces[0].ip_config
    vm.interfaces[0].ip_config = replace(vm.interfaces[0].ip_config, ip="changed")
    state.slices[1000].vlan_pool_used.append(101)
    state.slices[1015].left.clear()
    state.flavors["small"] = replace(state.flavors["small"], cores=9)
    state.users["admin"].slices.clear()
    state.workers.clear()
    for record in database.load().to_dict()["slices"].values():
        record["vms"].clear()
    assert database.load().to_dict() == untouched


def test_a_change_that_the_files_times_do_not_show_is_seen(database: Database, path: Path) -> None:
    before = path.stat()
    assert database.load().next_vm_id == 1017
    path.write_text(CLOUD.replace("next_vm_id: 1017", "next_vm_id: 1018"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert database.load().next_vm_id == 1018


def test_without_the_c_library_the_same_is_read_and_written(
    path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = database.load().to_dict()
    database.get_next_vm_id()
    with_c = path.read_bytes()
    path.write_text(CLOUD)
    monkeypatch.setattr(yaml_text, "_Loader", YAML.SafeLoader)
    monkeypatch.setattr(yaml_text, "_Dumper", YAML.SafeDumper)
    slow = Database(path)
    assert slow.load().to_dict() == expected
    slow.get_next_vm_id()
    assert path.read_bytes() == with_c


# --- What is refused --------------------------------------------------------------------------------------------------


def broken_files() -> Iterator[Any]:
    for block in (DATA / "broken_files.txt").read_text().split("\n== ")[1:]:
        name, *lines = block.rstrip().splitlines()
        edits: list[tuple[list[str], list[str]]] = []
        for kind, text in ((line[:2], line[2:]) for line in lines):
            if kind == "- ":
                if not edits or edits[-1][1]:
                    edits.append(([], []))
                edits[-1][0].append(text)
            elif kind == "+ ":
                edits[-1][1].append(text)
        yield pytest.param([("\n".join(a), "\n".join(b)) for a, b in edits], lines[-1].removeprefix("! "), id=name)


@pytest.mark.parametrize(("edits", "sentence"), list(broken_files()))
def test_a_broken_file_is_refused_with_its_line_and_stays_as_it_is(
    path: Path, edits: list[tuple[str, str]], sentence: str
) -> None:
    text = CLOUD
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)
    database = Database(path)
    found = refusal(database.load)
    assert found == f"{path}, {sentence}" or (
        sentence.endswith(": ...") and found.startswith(f"{path}, {sentence[:-3]}")
    )
    assert found == refusal(lambda: enter(database)) == refusal(database.get_next_vm_id)
    assert path.read_text() == text
    assert not database.previous.exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "line 1: must be a mapping, not nothing"),
        (b"# only a comment\n", "line 1: must be a mapping, not nothing"),
        (b"hello", 'line 1: must be a mapping, not "hello"'),
        (b"- users\n", "line 1: must be a mapping, not a list"),
        (b"{}", "line 1: the key users is missing"),
        (b"users: []\n", "line 1: users: must be a mapping, not a list"),
        (b"users: {}\n\x7fELF\x02\x01\x00\x00", "line 2: has the character '\\x7f'"),
        (b"users: {}\n# \xff\xfe\n", "line 2: is not UTF-8 text"),
        (b"\xff\xfeu\x00s\x00", "line 1: is not UTF-8 text"),
        (b"users: {}\nslices: \x00\n", "line 2: has the character '\\x00'"),
        (b"[" * 100_000, "line 1: is nested too deeply"),
        (b"users: " + b"{a: " * 100_000, "line 1: is nested too deeply"),
        (b"users:\n" + b"".join(b" " * n + b"a:\n" for n in range(1, 200)), "line 13: is nested too deeply"),
        (b"a: &a [x]\nb: &b [*a, *a]\n", "line 1: anchors and aliases (& and *) have no place here"),
        (
            b"users: {}\nnext_vm_id: " + b"9" * 100_000,
            f'line 2: next_vm_id: must be a whole number from 1000 to 1000000, not "{"9" * 40}..."',
        ),
        (
            b"users: {}\nnext_vm_id: 59" + b":59" * 10_000,
            f'line 2: next_vm_id: must be a whole number from 1000 to 1000000, not "{"59:" * 13}5..."',
        ),
    ],
    ids=lambda value: repr(value[:30]) if isinstance(value, bytes) else "",
)
def test_a_file_that_is_no_database_is_refused_and_stays_as_it_is(path: Path, content: bytes, sentence: str) -> None:
    path.write_bytes(content)
    assert refusal(lambda: enter(Database(path))) == f"{path}, {sentence}"
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["'010'", "08", "1e3", "'1_0'", "'0x1F'"])
def test_a_text_that_looks_like_a_number_is_a_text(path: Path, name: str) -> None:
    path.write_text(CLOUD.replace("name: vm1", f"name: {name}", 1))
    database = Database(path)
    with database.transaction() as state:
        assert state.slices[1000].vms[0].name == name.strip("'")
        state.slices[1000].name = "written-again"
    assert Database(path).load().slices[1000].vms[0].name == name.strip("'")


@pytest.mark.parametrize("share", range(1, 40))
def test_half_a_file_is_never_a_database_with_less_in_it(path: Path, share: int) -> None:
    path.write_bytes(CLOUD.encode()[: len(CLOUD) * share // 40])
    assert refusal(Database(path).load).startswith(f"{path}, line ")


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(b"users: {}\n" + content)
    assert sentence_or_nothing(path).isprintable()


@pytest.mark.long
@given(st.data())
@settings(deadline=None, max_examples=300)
def test_any_value_in_any_place_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(CLOUD)
    record: Any = Database(path).load().to_dict()
    node, key = record, data.draw(st.sampled_from(list(record)))
    while isinstance(node[key], dict | list) and node[key] and data.draw(st.booleans()):
        node = node[key]
        key = data.draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    node[key] = data.draw(scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.text(max_size=5), scalars))
    path.write_text(json.dumps(record).replace("NaN", ".nan").replace("Infinity", ".inf"))
    sentence = sentence_or_nothing(path)
    assert sentence.isprintable()
    assert "line 1: " in sentence or not sentence


def test_a_refused_file_names_the_previous_version_as_the_way_back(path: Path, database: Database) -> None:
    database.get_next_vm_id()
    path.write_text("users: 1\n")
    sentence = refusal(database.load)
    assert "; to go back to the version before the last change: cp " in sentence
    subprocess.run(sentence.rpartition(": ")[2].split(), check=True)
    assert database.load().next_vm_id == 1017


# --- What is written --------------------------------------------------------------------------------------------------


def test_a_transaction_saves_what_its_body_changed(path: Path, database: Database) -> None:
    with database.transaction() as state:
        state.users["new"] = User("new", SHA256_OF_ADMIN, 3)
    assert Database(path).load().users["new"].quota_vms == 3


def test_a_saved_state_is_the_state_loaded(path: Path, database: Database) -> None:
    with database.transaction() as state:
        state.next_vm_id += 1
        state.note_in_use()
        saved = state.to_dict()
    assert Database(path).load().to_dict() == saved


def test_a_transaction_that_raises_saves_nothing(path: Path, database: Database) -> None:
    def body() -> None:
        with database.transaction() as state:
            state.next_vm_id = 2000
            raise Refused("no")

    assert refusal(body) == "no"
    assert path.read_text() == CLOUD
    assert database.get_next_vm_id() == 1017


def test_a_transaction_that_changes_nothing_writes_nothing(path: Path, database: Database) -> None:
    before = path.stat()
    enter(database)
    assert path.stat() == before
    assert not database.previous.exists()


def test_a_transaction_that_would_break_a_rule_saves_nothing(path: Path, database: Database) -> None:
    def body() -> None:
        with database.transaction() as state:
            state.users["admin"].used_vms = 7

    assert refusal(body) == (
        f"{path} was not changed, the new state would be wrong: users.admin.used_vms: must be the number of VMs in the "
        "slices of admin, 2, not 7"
    )
    assert path.read_text() == CLOUD


def test_the_version_before_is_kept(path: Path, database: Database) -> None:
    database.get_next_vm_id()
    assert database.previous.read_text() == CLOUD
    second = path.read_text()
    database.get_next_vm_id()
    assert database.previous.read_text() == second


def test_no_other_file_is_left_in_the_folder(path: Path, database: Database) -> None:
    database.get_next_vm_id()
    with database.claim(1000):
        pass
    found = {entry.name for entry in path.parent.iterdir()}
    assert found == {"database.yaml", "database.yaml.previous", "database.yaml.lock"}


def test_the_comment_at_the_top_survives(path: Path, database: Database) -> None:
    path.write_text("# one\n\n#two: 'x'\r\n\n" + CLOUD.split("\n", 1)[1])
    database.get_next_vm_id()
    database.get_next_vm_id()
    assert path.read_bytes().startswith(b'# one\n\n#two: \'x\'\r\n\nworkers_list: ["10.0.10.1", "10.0.10.12"]\n')


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_the_mode_of_the_file_is_kept(path: Path, database: Database, mode: int) -> None:
    path.chmod(mode)
    database.get_next_vm_id()
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert stat.S_IMODE(database.previous.stat().st_mode) == mode


def test_a_symbolic_link_stays_one(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.yaml"
    link.parent.mkdir()
    link.symlink_to(path)
    assert Database(link).get_next_vm_id() == 1017
    assert link.is_symlink()
    assert Database(path).load().next_vm_id == 1018
    assert [entry.name for entry in link.parent.iterdir()] == ["link.yaml"]


def test_the_folder_of_a_relative_path_does_not_move_with_the_process(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    database = Database(path.name)
    monkeypatch.chdir("/")
    assert database.get_next_vm_id() == 1017


def test_ids_are_counted_on_and_those_in_use_are_skipped(path: Path, database: Database) -> None:
    path.write_text(CLOUD.replace("next_vm_id: 1017", "next_vm_id: 1000"))
    assert [database.get_next_vm_id() for _ in range(3)] == [1003, 1004, 1005]


def test_the_counter_goes_on_from_the_first_id_after_the_last(path: Path, database: Database) -> None:
    path.write_text(CLOUD.replace("next_vm_id: 1017", f"next_vm_id: {LAST_ID}"))
    assert [database.get_next_vm_id() for _ in range(2)] == [LAST_ID, 1003]


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.mark.long
@given(left=st.lists(words), ram=st.floats(0, 1e9))
@settings(deadline=None)
def test_any_text_and_number_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, left: list[str], ram: float
) -> None:
    path = tmp_path_factory.getbasetemp() / "text.yaml"
    path.write_text(CLOUD)
    with Database(path).transaction() as state:
        state.slices[1015].left = left
        state.workers["10.0.10.1"].max_ram_gb = ram
    state = Database(path).load()
    assert state.slices[1015].left == left
    assert state.workers["10.0.10.1"].max_ram_gb == ram


@pytest.mark.parametrize("name", ["no", "on", "123", "1e3", "0x10", "null", "1_000", "-", "--", "_", "0-0"])
def test_a_name_that_yaml_takes_for_something_else_comes_back_as_it_was(database: Database, name: str) -> None:
    with database.transaction() as state:
        state.users[name] = User(name, "1" * 64)
    assert database.load().users[name].username == name


def test_a_text_that_no_file_can_hold_is_refused(path: Path, database: Database) -> None:
    def body() -> None:
        with database.transaction() as state:
            state.workers["10.0.10.1"].problem = "caf\udce9"

    assert refusal(body).endswith('workers.10.0.10.1.problem: must be a text, not "caf\\udce9"')
    assert path.read_text() == CLOUD


# --- When the file cannot be used -------------------------------------------------------------------------------------


def test_a_missing_file_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    sentence = f"{path} does not exist: name the database with --database, or put a copy of the shipped one there"
    assert refusal(Database(path).load) == sentence
    assert refusal(Database(path).get_next_vm_id) == sentence
    assert not path.exists()


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none" / "database.yaml"
    assert f"{path} does not exist" in refusal(Database(path).load)
    assert "cannot be locked (No such file or directory)" in refusal(Database(path).get_next_vm_id)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(Database(tmp_path).load) == f"{tmp_path} is not a file: name the database with --database"


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is not a file" in refusal(Database(tmp_path / "pipe").load)


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert "cannot be read (Too many levels of symbolic links)" in refusal(Database(loop).load)


def test_an_unreadable_file_is_refused(path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", failing(13))  # root may read every file, and tests may run as root
    assert refusal(database.load) == f"{path} cannot be read (Permission denied): check its rights"


@pytest.mark.parametrize(
    ("owner", "call", "number", "reason"),
    [
        (os, "fsync", 28, "No space left on device"),
        (os, "fchmod", 1, "Operation not permitted"),
        (Path, "replace", 30, "Read-only file system"),
    ],
)
def test_a_file_that_cannot_be_saved_stays_as_it_is(
    path: Path, database: Database, monkeypatch: pytest.MonkeyPatch, owner: Any, call: str, number: int, reason: str
) -> None:
    monkeypatch.setattr(owner, call, failing(number))
    assert refusal(database.get_next_vm_id) == (
        f"{path} cannot be saved ({reason}), it is as it was: check free space and rights in {path.parent}"
    )
    assert path.read_text() == CLOUD
    assert not list(path.parent.glob("*.new"))


def test_a_lock_that_cannot_be_made_is_refused(path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", failing(30))
    for action in (database.get_next_vm_id, lambda: database.claim(1000).__enter__()):
        assert "cannot be locked (Read-only file system): check its rights and its folder's" in refusal(action)
    assert "cannot be opened (Read-only file system)" in refusal(lambda: database.is_claimed(1000))
    assert path.read_text() == CLOUD


def test_a_filesystem_that_cannot_sync_folders_does_not_make_a_saved_change_a_failure(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_sync_folder", failing(22))
    assert [database.get_next_vm_id(), database.get_next_vm_id()] == [1017, 1018]


def test_a_user_without_the_right_to_change_the_owner_keeps_the_file(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fchown", failing(1))
    assert [database.get_next_vm_id(), database.get_next_vm_id()] == [1017, 1018]


def test_an_editors_change_during_a_transaction_is_not_overwritten(path: Path, database: Database) -> None:
    def body() -> None:
        with database.transaction() as state:
            state.next_vm_id = 2000
            path.write_text(CLOUD.replace("quota_vms: 6", "quota_vms: 600"))

    assert refusal(body) == f"{path} was changed by another program just now; nothing was saved, try again"
    assert database.load().users["student"].quota_vms == 600


def test_a_transaction_inside_a_transaction_does_not_wait_for_ever(database: Database) -> None:
    with database.transaction(), pytest.raises(RuntimeError, match="inside a transaction"):
        database.get_next_vm_id()
    assert database.get_next_vm_id() == 1017


def test_a_lock_held_for_too_long_is_refused(path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "LOCK_WAIT_S", 0.05)
    with Database(path).transaction():
        sentence = refusal(database.get_next_vm_id)
    assert sentence == "The database has been locked by another session for 0 s; try again when it is done"


# --- Many at once -----------------------------------------------------------------------------------------------------

ROUNDS = 25


def take_ids(path: Path) -> None:
    database = Database(path)
    for _ in range(ROUNDS):
        with database.transaction() as state:
            state.users["admin"].quota_vms += 1
        database.get_next_vm_id()


def test_processes_lose_none_of_each_others_changes(path: Path) -> None:
    joined(*(in_a_process(take_ids, path) for _ in range(4)))
    state = Database(path).load()
    assert (state.users["admin"].quota_vms, state.next_vm_id) == (10 + 4 * ROUNDS, 1017 + 4 * ROUNDS)


@pytest.mark.parametrize("shared", [True, False], ids=["one Database", "a Database each"])
def test_threads_lose_none_of_each_others_changes(path: Path, shared: bool) -> None:
    database = Database(path)
    ids: list[int] = []

    def work() -> None:
        mine = database if shared else Database(path)
        ids.extend(mine.get_next_vm_id() for _ in range(ROUNDS))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert sorted(ids) == list(range(1017, 1017 + 4 * ROUNDS))


def save_for_ever(path: Path) -> None:
    while True:
        Database(path).get_next_vm_id()


@pytest.mark.long
def test_a_process_killed_at_any_moment_leaves_a_whole_file_and_no_lock(path: Path) -> None:
    database = Database(path)
    for kill in range(40):
        before = database.load().next_vm_id
        process = in_a_process(save_for_ever, path)
        while database.load().next_vm_id == before:  # by then it saves again and again
            assert process.is_alive()
        time.sleep(kill / 2000)
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        process.join(DEADLINE_S)
        found = Database(path).load().next_vm_id
        assert found > before
        assert Database(database.previous).load().next_vm_id in {found, found - 1}
        assert database.get_next_vm_id() == found
    names = {entry.name for entry in path.parent.iterdir()}
    assert names <= {f"database.yaml{suffix}" for suffix in ("", ".lock", ".previous", ".new", ".previous.new")}


def test_readers_never_see_half_a_file(path: Path) -> None:
    writers = [in_a_process(take_ids, path) for _ in range(2)]
    seen = [Database(path).load().next_vm_id]
    while any(writer.is_alive() for writer in writers):
        seen.append(Database(path).load().next_vm_id)
    joined(*writers)
    assert seen == sorted(seen)


# --- The right to work on a slice -------------------------------------------------------------------------------------


def hold_claim(path: Path, ready: Any, release: Any) -> None:
    with Database(path).claim(1000):
        ready.set()
        release.wait(DEADLINE_S)


def test_a_claim_keeps_other_processes_out_until_it_ends(path: Path, database: Database) -> None:
    ready, release = PROCESSES.Event(), PROCESSES.Event()
    holder = in_a_process(hold_claim, path, ready, release)
    assert ready.wait(DEADLINE_S)
    assert database.is_claimed(1000)
    assert refusal(lambda: database.claim(1000).__enter__()) == (
        "Slice 1000 is being worked on by another session; try again when it is done"
    )
    release.set()
    joined(holder)
    assert not database.is_claimed(1000)
    with database.claim(1000):
        assert database.is_claimed(1000)


def test_a_claim_ends_with_its_process(path: Path, database: Database) -> None:
    ready = PROCESSES.Event()
    holder = in_a_process(hold_claim, path, ready, PROCESSES.Event())
    assert ready.wait(DEADLINE_S)
    assert holder.pid
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(DEADLINE_S)
    assert not database.is_claimed(1000)
    with database.claim(1000):
        pass


def test_a_claim_keeps_out_threads_of_the_same_process_and_itself(path: Path, database: Database) -> None:
    with database.claim(1000):
        assert "Slice 1000 is being worked on" in refusal(lambda: database.claim(1000).__enter__())
        assert "Slice 1000 is being worked on" in refusal(lambda: Database(path).claim(1000).__enter__())


def test_a_claim_is_of_one_slice_and_does_not_hold_the_file(database: Database) -> None:
    with database.claim(1000), database.claim(1015):
        assert not database.is_claimed(1001)
        assert database.get_next_vm_id() == 1017


def test_a_claim_ends_when_its_body_raises(database: Database) -> None:
    with pytest.raises(OSError, match="the body's own"), database.claim(1000):
        raise OSError("the body's own")
    assert not database.is_claimed(1000)


def test_a_lock_on_a_removed_file_excludes_no_process_and_is_not_taken(
    path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_lock = files._try_lock

    def late(descriptor: int, kind: int) -> bool:
        monkeypatch.setattr(files, "_try_lock", try_lock)
        path.with_name("database.yaml.slice-1000.lock").unlink()
        return try_lock(descriptor, kind)

    monkeypatch.setattr(files, "_try_lock", late)
    with database.claim(1000):
        assert "Slice 1000 is being worked on" in refusal(lambda: database.claim(1000).__enter__())


def count_up(path: Path, counter: Path) -> None:
    done = 0
    while done < ROUNDS:
        with ExitStack() as stack:
            try:
                stack.enter_context(Database(path).claim(1000))
            except Refused:
                continue
            number = int(counter.read_text())
            time.sleep(0.0005)
            counter.write_text(str(number + 1))
            done += 1


def ask_for_ever(path: Path) -> None:
    while True:
        Database(path).is_claimed(1000)


def test_a_claim_has_one_holder_though_its_file_comes_and_goes_and_others_ask(path: Path, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    asker = in_a_process(ask_for_ever, path)
    joined(*(in_a_process(count_up, path, counter) for _ in range(4)))
    asker.kill()
    asker.join(DEADLINE_S)
    assert counter.read_text() == str(4 * ROUNDS)


def test_a_slice_with_a_vm_can_be_added_and_removed(path: Path, database: Database) -> None:
    with database.transaction() as state:
        slice_ = Slice(1017, "student")
        slice_.vms = [VM(1018, "vm1", "student", "10.0.10.1", 5904, [Interface("eth0", mac="52:54:00:03:fa:00")])]
        state.slices[1017] = slice_
        state.users["student"].slices.append(1017)
        state.users["student"].used_vms += 1
    with Database(path).transaction() as state:
        del state.slices[1017]
        state.users["student"].slices.remove(1017)
        state.users["student"].used_vms -= 1
    assert list(database.load().slices) == [1000, 1015]
