"""Wrong passwords cost time: across processes, for names without an account, and with a damaged file."""

from __future__ import annotations

import json
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from accounts import accounts as accounts_module
from accounts.accounts import Accounts
from accounts.logins import FREE, LONGEST_WAIT_S, MOST_NAMES, CannotCount, Logins, wait_after
from core import passwords
from core.errors import Refused
from database import open_store
from storage.location import Location
from tests.support.desk import Desk
from tests.support.fake_clock import FakeClock

WRONG = "Wrong user name or password"


@pytest.fixture(autouse=True, scope="module")
def derivations() -> None:
    """Derive each time: sessions have to meet while they derive."""


@dataclass
class LoginDoor:
    """The failures in a store, by default in a file, and a clock that all sessions share."""

    folder: Path
    location: Location | None = None
    clock: FakeClock[float] = field(default_factory=lambda: FakeClock(1_000_000.0))

    @property
    def path(self) -> Path:
        return self.folder / "database.yaml.logins"

    def open(self) -> Logins:
        """Return the failures as a separate process sees them."""
        return Logins(open_store(self.location or self.folder / "database.yaml"), self.clock)

    def admits(self, name: str = "alice") -> bool:
        try:
            self.open().attempt(name)
        except Refused:
            return False
        return True

    def wait(self, name: str = "alice") -> int:
        """Wait until the next attempt is admitted, and not one second earlier; return the seconds.

        The attempt itself fails.
        """
        try:
            self.open().attempt(name)
        except Refused as refusal:
            seconds = int(str(refusal).split()[-2]) - 1  # the sentence rounds up to the next second
            assert 0 < seconds <= LONGEST_WAIT_S
            self.clock.now += seconds - 1
            assert not self.admits(name)
            self.clock.now += 1
            assert self.admits(name)
            return seconds
        return 0


@pytest.fixture
def door(tmp_path: Path) -> LoginDoor:
    (tmp_path / "database.yaml").touch(0o600)
    return LoginDoor(tmp_path)


def test_the_wait_grows_to_a_minute() -> None:
    assert [wait_after(failures) for failures in range(13)] == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert wait_after(10**9) == 60


def test_each_failure_makes_the_next_try_wait_longer_in_every_process(door: LoginDoor) -> None:
    assert [door.wait() for _ in range(12)] == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert door.wait("bob") == 0


def test_a_refused_try_does_not_prolong_the_wait_and_says_how_long(door: LoginDoor) -> None:
    for _ in range(7):
        door.wait()
    for _ in range(50):
        with pytest.raises(Refused, match=r"^Too many wrong passwords; try again in 9 s$"):
            door.open().attempt("alice")
    door.clock.now += 8
    assert door.admits()


def test_success_and_an_hour_of_quiet_forget_the_failures(door: LoginDoor) -> None:
    for _ in range(8):
        door.wait()
    door.open().succeeded("alice")
    assert [door.wait() for _ in range(4)] == [0, 0, 0, 0]
    for _ in range(6):
        door.wait()
    door.clock.now += 3600
    assert [door.wait() for _ in range(4)] == [0, 0, 0, 0]


def test_tries_made_at_once_know_of_each_other(door: LoginDoor) -> None:
    with ThreadPoolExecutor(16) as pool:
        admitted = list(pool.map(lambda _: door.admits(), range(40)))
    assert sum(admitted) == FREE + 1


@pytest.mark.parametrize("back", [1, 3600, 10**6])
def test_a_clock_that_is_set_back_locks_no_user_out_and_lets_no_guesser_in(door: LoginDoor, back: float) -> None:
    for _ in range(9):
        door.wait()
    door.clock.now -= back
    assert door.wait() == 32
    assert not door.admits()


@pytest.mark.parametrize(
    "junk",
    [
        b"", b"{", b"\0" * 100, b"[]", b"null", b'"x"', b"{}", b"[" * 100_000, b"\xff\xfe", b"9" * 5000,
        b'{"salt": "x", "others": [0, 0], "names": {}}',
        b'{"salt": "00000000000000000000000000000000", "others": [0, 0], "names": {"alice": [0, 0]}}',
        b'{"salt": "00000000000000000000000000000000", "others": [0, NaN], "names": {}}',
        b'{"salt": "00000000000000000000000000000000", "others": [-5, 0], "names": {}}',
        b'{"salt": "00000000000000000000000000000000", "others": [1e400, 0], "names": {}}',
    ],
)  # fmt: skip
def test_a_broken_file_locks_no_user_out_and_gives_no_free_attempts(door: LoginDoor, junk: bytes) -> None:
    door.path.write_bytes(junk)
    door.clock.now = 2e9 * 10  # later than the time at which the file is found broken
    assert door.admits()
    json.loads(door.path.read_bytes())


def test_after_a_broken_file_the_free_tries_are_used_up(door: LoginDoor) -> None:
    door.path.write_bytes(b"{")
    now = time.time()
    door.clock.now = now
    assert [door.wait(), door.wait(), door.wait()] == [0, 1, 2]
    door.path.write_bytes(b"{")
    assert [door.wait("bob"), door.wait("bob")] == [0, 1]


def test_the_file_stays_small_and_a_flood_of_names_pushes_no_count_out(door: LoginDoor) -> None:
    for _ in range(8):
        door.wait("alice")
    record = json.loads(door.path.read_bytes())
    record["names"] |= {f"{number:024x}": [1, door.clock.now] for number in range(3 * MOST_NAMES)}
    door.path.write_text(json.dumps(record))
    door.admits("one more")
    assert len(json.loads(door.path.read_bytes())["names"]) == MOST_NAMES
    assert door.path.stat().st_size < 100_000
    assert not door.admits("alice")


def test_the_file_is_the_owners_and_holds_no_name(door: LoginDoor) -> None:
    door.admits("hunter2")
    assert stat.S_IMODE(door.path.stat().st_mode) == 0o600
    assert b"hunter2" not in door.path.read_bytes()


@pytest.mark.parametrize("name", ["", "\udce9", "a" * 100_000, "../x", "\0"])
def test_any_name_can_be_counted(door: LoginDoor, name: str) -> None:
    assert [door.admits(name) for _ in range(5)] == [True, True, True, True, False]


# --- at the door itself -----------------------------------------------------------------------------------------------


def _answers(accounts: Accounts, username: str, password: str, times: int) -> list[str]:
    found = []
    for _ in range(times):
        with pytest.raises(Refused) as caught:
            accounts.authenticate(username, password)
        found.append(str(caught.value))
    return found


@pytest.mark.usefixtures("real_cost")
@pytest.mark.parametrize("username", ["student", "ghost", "\udce9"])
def test_known_and_unknown_names_are_answered_alike_and_cost_the_same(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, username: str
) -> None:
    accounts = Accounts(desk.database, logins=LoginDoor(tmp_path, desk.location).open())
    derived: list[tuple[int, int, int]] = []
    derive = passwords._derive

    def counted(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
        derived.append((n, r, p))
        return derive(password, salt, n, r, p)

    monkeypatch.setattr(passwords, "_derive", counted)
    found = _answers(accounts, username, "wrong one", 6)
    assert found == [WRONG] * 4 + ["Too many wrong passwords; try again in 2 s"] * 2
    assert derived == [(16_384, 8, 1)] * 4


def test_the_right_password_waits_too_and_then_clears_the_count(desk: Desk, tmp_path: Path) -> None:
    door = LoginDoor(tmp_path, desk.location)
    accounts = Accounts(desk.database, logins=door.open())
    _answers(accounts, "student", "wrong one", 4)
    assert _answers(accounts, "student", "admin", 1)[0].startswith("Too many wrong passwords")
    door.clock.now += 1
    assert accounts.authenticate("student", "admin").username == "student"
    assert _answers(accounts, "student", "wrong one", 3) == [WRONG] * 3


def test_a_wrong_current_password_counts_as_a_wrong_login(desk: Desk, tmp_path: Path) -> None:
    accounts = Accounts(desk.database, logins=LoginDoor(tmp_path, desk.location).open())
    for _ in range(4):
        with pytest.raises(Refused, match=r"^This is not your current password; nothing was changed$"):
            accounts.change_password("student", "wrong", "a new password")
    with pytest.raises(Refused, match=r"^Too many wrong passwords"):
        accounts.change_password("student", "wrong", "a new password")


def test_where_failures_cannot_be_counted_a_login_takes_a_moment_and_works(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("accounts.accounts.time.sleep", pauses.append)
    desk.path.with_name("database.yaml.logins").mkdir()
    with pytest.raises(CannotCount):
        Logins(desk.database).attempt("x")
    assert _answers(desk.api.accounts, "student", "wrong one", 5) == [WRONG] * 5
    assert desk.api.accounts.authenticate("student", "admin").username == "student"
    assert pauses == [accounts_module.UNCOUNTED_PAUSE_S] * 6


# --- changing one's password ------------------------------------------------------------------------------------------


def test_a_password_is_changed_by_a_user_who_knows_it(desk: Desk) -> None:
    desk.ok(desk.api.change_password("student", "admin", "a new password"))
    assert desk.no(desk.api.authenticate("student", "admin")) == WRONG
    assert desk.ok(desk.api.authenticate("student", "a new password")).username == "student"


@pytest.mark.parametrize(
    ("new", "sentence"),
    [
        ("short", "A password has 8 to 256 characters"),
        ("x" * 257, "A password has 8 to 256 characters"),
        ("student", "A password is not the user's name; choose another one"),
        ("admin", "A password is not the user's name; choose another one"),
    ],
)
def test_a_new_password_that_does_not_do_changes_nothing(desk: Desk, new: str, sentence: str) -> None:
    before = desk.path.read_bytes()
    assert desk.no(desk.api.change_password("student", "admin", new)) == sentence
    assert desk.path.read_bytes() == before


def test_the_same_password_again_is_no_change(desk: Desk) -> None:
    desk.ok(desk.api.change_password("student", "admin", "a new password"))
    assert "already" in desk.no(desk.api.change_password("student", "a new password", "a new password"))


def test_two_changes_at_once_do_not_overwrite_each_other(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    hash_password = passwords.hash_password

    def slow(password: str) -> str:
        monkeypatch.setattr(passwords, "hash_password", hash_password)
        desk.api.accounts.set_password("student", "the operator's")
        return hash_password(password)

    monkeypatch.setattr(passwords, "hash_password", slow)
    assert "changed elsewhere" in desk.no(desk.api.change_password("student", "admin", "a new password"))
    desk.ok(desk.api.authenticate("student", "the operator's"))


@pytest.mark.parametrize(
    ("username", "password", "asked"),
    [("student", "student", True), ("alice", "admin", True), ("alice", "alice", True), ("alice", "other one", False)],
)
def test_a_shipped_password_has_to_be_replaced(desk: Desk, username: str, password: str, asked: bool) -> None:
    assert desk.api.needs_new_password(username, password) is asked


def test_a_lab_may_keep_the_shipped_passwords(desk: Desk) -> None:
    desk.path.write_text(desk.path.read_text() + "login: {shipped_passwords: keep}\n")
    api = type(desk.api)(desk.database, desk.cloud.connect)  # type: ignore[arg-type]
    assert not api.needs_new_password("student", "student")
    with desk.database.transaction() as state:
        state.next_vm_id += 1
    assert "shipped_passwords: keep" in desk.path.read_text()


def test_right_passwords_at_the_same_moment_are_all_right(desk: Desk) -> None:
    accounts, count = desk.api.accounts, 3 * (FREE + 1)
    accounts.authenticate("student", "admin")  # a digest of the documented kind would be replaced meanwhile
    with ThreadPoolExecutor(count) as pool:
        users = [*pool.map(lambda _: accounts.authenticate("student", "admin").username, range(count))]
    assert users == ["student"] * count
    assert not [path.name for path in desk.path.parent.iterdir() if "turn" in path.name]


def test_wrong_passwords_at_the_same_moment_wait_as_those_in_a_row_do(desk: Desk, tmp_path: Path) -> None:
    accounts = Accounts(desk.database, logins=LoginDoor(tmp_path, desk.location).open())  # its clock stands still
    with ThreadPoolExecutor(4 * FREE) as pool:
        found = [*pool.map(lambda _: _answers(accounts, "student", "wrong one", 1)[0], range(4 * FREE))]
    assert found.count(WRONG) == FREE + 1
    assert sum(sentence.startswith("Too many wrong passwords") for sentence in found) == 3 * FREE - 1
