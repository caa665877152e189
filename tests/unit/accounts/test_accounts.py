"""Authentication, and an operator's changes of users."""

from __future__ import annotations

import hashlib
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from accounts.accounts import Accounts
from core import passwords
from core.errors import Refused
from database import Database
from models import ADMIN, STUDENT, User
from tests.support.paths import DATA, ROOT


@pytest.fixture
def database(tmp_path: Path) -> Database:
    path = tmp_path / "database.yaml"
    shutil.copy(DATA / "cloud.yaml", path)
    return Database(path)


@pytest.fixture
def accounts(database: Database) -> Accounts:
    return Accounts(database)


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(Refused) as caught:
        action()
    return str(caught.value)


def test_the_right_password_gives_the_user(accounts: Accounts) -> None:
    user = accounts.authenticate("student", "student")
    assert (user.username, user.quota_vms, user.used_vms, user.slices) == ("student", 6, 1, [1015])


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("admin", "Admin"),
        ("admin", ""),
        ("admin", "student"),
        ("admin", "x" * 1_000_000),
        ("ghost", "admin"),
        ("", ""),
        ("ADMIN", "admin"),
        ("admin\n", "admin"),
        ("../admin", "admin"),
        ("\udce9", "\udce9"),
    ],
)
def test_a_wrong_name_and_a_wrong_password_get_the_same_answer(
    database: Database, accounts: Accounts, username: str, password: str
) -> None:
    before = database.path.read_bytes()
    assert refusal(lambda: accounts.authenticate(username, password)) == "Wrong user name or password"
    assert database.path.read_bytes() == before


def test_a_password_is_the_same_on_every_keyboard(database: Database, accounts: Accounts) -> None:
    """Use both forms of an accent: with its letter (NFC) and alone (NFD)."""
    composed = "contrase\u00f1a"
    decomposed = unicodedata.normalize("NFD", composed)
    for kept in (composed, decomposed):
        accounts.set_password("student", kept)
        for typed in (composed, decomposed):
            assert accounts.authenticate("student", typed).username == "student"
    assert refusal(lambda: accounts.change_password("student", composed, decomposed)).startswith(
        "This is your password"
    )
    with database.transaction() as state:  # in the form of an older version
        state.users["student"].password_hash = hashlib.sha256(decomposed.encode()).hexdigest()
    assert refusal(lambda: accounts.authenticate("student", composed)) == "Wrong user name or password"
    accounts.authenticate("student", decomposed)
    assert accounts.authenticate("student", composed).username == "student"


@pytest.mark.usefixtures("real_cost")
@pytest.mark.parametrize("username", ["admin", "ghost"])
def test_a_wrong_name_costs_as_much_as_a_wrong_password(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch, username: str
) -> None:
    costs: list[int] = []
    derive = passwords._derive

    def counted(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
        costs.append(n * r * p)
        return derive(password, salt, n, r, p)

    monkeypatch.setattr(passwords, "_derive", counted)
    refusal(lambda: accounts.authenticate(username, "wrong"))
    assert costs == [16_384 * 8]


def test_an_old_digest_is_replaced_at_the_first_login_and_only_then(database: Database, accounts: Accounts) -> None:
    accounts.authenticate("admin", "admin")
    stored = database.load().users["admin"].password_hash
    assert stored.startswith("scrypt$")
    accounts.authenticate("admin", "admin")
    assert database.load().users["admin"].password_hash == stored
    assert not database.load().users["student"].password_hash.startswith("scrypt$")


def test_a_login_works_while_the_new_digest_cannot_be_saved(
    database: Database, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Refused("the disk is full")

    before = database.path.read_bytes()
    monkeypatch.setattr(database, "_save", full)
    assert accounts.authenticate("admin", "admin").username == "admin"
    assert database.path.read_bytes() == before


def test_a_password_changed_during_a_login_is_not_changed_back(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash_password = passwords.hash_password

    def slow(password: str) -> str:
        monkeypatch.setattr(passwords, "hash_password", hash_password)
        accounts.set_password("admin", "a new password")
        return hash_password(password)

    monkeypatch.setattr(passwords, "hash_password", slow)
    accounts.authenticate("admin", "admin")
    accounts.authenticate("admin", "a new password")
    assert "Wrong" in refusal(lambda: accounts.authenticate("admin", "admin"))


def test_a_user_removed_during_a_login_stays_removed(
    database: Database, accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts.add("guest", "long enough")
    with database.transaction() as state:
        state.users["guest"].password_hash = "0" * 64

    def removed_meanwhile(_stored: str, _password: str) -> bool:
        accounts.remove("guest")
        return True

    monkeypatch.setattr(passwords, "verify", removed_meanwhile)
    accounts.authenticate("guest", "long enough")
    assert "guest" not in database.load().users


def test_an_added_user_can_log_in_and_owns_nothing(accounts: Accounts) -> None:
    accounts.add("guest_1", "long enough", 3)
    user = accounts.authenticate("guest_1", "long enough")
    assert (user.quota_vms, user.used_vms, user.slices) == (3, 0, [])


def test_the_documented_default_quota_is_10(database: Database, accounts: Accounts) -> None:
    accounts.add("guest", "long enough")
    assert database.load().users["guest"].quota_vms == 10


@pytest.mark.parametrize(
    ("username", "password", "quota", "sentence"),
    [
        ("admin", "long enough", 10, "There is a user admin already"),
        ("", "long enough", 10, "A user name has 1 to 32 letters, digits, hyphens and underscores"),
        ("a b", "long enough", 10, "A user name has 1 to 32 letters, digits, hyphens and underscores"),
        ("a" * 33, "long enough", 10, "A user name has 1 to 32 letters, digits, hyphens and underscores"),
        ("guest\n", "long enough", 10, "A user name has 1 to 32 letters, digits, hyphens and underscores"),
        ("guest", "1234567", 10, "A password has 8 to 256 characters"),
        ("guest", "x" * 257, 10, "A password has 8 to 256 characters"),
        ("guest", "long enough", -1, "A quota is a number of VMs from 0 to 10000"),
        ("guest", "long enough", 10_001, "A quota is a number of VMs from 0 to 10000"),
    ],
)
def test_a_user_who_breaks_a_rule_is_not_added(
    database: Database, accounts: Accounts, username: str, password: str, quota: int, sentence: str
) -> None:
    before = database.path.read_bytes()
    assert refusal(lambda: accounts.add(username, password, quota)) == sentence
    assert database.path.read_bytes() == before


def test_a_new_password_takes_the_place_of_the_old_one(accounts: Accounts) -> None:
    accounts.set_password("admin", "another one")
    accounts.authenticate("admin", "another one")
    assert "Wrong" in refusal(lambda: accounts.authenticate("admin", "admin"))


def test_a_new_password_that_is_too_short_changes_nothing(accounts: Accounts) -> None:
    assert refusal(lambda: accounts.set_password("admin", "short")) == "A password has 8 to 256 characters"
    accounts.authenticate("admin", "admin")


@pytest.mark.parametrize("quota", [0, 1, 10_000])
def test_a_quota_may_be_smaller_than_what_is_in_use_and_then_allows_no_new_vms(
    database: Database, accounts: Accounts, quota: int
) -> None:
    accounts.set_quota("admin", quota)
    admin = database.load().users["admin"]
    assert (admin.quota_vms, admin.used_vms, admin.can_create_vms(1)) == (quota, 2, quota > 2)


@pytest.mark.parametrize("quota", [-1, 10_001])
def test_a_quota_out_of_range_is_refused(accounts: Accounts, quota: int) -> None:
    assert refusal(lambda: accounts.set_quota("admin", quota)) == "A quota is a number of VMs from 0 to 10000"


def test_a_user_with_slices_is_not_removed(database: Database, accounts: Accounts) -> None:
    assert refusal(lambda: accounts.remove("admin")) == "User admin still owns slices (1000): delete them first"
    assert "admin" in database.load().users


def test_a_user_without_slices_is_removed(accounts: Accounts) -> None:
    accounts.add("guest", "long enough")
    accounts.remove("guest")
    assert [user.username for user in accounts.list()] == ["admin", "student"]


@pytest.mark.parametrize(
    "action",
    [
        lambda accounts: accounts.set_password("ghost", "long enough"),
        lambda accounts: accounts.set_quota("ghost", 1),
        lambda accounts: accounts.remove("ghost"),
    ],
    ids=["set_password", "set_quota", "remove"],
)
def test_an_unknown_user_is_refused_with_those_there_are(
    accounts: Accounts, action: Callable[[Accounts], None]
) -> None:
    assert refusal(lambda: action(accounts)) == "There is no user of that name; users: admin, student"


def test_users_are_listed_by_name(database: Database, accounts: Accounts) -> None:
    with database.transaction() as state:
        state.users = {"zoe": User("zoe", "0" * 64), **state.users}
    assert [user.username for user in accounts.list()] == ["admin", "student", "zoe"]


def test_without_a_database_no_login_succeeds(tmp_path: Path) -> None:
    assert "does not exist" in refusal(
        lambda: Accounts(Database(tmp_path / "none.yaml")).authenticate("admin", "admin")
    )


def test_a_role_is_student_by_default_and_written_only_if_another(database: Database, accounts: Accounts) -> None:
    accounts.add("guest", "long enough")
    accounts.add("boss", "long enough", role=ADMIN)
    users = database.load().users
    assert [users["guest"].role, users["boss"].role] == [STUDENT, ADMIN]
    assert "role" not in users["guest"].to_dict()
    accounts.set_role("boss", STUDENT)
    assert database.load().users["boss"].to_dict().keys() == users["guest"].to_dict().keys()


@pytest.mark.parametrize("role", ["", "root", "Admin"])
def test_a_role_that_does_not_exist_is_refused(accounts: Accounts, role: str) -> None:
    assert refusal(lambda: accounts.set_role("admin", role)) == "A role is student or admin"
    assert refusal(lambda: accounts.add("guest", "long enough", 1, role)) == "A role is student or admin"


def test_the_shipped_admin_is_an_admin() -> None:
    users = Database(ROOT / "database.yaml").load().users
    assert {name: user.role for name, user in users.items()} == {"admin": ADMIN, "student": STUDENT}
