"""The bound of slices per user: one user cannot take all pools of VLANs, and a deletion frees a pool."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from accounts.accounts import Accounts
from core.errors import FileFault, Refused
from core.inventory import LoginSettings
from core.status import SliceStatus
from database import Database
from models import ADMIN, POOL_COUNT, User
from tests.support.desk import Desk
from tests.support.paths import ROOT

SENTENCE = (
    "Slice quota exceeded: {} slices, and {} are allowed; delete a slice first (one in deleting counts until it is "
    "gone), or ask the operator for more"
)
ONE = SENTENCE.format("you have 1", 1).replace("1 slices, and 1 are", "1 slice, and 1 is")


def fill(desk: Desk, owner: str = "student", count: int = 4) -> None:
    for number in range(count):
        desk.ok(desk.api.create_slice(owner, f"s{number}"))


def test_a_student_who_creates_98_slices_gets_four_and_the_next_user_gets_one(desk: Desk) -> None:
    answers = [desk.api.create_slice("student", "greedy") for _ in range(98)]
    assert [done for done, _ in answers] == [True] * 4 + [False] * 94
    assert {value for done, value in answers if not done} == {SENTENCE.format("you have 4", 4)}
    assert desk.ok(desk.api.create_slice("admin", "mine")).slice_id == 1004  # no id was spent by the refusals


def test_many_sessions_at_once_get_no_more(desk: Desk) -> None:
    def create(_: int) -> bool:
        with desk.database.transaction() as state:  # the lock of the file is what makes the count exact
            assert len(state.users["student"].slices) <= 4
        return desk.api.create_slice("student", "greedy")[0]

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(40))) == 4


def test_deleting_frees_one_and_a_slice_that_is_not_all_gone_counts(desk: Desk) -> None:
    fill(desk)
    desk.ok(desk.api.delete_slice("student", 1000))
    assert desk.ok(desk.api.create_slice("student", "again")).slice_id == 1004
    with desk.database.transaction() as state:
        state.slices[1001].status = SliceStatus.DELETING
    assert desk.no(desk.api.create_slice("student", "fifth")) == SENTENCE.format("you have 4", 4)
    desk.ok(desk.api.finish_slice("student", 1001))
    desk.ok(desk.api.create_slice("student", "fifth"))


def test_an_admin_has_20_and_a_value_of_the_users_own_comes_first(desk: Desk) -> None:
    accounts = desk.api.accounts
    accounts.set_role("admin", ADMIN)
    fill(desk, "admin", 20)
    assert desk.no(desk.api.create_slice("admin", "x")) == SENTENCE.format("you have 20", 20)
    accounts.set_slices("student", 1)
    fill(desk, count=1)
    assert desk.no(desk.api.create_slice("student", "x")) == ONE
    accounts.set_slices("student", 2)
    fill(desk, count=1)
    accounts.set_slices("student", 0)
    assert desk.no(desk.api.create_slice("student", "x")) == SENTENCE.format("you have 2", 0)
    accounts.set_slices("student", None)
    fill(desk, count=2)
    assert desk.ok(desk.api.most_slices("student")) == accounts.most_slices("student") == 4


def test_the_file_says_how_many_a_student_has(desk: Desk) -> None:
    desk.path.write_text(desk.path.read_text() + "login: {slices: 2}\n")
    fill(desk, count=2)
    assert desk.no(desk.api.create_slice("student", "x")) == SENTENCE.format("you have 2", 2)
    assert desk.database.load().inventory.login.slices == 2


@pytest.mark.parametrize(
    ("role", "own", "setting", "most"),
    [
        ("student", None, 4, 4),
        ("student", None, 0, 0),
        ("student", 9, 4, 9),
        (ADMIN, None, 4, 20),
        (ADMIN, None, 50, 50),
        (ADMIN, 0, 4, 0),
    ],
)
def test_how_many_a_user_may_have(role: str, own: int | None, setting: int, most: int) -> None:
    user = User("ann", "", role=role)
    user.quota_slices = own
    assert User.from_dict(user.to_dict()).most_slices(LoginSettings(slices=setting)) == most
    assert ("quota_slices" in user.to_dict()) == (own is not None)


def test_an_older_file_is_read_and_slices_above_the_quota_stay(desk: Desk) -> None:
    desk.api.accounts.set_slices("student", POOL_COUNT)
    fill(desk, count=9)
    record = yaml.safe_load(desk.path.read_text())
    del record["users"]["student"]["quota_slices"]
    desk.path.write_text(yaml.safe_dump(record))
    assert len(desk.ok(desk.api.list_slices("student"))) == 9
    assert desk.no(desk.api.create_slice("student", "x")) == SENTENCE.format("you have 9", 4)
    desk.ok(desk.api.add_vm_to_slice("student", 1008, "vm", "cirros"))
    for slice_id in range(1000, 1006):
        desk.ok(desk.api.delete_slice("student", slice_id))
    fill(desk, count=1)


def test_the_shipped_file_is_not_changed_by_the_new_settings(tmp_path: Path) -> None:
    path = tmp_path / "database.yaml"
    path.write_text((ROOT / "database.yaml").read_text())
    Accounts(Database(path)).set_slices("student", 7)
    Accounts(Database(path)).set_slices("student", None)
    assert yaml.safe_load(path.read_text()) == yaml.safe_load((ROOT / "database.yaml").read_text())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("login: {slices: 101}", "login.slices: must be a whole number from 0 to 100, not 101"),
        ("login: {slices: four}", 'login.slices: must be a whole number from 0 to 100, not "four"'),
        ("login: {slice: 4}", 'login: unknown key "slice"'),
    ],
)
def test_a_wrong_setting_is_refused_with_its_line(desk: Desk, text: str, sentence: str) -> None:
    before = desk.path.read_text()
    desk.path.write_text(f"{before}{text}\n")
    line = before.count("\n") + 1
    with pytest.raises(FileFault, match=rf"line {line}: {sentence}"):
        desk.database.load()


@pytest.mark.parametrize("count", [-1, 101])
def test_a_number_out_of_range_is_refused(desk: Desk, count: int) -> None:
    with pytest.raises(Refused, match="A user may have 0 to 100 slices"):
        desk.api.accounts.set_slices("student", count)
