"""`database.yaml` in pieces: only differences are read, only changes are written, and the meaning stays the same."""

from __future__ import annotations

import random
import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from allocation.holdings import Holdings
from core.errors import Refused
from core.inventory import Inventory, Worker
from database import Database
from models import VM, Slice, User
from orchestrator import OrchestratorAPI
from storage import comments, pieces, rules, schema, text, version
from storage.state import ENTRIES
from storage.text import Unreadable
from storage.version import Version
from tests.support import garbage
from tests.support.many import OWNERS, WillingHost, write_file
from tests.support.scale import scaled
from tests.unit.conftest import CLOUD
from tests.unit.menu.test_fuzz import SHARDS, inputs

SLICES = 99
FIRST = 1000
YAML: Any = sys.modules["yaml"]
WORK: dict[Any, list[str]] = {
    pieces: ["record_of"],
    version: ["record_of", "_written"],
    schema: ["equal"],
    rules: ["_check_slice", "_check_owner"],
    Holdings: ["of"],
    Slice: ["from_dict"],
    User: ["from_dict"],
    VM: ["to_dict"],
}
"""The work for a slice, user or VM that is read, and for a piece that is compared, checked or written."""

pytestmark = pytest.mark.torture


@pytest.fixture(scope="module")
def full_house(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a file with all possible slices but one."""
    path = tmp_path_factory.mktemp("full") / "database.yaml"
    furnish(path, SLICES)
    return path.read_bytes()


def furnish(path: Path, slices: int) -> None:
    """Write a file with this number of slices, and workers with room for more."""
    write_file(path, [2] * slices)
    with Database(path).transaction() as state:
        state.users[OWNERS[0]].quota_vms += 10
        state.inventory = replace(state.inventory, workers_list=Inventory().workers_list)
        state.workers = {address: Worker(10_000, 10_000.0, 100_000.0) for address in Inventory().workers_list}
        state.recount()


@pytest.fixture
def path(tmp_path: Path, full_house: bytes) -> Path:
    path = tmp_path / "database.yaml"
    path.write_bytes(full_house)
    path.chmod(0o600)
    return path


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the written pieces of the file, as `section` or `section.entry`."""
    pieces: list[str] = []
    write = text.written

    def noted(record: dict[str, Any]) -> str:
        ((section, value),) = record.items()
        pieces.append(f"{section}.{next(iter(value))}" if section in ENTRIES else section)
        return write(record)

    monkeypatch.setattr(text, "written", noted)
    return pieces


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the parsed texts."""
    texts: list[str] = []
    parse = YAML.parse

    def noted(whole: str, Loader: Any) -> Any:  # noqa: N803 - PyYAML's name
        texts.append(whole)
        return parse(whole, Loader)

    monkeypatch.setattr(YAML, "parse", noted)
    monkeypatch.setattr(YAML, "compose", pytest.fail)  # the slow second pass that finds lines is for refusals
    return texts


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the slices of which models are made."""
    ids: list[int] = []
    make = Slice.from_dict

    def noted(record: dict[str, Any]) -> Slice:
        ids.append(record["slice_id"])
        return make(record)

    monkeypatch.setattr(Slice, "from_dict", noted)
    return ids


def taken(notes: list[Any]) -> list[Any]:
    """Return the notes since the last call."""
    found = sorted(notes)
    notes.clear()
    return found


# --- What it costs, on any machine ------------------------------------------------------------------------------------


def test_a_change_among_99_slices_writes_its_own_piece_and_reads_no_other(
    path: Path, written: list[str], parsed: list[str], made: list[int]
) -> None:
    api = OrchestratorAPI(Database(path), lambda _address: WillingHost())
    parsed.clear()
    made.clear()
    user, both = f"users.{OWNERS[0]}", [f"workers.{address}" for address in Inventory().workers_list]
    _, slice_ = api.create_slice(OWNERS[0], "new")
    assert isinstance(slice_, Slice)
    number, mine = slice_.slice_id, f"slices.{slice_.slice_id}"
    assert taken(written) == sorted([mine, user, "next_vm_id"])
    vms = []
    for name in ("vm1", "vm2"):
        ok, vm = api.add_vm_to_slice(OWNERS[0], number, name, "cirros", 1)
        assert ok, vm
        assert not isinstance(vm, str)
        vms.append(vm)
        worker = f"workers.{vm.worker_ip}"
        assert taken(written) == sorted([mine, user, "next_vm_id", worker, mine])  # first pending, then in design
    assert api.create_link(OWNERS[0], number, vms[0].vm_id, "eth1", vms[1].vm_id, "eth1")[0]
    assert taken(written) == [mine]
    assert api.delete_slice(OWNERS[0], number)[0]
    assert taken(written) == sorted([mine, user, *both])
    assert parsed == []
    assert set(made) == {number}


def test_a_change_reads_as_much_among_99_slices_as_among_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: Counter[str] = Counter()

    def counted(module: Any, name: str) -> None:
        real = getattr(module, name)

        def look(*arguments: Any) -> Any:
            looks[f"{operation}: {name}"] += 1
            return real(*arguments)

        monkeypatch.setattr(module, name, look)

    for module, names in WORK.items():
        for name in names:
            counted(module, name)
    found = []
    for slices in (2, SLICES):
        operation = "write the file"
        path = tmp_path / f"{slices}.yaml"
        furnish(path, slices)
        api = OrchestratorAPI(Database(path), lambda _address: WillingHost())
        looks.clear()
        operation = "create slice"
        _, slice_ = api.create_slice(OWNERS[0], "new")
        assert isinstance(slice_, Slice)
        operation = "add VM"
        vms = [api.add_vm_to_slice(OWNERS[0], slice_.slice_id, name, "cirros", 1)[1] for name in ("vm1", "vm2")]
        one, two = (vm.vm_id for vm in vms if isinstance(vm, VM))
        operation = "create link"
        assert api.create_link(OWNERS[0], slice_.slice_id, one, "eth1", two, "eth1")[0]
        operation = "delete slice"
        assert api.delete_slice(OWNERS[0], slice_.slice_id)[0]
        found.append(dict(looks))
    assert found[0] == found[1]
    assert all(name in {look.partition(": ")[2] for look in looks} for names in WORK.values() for name in names)


def test_a_file_is_read_once_and_then_only_the_changes_of_others(
    path: Path, parsed: list[str], made: list[int]
) -> None:
    ours, theirs = Database(path), Database(path)
    ours.load()
    assert sum(map(len, parsed)) < path.stat().st_size
    assert len(set(parsed)) == len(parsed) > SLICES
    assert taken(made) == sorted(ours.load().slices)
    theirs.load()
    parsed.clear()
    made.clear()
    with theirs.transaction() as state:
        state.slices[FIRST].name = "another"
    assert taken(made) == [FIRST]
    theirs.load()
    assert parsed == []
    assert ours.load().next_vm_id
    assert len(parsed) == 1
    assert parsed[0].startswith(f"  '{FIRST}':\n")
    assert made == [FIRST]
    assert ours.load().slices[FIRST].name == "another"


def test_a_file_in_another_layout_is_written_in_ours_once(path: Path, written: list[str], good: list[str]) -> None:
    path.write_text(good[0])
    database = Database(path)
    database.get_next_vm_id()
    assert len(taken(written)) > 10
    Database(path).get_next_vm_id()
    assert taken(written) == ["next_vm_id"]


# --- What it means ----------------------------------------------------------------------------------------------------


def test_pieces_written_by_hand_stay_until_they_are_changed(path: Path) -> None:
    by_hand = CLOUD.replace("    quota_vms: 10\n", "    quota_vms:   10  # for now\n", 1)
    assert by_hand != CLOUD
    path.write_text(by_hand)
    Database(path).get_next_vm_id()
    assert "    quota_vms:   10  # for now\n" in path.read_text()
    section = "in_use:\n(?:  .*\n)+"
    assert len(re.sub(section, "", path.read_text()).splitlines()) == len(CLOUD.splitlines())
    with Database(path).transaction() as state:
        state.users["admin"].quota_vms += 1
    assert "    quota_vms: 11\n" in path.read_text()


def test_entries_are_written_in_the_order_in_which_they_came(path: Path) -> None:
    path.write_text(CLOUD)
    database = Database(path)
    before = list(database.load().users)
    names = [f"new{number}" for number in range(20)]
    with database.transaction() as state:
        for name in names:
            state.users[name] = User(name, "a" * 64)
        del state.users[names[3]]
    assert list(database.load().users) == list(Database(path).load().users) == [*before, *names[:3], *names[4:]]
    assert re.findall(r"^  (new\d+):", path.read_text(), re.MULTILINE) == names[:3] + names[4:]


def test_a_piece_deleted_and_put_back_is_no_change(path: Path) -> None:
    path.write_text(CLOUD)
    database = Database(path)
    with database.transaction() as state:
        slice_, user = state.slices.pop(1015), state.users.pop("admin")
        assert 1015 not in state.slices
        assert state.slices.held(1015) is None
        state.slices[1015], state.users["admin"] = slice_, user
    assert path.read_text() == CLOUD


def test_a_changed_internet_network_is_held_against_every_slice(path: Path) -> None:
    path.write_text(CLOUD)
    database = Database(path)
    assert database.load().slices[1000].vms[0].interfaces[0].ip_config
    path.write_text(
        CLOUD.replace("10.60.7.0/24, gateway: 10.60.7.1, uplink", "10.61.7.0/24, gateway: 10.61.7.1, uplink")
    )
    with pytest.raises(Refused, match=r"10\.60\.7\.\d+ is not in the internet network 10\.61\.7\.0/24"):
        database.load()


def test_an_internet_network_that_is_gone_is_held_against_every_slice(path: Path) -> None:
    """Remove the section: the default counts."""
    cloud = CLOUD.replace("10.60.7", "10.61.7")
    path.write_text(cloud)
    database = Database(path)
    assert database.load().slices[1000].vms[0].interfaces[0].ip_config
    path.write_text(re.sub(r"^internet:.*\n(?: .*\n)*", "", cloud, flags=re.MULTILINE))
    with pytest.raises(Refused, match=r"10\.61\.7\.\d+ is not in the internet network 10\.60\.7\.0/24"):
        database.load()


def test_a_flavor_of_imports_that_is_not_there_is_refused_by_an_open_session(path: Path) -> None:
    path.write_text(CLOUD)
    database = Database(path)
    database.load()
    path.write_text(f"{CLOUD}import: {{default: ghost}}\n")
    with pytest.raises(Refused, match=r'import\.default: there is no flavor "ghost"'):
        database.load()


@pytest.mark.parametrize("ghost", [f"ghost{number}" for number in range(2)])
def test_a_missing_owner_is_named_before_users_who_lack_slices(path: Path, ghost: str) -> None:
    path.write_text(CLOUD)
    with (
        pytest.raises(Refused, match=f'slices.1000.owner: there is no user "{ghost}"'),
        Database(path).transaction() as state,
    ):
        state.slices[1000].owner = ghost


def same_id(vm: VM, other: VM) -> None:
    vm.vm_id = other.vm_id


def same_port(vm: VM, other: VM) -> None:
    vm.vnc_port = other.vnc_port


def same_mac(vm: VM, other: VM) -> None:
    vm.interfaces[0].mac = other.interfaces[0].mac


def same_address(vm: VM, other: VM) -> None:
    assert vm.interfaces[0].ip_config != other.interfaces[0].ip_config
    vm.interfaces[0].ip_config = other.interfaces[0].ip_config


@pytest.mark.parametrize(
    ("clash", "sentence"),
    [
        (same_id, "slices.1015.vms.0.vm_id: id 1001 belongs to VM 1001 of slice 1000 already"),
        (same_port, "slices.1015.vms.0.vnc_port: VNC port 5901 belongs to VM 1001 already"),
        (same_mac, "slices.1015.vms.0.interfaces.0.mac: MAC 52:54:00:03:e9:00 belongs to VM 1001 eth0 already"),
        (same_address, "vms.0.interfaces.0.ip_config.ip: address 10.60.7.101 belongs to VM 1001 eth0 already"),
    ],
)
def test_resources_of_an_unread_slice_are_refused(path: Path, clash: Callable[[VM, VM], None], sentence: str) -> None:
    path.write_text(CLOUD)
    database = Database(path)
    other = database.load().slices[1000].vms[0]
    with pytest.raises(Refused, match=re.escape(sentence)), database.transaction() as state:
        clash(state.slices[1015].vms[0], other)
    assert path.read_text() == CLOUD


def read(content: bytes, known: Version | None) -> Any:
    """Return the content of a file, or place and reason of its refusal; its comments are ignored."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comments, "require_kept", lambda *_: None)
        try:
            return Version.read(content, known).state().to_dict()
        except Unreadable as fault:
            return fault.line, str(fault)


def read_whole(content: bytes) -> Any:
    """Return the same without pieces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(version, "_cut", lambda _: iter([("", False, "")]))
        return read(content, None)


@pytest.mark.parametrize("section", ENTRIES)
def test_a_section_that_says_nothing_is_refused(section: str) -> None:
    lines = CLOUD.splitlines(keepends=True)
    at = lines.index(f"{section}:\n")
    end = next(n for n in range(at + 1, len(lines)) if not lines[n].startswith(" "))
    content = "".join([*lines[: at + 1], *lines[end:]]).encode()
    assert read(content, None) == (at + 1, f"{section}: must be a mapping, not nothing")


CUTS = (
    *(
        "\n...\n",
        "\n---\n",
        "\n%YAML 1.1\n",
        "\n'a': 1\n",
        "\n  b: 2\n",
        "\n  '1000':\n",
        "\nusers:\n",
        "\nusers: {}\n",
    ),
    *(
        "\nslices:\n",
        "\nslices: {}\n",
        "\n# x\n",
        "\n  # x\n",
        "\r",
        "\x85",
        "\u2028",
        "\ufeff",
        "\t",
        "'",
        '"',
        "|",
        "|+\n",
    ),
    *("> \n", "{", "}", "[", "]", "&a ", "*a", "!t ", "? ", ": ", "\n ", "\n\n", "\n- ", "\n  - ", ",\n  "),
)


def mangled(whole: str, chance: random.Random) -> bytes:
    """Return a good file with an insertion that may change its pieces, or with moved lines."""
    for _ in range(chance.choice([1, 1, 2, 3])):
        if chance.random() < 0.6:
            at = chance.randrange(len(whole) + 1)
            if chance.random() < 0.7:
                at = whole.find("\n", at) + chance.choice([0, 1, 3])
            whole = whole[:at] + chance.choice(CUTS) + whole[at + chance.choice([0, 0, 0, 1, 2]) :]
        else:
            lines = whole.splitlines(keepends=True)
            begin, end = sorted(chance.choices(range(len(lines) + 1), k=2))
            block = lines[begin:end]
            del lines[begin:end]
            to = chance.randrange(len(lines) + 1)
            whole = "".join([*lines[:to], *block * chance.choice([0, 1, 1, 2]), *lines[to:]])
    return whole.encode()


@pytest.mark.parametrize("shard", range(SHARDS))
def test_whatever_is_in_the_file_is_read_in_pieces_as_in_one(shard: int, good: list[str]) -> None:
    by_hand = Version.read(CLOUD.encode())
    state = by_hand.state()
    state.slices[1015].left = []
    saved = by_hand.after(state)
    for name, chance in inputs("pieces", shard, scaled(150, 10_000)):
        content = (
            mangled(chance.choice((by_hand, saved)).content.decode(), chance)
            if chance.random() < 0.7
            else garbage.content(chance, good)
        )
        try:
            assert read(content, chance.choice((None, by_hand, saved))) == read_whole(content)
        except BaseException as error:
            error.add_note(f"{name}: {content!r}")
            raise


REMARKS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), max_size=3)


@given(st.data())
@settings(deadline=None, max_examples=scaled(60, 2000))
def test_a_file_written_in_pieces_has_the_intended_content(data: st.DataObject) -> None:
    known = Version.read(CLOUD.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        state = known.state()
        for slice_id in data.draw(st.lists(st.sampled_from(sorted(state.slices)), unique=True)):
            state.slices[slice_id].left = data.draw(REMARKS)
        if data.draw(st.booleans()):
            name = data.draw(st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True))
            state.users.setdefault(name, User(name, "a" * 64))
        if data.draw(st.booleans()):
            state.users = {n: user for n, user in state.users.items() if user.slices}
        state.workers["10.0.10.1"].problem = data.draw(st.sampled_from(["", "# no comment", "a: b", "'", "- x"]))
        state.next_vm_id += data.draw(st.integers(0, 1))
        state.note_in_use()
        meant = state.to_dict()
        known = known.after(state)
        again = Version.read(known.content)
        assert again.state().to_dict() == known.state().to_dict() == meant
        assert read_whole(known.content) == meant
        assert again.after(state) is again
