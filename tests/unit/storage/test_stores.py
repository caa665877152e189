"""The promises of a store, which the file and the PostgreSQL database both keep."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from accounts.audit import Audit
from accounts.logins import FREE, Logins
from accounts.sessions import Sessions
from core.errors import FileFault, Refused
from database import Database, Store, open_store
from models import Slice
from storage.location import Location, ServerURL, absolute
from tests.support.many import write_file
from tests.support.paths import ROOT

DEADLINE_S = 20.0
FREE_AFTER_S = 1.0
"""Much longer than a server needs to notice that a process died, for the tests share two cores."""

HOLDER = """
import sys
from database import open_store
from storage.location import location_of
with open_store(location_of(sys.argv[1])).claim(int(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""

Opener = Callable[[], Store]


@pytest.fixture(params=["file", pytest.param("postgres", marks=pytest.mark.long)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """Return a place with two slices of three VMs."""
    file = tmp_path / "database.yaml"
    write_file(file, [3, 3])
    if request.param == "file":
        return file
    url: ServerURL = request.getfixturevalue("database_url")
    open_store(url).create(Database(file).load())
    return url


@pytest.fixture
def session(place: Location) -> Opener:
    """Return a function that opens the store as another session does."""
    return lambda: open_store(place)


def test_a_change_is_seen_by_other_sessions(session: Opener) -> None:
    one, other = session(), session()
    assert other.load().slices[1000].name == "ring-1000"
    with one.transaction() as state:
        state.slices[1000].name = "renamed"
        state.users["student0"].quota_vms = 77
    assert one.load().slices[1000].name == other.load().slices[1000].name == "renamed"
    assert other.load().users["student0"].quota_vms == 77


def test_a_removed_entry_is_gone_for_other_sessions_and_may_come_again_as_the_last(session: Opener) -> None:
    one, other = session(), session()
    assert next(iter(other.load().users)) == "student0"
    with one.transaction() as state:
        del state.users["student9"]
        kept = state.users["student8"]
        del state.users["student8"]
    assert not {"student8", "student9"} & {*other.load().users}
    with one.transaction() as state:
        state.users["student9"] = kept
        kept.username = "student9"
    assert [*other.load().users][-1] == [*session().load().users][-1] == "student9"


def test_a_change_is_dropped_when_its_body_raises(session: Opener) -> None:
    store = session()
    before = store.load().to_dict()

    def change() -> None:
        with store.transaction() as state:
            state.slices[1000].name = "renamed"
            raise Refused("no")

    with pytest.raises(Refused, match="no"):
        change()
    assert store.load().to_dict() == session().load().to_dict() == before


def test_a_state_that_breaks_a_rule_is_not_saved(session: Opener) -> None:
    store = session()
    before = store.load().to_dict()
    with pytest.raises(FileFault, match="was not changed, the new state would be wrong"), store.transaction() as state:
        state.users["student0"].used_vms += 1
    assert store.load().to_dict() == before


def test_what_a_caller_does_to_a_state_stays_with_the_caller(session: Opener) -> None:
    store = session()
    store.load().slices[1000].name = "mine"
    del store.load().slices[1000]
    assert store.load().slices[1000].name == "ring-1000"
    assert [*store.load().slices] == [*session().load().slices]


def test_a_transaction_in_a_transaction_is_a_mistake_of_ours(session: Opener) -> None:
    store = session()
    with store.transaction(), pytest.raises(RuntimeError), store.transaction():
        pass
    assert store.get_next_vm_id() < store.get_next_vm_id()


def test_a_state_is_read_within_a_transaction(session: Opener) -> None:
    store = session()
    with store.transaction() as state:
        state.slices[1000].name = "renamed"
        assert store.load().slices[1000].name == "ring-1000"
        assert not store.is_claimed(1000)
    assert store.load().slices[1000].name == "renamed"


def test_ids_are_given_once(session: Opener) -> None:
    stores = [session() for _ in range(3)]
    found = [store.get_next_vm_id() for _ in range(5) for store in stores]
    assert len({*found}) == len(found)


def test_a_claim_excludes_other_sessions_and_its_own(session: Opener) -> None:
    one, other = session(), session()
    with one.claim(1000):
        assert one.is_claimed(1000)
        assert other.is_claimed(1000)
        assert not other.is_claimed(1001)
        for store in (one, other):
            with pytest.raises(Refused, match="Slice 1000 is being worked on by another session"), store.claim(1000):
                pass
        with other.claim(1001), other.claim_images(), other.claim_measuring(0.0), other.claim_proof("admin"):
            assert one.images_are_claimed()
    assert not other.is_claimed(1000)
    assert not one.images_are_claimed()
    with other.claim(1000):
        assert one.is_claimed(1000)


def test_a_claim_lives_through_transactions_of_its_session(session: Opener) -> None:
    one, other = session(), session()
    with one.claim(1000):
        with pytest.raises(Refused), one.transaction():
            raise Refused("no")
        one.get_next_vm_id()
        assert other.is_claimed(1000)


def test_a_claim_is_free_when_its_process_dies(place: Location, session: Opener) -> None:
    words = [sys.executable, "-c", HOLDER, absolute(place), "1000"]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        store = session()
        assert store.is_claimed(1000)
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(DEADLINE_S)
        ended = time.monotonic()
        while store.is_claimed(1000):
            assert time.monotonic() < ended + FREE_AFTER_S
        with store.claim(1000):
            pass


def test_a_note_is_shared_and_saved_also_after_a_refusal(session: Opener) -> None:
    one, other = session(), session()

    def leave(store: Store, found: bytes | None, fresh: bytes, error: Exception | None = None) -> None:
        with store.note("logins", 1.0) as note:
            assert note.content == found
            note.content = fresh
            if error:
                raise error

    leave(one, None, b"one")
    with pytest.raises(Refused, match="no"):
        leave(other, b"one", b"two \x00", Refused("no"))
    with pytest.raises(KeyError):
        leave(one, b"two \x00", b"three", KeyError())
    leave(other, b"two \x00", b"four")


def test_a_note_that_another_session_keeps_is_a_fault(session: Opener) -> None:
    with session().note("logins", 1.0), pytest.raises(FileFault), session().note("logins", 0.05):
        pass


def test_failed_logins_are_counted_by_all_sessions(session: Opener) -> None:
    for _ in range(FREE + 1):
        Logins(session()).attempt("admin")
    with pytest.raises(Refused, match="Too many wrong passwords"):
        Logins(session()).attempt("admin")
    Logins(session()).succeeded("admin")
    Logins(session()).attempt("admin")


def test_places_of_sessions_are_shared(session: Opener) -> None:
    store = session()
    most = store.load().inventory.login.sessions
    opened = [Sessions(session(), Audit(store)).open("student0") for _ in range(most)]
    with pytest.raises(Refused, match="which is the limit"):
        Sessions(store, Audit(store)).open("student0")
    opened[0].close()
    Sessions(store, Audit(store)).open("student0").close()
    for each in opened[1:]:
        each.close()


def test_a_place_with_a_state_takes_no_other_one(session: Opener) -> None:
    store = session()
    before = store.load().to_dict()
    with pytest.raises(Refused, match="nothing was changed"):
        store.create(store.load())
    assert store.load().to_dict() == before


def test_only_touched_slices_are_made(session: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    store, made = session(), list[int]()
    store.load()
    from_dict = Slice.from_dict

    def noted(record: dict[str, object]) -> Slice:
        slice_ = from_dict(record)
        made.append(slice_.slice_id)
        return slice_

    monkeypatch.setattr(Slice, "from_dict", noted)
    with store.transaction() as state:
        state.slices[1000].name = "renamed"
    assert {*made} == {1000}
