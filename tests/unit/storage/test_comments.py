"""The operator's comments in `database.yaml`: they survive every change, or the file is refused with their line."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import Refused
from database import Database
from models import User
from orchestrator import OrchestratorAPI
from storage import comments, text
from storage.state import State
from storage.version import Version
from tests.support.many import WillingHost
from tests.support.paths import ROOT
from tests.support.scale import scaled
from tests.unit.conftest import CLOUD

SHIPPED = (ROOT / "database.yaml").read_text()

COMMENTED = """\
# The cloud of room 12
# (ask Ana)

workers_list: [10.0.10.1, 10.0.10.2]  # both in the rack
# The node is the old server.
network_node: 10.0.10.3

ssh:
  user: ubuntu  # no root
  # the key is on the stick
  key_file: ~/.ssh/id_ed25519
flavors:  # sizes
  # for routers
  small: {cores: 1, ram_gb: 0.25, disk_gb: 1, image: /srv/small.img}  # 256 MB
users:  # people
  # teachers
  admin:  # Ana
    username: admin
    # her own one
    password_hash: "8c6976e5b5410415bde908bd4dee15dfb167a9c873fc4bb8a81f6f2ab448a918"
    quota_vms: 10  # as agreed
    role: admin
  # students
  student:
    username: student
    password_hash: "264c8c381bf16c982a4e59b0dd4c6f7808c51a05f64c35db42cc78a2a72875bb"
    quota_vms: 6
    slices: []
    # no others
# by the program:
workers: {}  # filled by discovery
# one entry for each slice
slices: {}
# the counters
next_vm_id: 1000
next_vlan_id: 100
# the end
"""


def notes_of(content: str) -> list[str]:
    """Return all comments of a file, in their order."""
    return [content[begin:end].rstrip("\r") for begin, end in text.comments(content)]


def change(path: Path) -> None:
    """Design a slice with a VM, as two users do, and delete it; change, add and remove users."""
    with Database(path).transaction() as state:
        state.users["admin"].quota_vms = 20
        state.users["bob"] = User("bob", "a" * 64)
    api = OrchestratorAPI(Database(path), lambda _address: WillingHost())
    ok, slice_ = api.create_slice("student", "lab")
    assert ok, slice_
    with Database(path).transaction() as state:
        state.users["student"].quota_vms = 9
        state.next_vm_id += 5
    number = Database(path).load().users["student"].slices[0]
    assert api.delete_slice("student", number)[0]
    with Database(path).transaction() as state:
        del state.users["bob"]


def crlf(content: str) -> str:
    return content.replace("\n", "\r\n")


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "Windows": crlf,
    "a first line ---": lambda content: f"---\n{content}",
    "a first line --- with a comment": lambda content: f"--- # begin\n{content}",
    "--- after the comment": lambda content: content.replace("\nworkers_list", "\n---\nworkers_list", 1),
    "a last line ...": lambda content: f"{content}...\n",
    "a last line ... and more": lambda content: f"{content}... # end\n\n# after it\n",
    "both, for Windows": lambda content: crlf(f"--- # begin\n{content}...\n# after it\n"),
    "a mark of the byte order": lambda content: f"\ufeff{content}",
    "no end of the last line": lambda content: content.rstrip("\n"),
    "a counter at the end of the file": lambda content: content.removesuffix("# the end\n").rstrip("\n"),
    "tabs before comments": lambda content: re.sub(r"(?<=\S) +#", "\t#", content),
    "entries by four": lambda content: re.sub(
        r"(?m)^(flavors|users):.*\n(?:  .*\n)*", lambda m: re.sub("(?m)^  ", "    ", m[0]), content
    ),
    "the order of a hand": lambda content: content.replace("next_vlan_id: 100\n", "").replace(
        "\nworkers_list", "\nnext_vlan_id: 100  # old\nworkers_list"
    ),
    "ends of one kind each": lambda content: content.replace("\n", "\r\n", 3),
    "a default in words": lambda content: content.replace(
        "flavors:", "# at the first login\nlogin: {shipped_passwords: change}  # the default\nflavors:"
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_all_comments_survive_all_changes(tmp_path: Path, form: str) -> None:
    path = tmp_path / "database.yaml"
    before = FORMS[form](COMMENTED)
    path.write_bytes(before.encode())
    expected = notes_of(before)
    assert len(expected) >= 20
    change(path)
    after = path.read_bytes().decode()
    lost = set(expected) - set(notes_of(after))
    assert lost == {"# as agreed"}  # beside a value that was changed
    assert len(notes_of(after)) == len(expected) - 1
    users = Database(path).load().users
    assert {name: user.quota_vms for name, user in users.items()} == {"admin": 20, "student": 9}
    if form != "ends of one kind each":
        assert ("\r" in after) == ("\r" in before)
        assert "\r" not in after.replace("\r\n", "")


def test_comments_stay_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "database.yaml"
    path.write_text(COMMENTED)
    change(path)
    after = path.read_text()
    for piece in (
        "# (ask Ana)\n\nworkers_list: [10.0.10.1, 10.0.10.2]  # both in the rack\n# The node is",
        "  user: ubuntu  # no root\n  # the key is on the stick\n",
        "users:  # people\n  # teachers\n  admin:  # Ana\n    username: admin\n    # her own one\n    password_hash: ",
        "    role: admin\n  # students\n  student:\n",
        "    # no others\n# by the program:\nworkers: {}  # filled by discovery\n",
        "workers: {}  # filled by discovery\n# one entry for each slice\nslices: {}\n",
        "# the counters\nnext_vm_id: 1006\nnext_vlan_id: 100\n# the end\n",
    ):
        assert piece in after


def test_comments_of_a_section_stay_when_it_gets_entries_and_loses_them(tmp_path: Path) -> None:
    path = tmp_path / "database.yaml"
    path.write_text(COMMENTED)
    api = OrchestratorAPI(Database(path), lambda _address: WillingHost())
    ok, slice_ = api.create_slice("student", "lab")
    assert ok, slice_
    filled = path.read_text()
    assert "# one entry for each slice\nslices:\n  '1000':\n" in filled
    assert "    name: lab\n# the counters\nnext_vm_id: 1001\n" in filled
    assert api.delete_slice("student", 1000)[0]
    assert path.read_text().partition("workers:")[2] == COMMENTED.partition("workers:")[2].replace("1000", "1001")


def test_a_comment_behind_an_entry_that_is_removed_stays(tmp_path: Path) -> None:
    path = tmp_path / "database.yaml"
    path.write_text(COMMENTED)
    with Database(path).transaction() as state:
        del state.users["admin"]
    assert "users:  # people\n  # teachers\n  # students\n  student:\n" in path.read_text()
    with Database(path).transaction() as state:
        state.users["admin"] = User("admin", "a" * 64)
        del state.users["student"]
    assert "  # students\n    # no others\n# by the program:\n  admin:\n" in path.read_text()


def test_a_line_of_a_text_is_no_comment() -> None:
    piece = "  '1000':\n    left:\n    - |\n      a\n      # b\n"
    assert comments.tail(piece) == ""
    assert comments.tail(f"{piece}\n    # c\n\n") == ""  # the blank line belongs to the text, so all that follows stays
    assert comments.tail("  a: '# b'\n  # c\n") == "  # c\n"
    assert comments.tail("  a: 1  # b\n\n") == "\n"


@pytest.mark.parametrize(
    ("old", "fresh", "wanted"),
    [
        ("a: 1  # x\n", "a: 2\n", "a: 2\n"),
        ("a: 1  # x\n", "a: 1\n", "a: 1  # x\n"),
        ("a: [1,  # x\n  2]  # y\n# z\n", "a: [1, 2, 3]\n", "a: [1, 2, 3]\n  # y\n# z\n"),
        ("  u: {a: 1}  # x\n", "  u:\n    a: 1\n", "  u:\n    a: 1\n"),
        ("  u:  # x\n    a: 1\n", "  u: {a: 1}\n", "  u: {a: 1}\n"),
        ("  u:  # x\n    a: 1  # y\n", "  u:\n    b: 1\n", "  u:  # x\n    b: 1\n  # y\n"),
        ("  u:\n    # x\n    a: '#'\n", "  u:\n    a: '#'\n    b: 1\n", "  u:\n    # x\n    a: '#'\n    b: 1\n"),
        (
            "  u:\n  - a: 1  # x\n  - a: 1  # y\n",
            "  u:\n  - a: 1\n  - a: 1\n",
            "  u:\n  - a: 1\n  - a: 1\n  # x\n  # y\n",
        ),
        ("u:\n- a: 1\n# x\n- a: 1\nb: 1\n", "u:\n- a: 1\nb: 1\n", "u:\n- a: 1\n# x\nb: 1\n"),
        ("  u: # x\r\n    a: 1\r\n", "  u:\r\n    a: 2\r\n", "  u:  # x\r\n    a: 2\r\n"),
        ("  u: | # x\n    # a\n", "  u: '# b'\n", "  u: '# b'\n"),
    ],
)
def test_comments_are_carried_to_their_keys(old: str, fresh: str, wanted: str) -> None:
    assert comments.carried(old, fresh) == wanted


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("{users: {}}  # one\n", 1),
        ("# top\nusers: {a: {username: a, password_hash: HASH}}  # inside\n", 2),
        ("# top\n%YAML 1.1\n---\n# below\nusers: {}\n", 4),
        ("# top\n  users: {}\n  # indented\n", 3),
        ("'users': {}\n# quoted\n", 2),
        ("users: {}\nnext_vm_id: 1000 # a\x85next_vlan_id: 100\n", 2),
        ("users:\n  ? a\n  : {username: a, password_hash: HASH} # asked\n", 3),
        ("users: {}\rnext_vm_id: 1000\r# Macintosh\r", 3),
        ("users: {}\n\u2028# odd\n", 3),
    ],
)
def test_a_form_that_would_lose_a_comment_is_refused_with_its_line(tmp_path: Path, content: str, line: int) -> None:
    path = tmp_path / "database.yaml"
    path.write_bytes(content.replace("HASH", "a" * 64).encode())
    before = path.read_bytes()
    with pytest.raises(Refused) as caught:
        Database(path).load()
    assert str(caught.value) == (
        f"{path}, line {line}: a comment here would be lost at the next change, as this part is not laid out like the "
        "shipped file: lay it out so, or remove the comment"
    )
    assert path.read_bytes() == before
    (note,) = [note for note in notes_of(before.decode()) if note != "# top"]
    path.write_bytes(before.replace(note.encode(), b""))
    assert Database(path).get_next_vm_id() == 1000  # without it the form is as good as before
    assert Database(path).get_next_vm_id() == 1001


def test_the_shipped_file_keeps_the_promises_of_its_header(tmp_path: Path) -> None:
    path = tmp_path / "database.yaml"
    path.write_text(SHIPPED)
    change(path)
    assert path.read_text().startswith(SHIPPED.partition("workers_list")[0])
    assert notes_of(path.read_text()) == notes_of(SHIPPED)


def test_comments_between_all_lines_survive(tmp_path: Path) -> None:
    """Put a comment at each possible place, and make a change."""
    lines = COMMENTED.splitlines(keepends=True)
    known = notes_of(COMMENTED)
    path = tmp_path / "database.yaml"
    for at in range(len(lines) + 1):
        path.write_text("".join([*lines[:at], "  # new\n", *lines[at:]]))
        state = Database(path).load()
        assert set(state.users) == {"admin", "student"}
        with Database(path).transaction() as state:
            state.users["admin"].used_vms = 0
            state.users["student"].quota_vms += 1
            state.next_vm_id += 1
        assert sorted(notes_of(path.read_text())) == sorted([*known, "# new"]), at


def test_a_file_without_other_comments_is_read_in_any_form(path: Path) -> None:
    assert Version.read(CLOUD.encode()).state().next_vm_id == 1017
    assert path.exists()


# --- Any comments, any changes ----------------------------------------------------------------------------------------


def commented(chance: random.Random) -> str:
    """Return a good file with comments anywhere, each with its own text, in some form."""
    lines, numbers = [], itertools.count()
    for line in CLOUD.split("\n"):
        if chance.random() < 0.12:
            lines.append(f"{' ' * chance.choice([0, 0, 2, 4, 6])}# n{next(numbers)}")
        beside = line and not line.startswith("#") and chance.random() < 0.12
        lines.append(f"{line}{chance.choice(['  ', ' ', chr(9)])}# n{next(numbers)}" if beside else line)
    content = chance.choice(["", "", "---\n"]) + "\n".join(lines) + chance.choice(["", "", "...\n"])
    content = content.rstrip("\n") if chance.random() < 0.2 else content
    return crlf(content) if chance.random() < 0.3 else content


def changed(state: State, chance: random.Random) -> None:
    """Change the state like the program."""
    match chance.randrange(7):
        case 0:
            state.users["admin"].quota_vms += 1
        case 1:
            state.slices[1000].name = chance.choice(["x", "yy"])
        case 2:
            state.slices[1015].left = ["a", "b # c"]
        case 3:
            state.next_vm_id += 1
        case 4:
            state.workers["10.0.10.1"].problem = chance.choice(["", "x # y"])
        case 5:
            state.users[f"new{state.next_vm_id}"] = User(f"new{state.next_vm_id}", "a" * 64)
        case 6:
            for vm in state.slices[1000].vms:
                vm.pid = "77"


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(scaled(30, 1000)))
def test_no_change_loses_a_comment_except_after_a_changed_value(seed: int) -> None:
    chance = random.Random(seed)
    before = commented(chance)
    version = Version.read(before.encode())
    for _ in range(chance.randint(1, 4)):
        state = version.state()
        changed(state, chance)
        state.note_in_use()
        meant = state.to_dict()
        version = version.after(state)
        assert Version.read(version.content).state().to_dict() == meant
    after = version.content.decode()
    lost = set(notes_of(before)) - set(notes_of(after))
    alone = {line.strip() for line in before.splitlines() if line.strip().startswith("#")}
    assert not lost & alone
    assert len(notes_of(after)) == len(notes_of(before)) - len(lost)
    assert len(lost) <= 6
    assert "\r" not in before or "\n" not in after.replace("\r\n", "")
