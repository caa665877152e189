"""The store in a PostgreSQL database: its constraints, its versions, and a server that is lost."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.audit import Audit, AuditEntry
from accounts.logins import NOTE, Logins
from core.errors import CloudError, FileFault
from core.first_boot import FirstBoot, cloud_config
from core.inventory import Worker
from core.names import mac_address
from database import Database, State, open_store
from models import Slice, User
from storage import act_files
from storage.location import ServerURL
from storage.postgres import rows, tables
from storage.postgres.session import SERVER_OPTIONS, ServerSession, _key
from storage.postgres.store import PostgresStore
from storage.version import Version
from tests.support.many import write_file
from tests.support.paths import ROOT
from tests.support.postgres import PostgresServer, started
from tests.support.scale import scaled

pytestmark = pytest.mark.torture


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file with two slices of three VMs."""
    path = tmp_path / "database.yaml"
    write_file(path, [3, 3])
    return path


@pytest.fixture
def store(database_url: ServerURL, file: Path) -> PostgresStore:
    return filled(database_url, file)


def filled(url: ServerURL, file: Path) -> PostgresStore:
    store = PostgresStore(url)
    store.create(Database(file).load())
    return store


@pytest.fixture(autouse=True, scope="module")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give managers a home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """Start a server that the test may stop."""
    with started() as server:
        yield server


def asked(store: PostgresStore, query: LiteralString, *words: object) -> list[Any]:
    """Return the first column of a query's rows, as an operator with psql sees them."""
    with psycopg.connect(store.url.text, autocommit=True) as connection:
        cursor = connection.execute(query, words)
        return [row[0] for row in cursor] if cursor.description else []


def program(database: object, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "cli.py", "--database", str(database), *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def done(database: object, *words: str) -> str:
    """Return the output of a command that succeeds."""
    ended = program(database, *words)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def refused(database: object, *words: str) -> str:
    """Return the sentence of a command that is refused."""
    ended = program(database, *words)
    assert (ended.returncode, ended.stdout) == (1, "")
    return ended.stderr


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(CloudError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def renamed(store: PostgresStore, name: str) -> None:
    with store.transaction() as state:
        state.slices[1000].name = name


# --- rows and constraints ---------------------------------------------------------------------------------------------


def test_each_piece_is_a_row_in_the_documented_layout(store: PostgresStore) -> None:
    assert asked(store, "SELECT value->>'owner' FROM piece WHERE section = 'slices' AND key = '1000'") == ["student0"]
    assert asked(store, "SELECT value->'vms'->0->>'name' FROM piece WHERE section = 'slices' AND key = '1000'") == [
        "vm1"
    ]
    assert asked(store, "SELECT count(*) FROM piece WHERE section = 'users'") == [10]
    assert asked(store, "SELECT value FROM piece WHERE section = 'next_vm_id'") == [store.load().next_vm_id]


def test_only_what_was_touched_is_written(store: PostgresStore) -> None:
    before = asked(store, "SELECT revision FROM cloud")[0]
    renamed(store, "renamed")
    assert asked(store, "SELECT section || key FROM piece WHERE revision > %s", before) == ["slices1000"]
    renamed(store, "renamed")
    store.load()
    assert asked(store, "SELECT revision FROM cloud") == [before + 1]


def test_only_what_changed_is_read(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    other, read = PostgresStore(store.url), list[str]()
    other.load()
    initial = rows.Row.__init__

    def noted(row: rows.Row, section: str, key: str, *texts: Any) -> None:
        read.append(section + key)
        initial(row, section, key, *texts)

    renamed(store, "renamed")
    monkeypatch.setattr(rows.Row, "__init__", noted)
    other.load()
    other.load()
    assert read == ["slices1000"]


def test_holdings_are_read_without_their_slices(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = store.load().slices.holdings
    monkeypatch.setattr(Slice, "from_dict", None)
    assert PostgresStore(store.url).load().slices.holdings == wanted
    assert {type(each) for each in wanted.values()} != set()


@pytest.mark.parametrize("kind", ["id ", "pool ", "port ", "VLAN ", mac_address(1001, 0)[:8], "10.60.7."])
def test_the_database_itself_gives_nothing_to_two_slices(store: PostgresStore, kind: str) -> None:
    things = asked(store, "SELECT thing FROM holding WHERE slice_id <> '1000'")
    thing = next((each for each in things if each.startswith(kind)), None)
    if thing is None:
        pytest.fail(f"{kind!r} is none of {things}")
    with pytest.raises(psycopg.errors.UniqueViolation):
        asked(store, "INSERT INTO holding VALUES (%s, '1000')", thing)


def test_a_state_that_only_a_constraint_refuses_is_not_saved(store: PostgresStore) -> None:
    asked(store, "INSERT INTO holding VALUES ('VLAN 999', '1')")

    def take() -> None:
        with store.transaction() as state:
            slice_ = state.slices[1000]
            slice_.vlan_pool_used.append(999)
            monkey.setattr("storage.rules._check_pool", lambda *_: None)

    with pytest.MonkeyPatch.context() as monkey:
        assert re.search(r"was not changed, the new state would be wrong: .*VLAN 999", refusal(take))
    assert 999 not in store.load().slices[1000].vlan_pool_used


@pytest.mark.parametrize("value", ["5", "{}", '{"slice_id": 1000, "owner": 5}'])
def test_a_row_that_an_editor_broke_is_one_sentence(store: PostgresStore, value: str) -> None:
    asked(store, "UPDATE piece SET value = %s, revision = revision + 1 WHERE key = '1000'", value)
    assert "The row slices 1000 of the table piece is wrong" in refusal(lambda: store.load().slices[1000])
    assert "The row slices 1000 of the table piece is wrong" in refusal(lambda: renamed(store, "x"))


# --- versions of the tables -------------------------------------------------------------------------------------------


def test_an_empty_database_has_no_cloud_yet(database_url: ServerURL) -> None:
    assert refusal(PostgresStore(database_url).load) == (
        f"{database_url} has no cloud yet: bring one in with cli.py database import FILE"
    )
    assert "no cloud yet" in refusal(lambda: PostgresStore(database_url).get_next_vm_id())


def bring_up_later(store: PostgresStore) -> None:
    """Bring the tables up to a version in which no table of this program has its name any more."""
    with psycopg.connect(store.url.text) as connection:
        for table in ("act", "cloud", "fence", "holding", "note", "piece", "promise"):
            connection.execute(f"ALTER TABLE {table} RENAME TO later_{table}".encode())
        connection.execute("INSERT INTO schema_version VALUES (%s)", [tables.NEWEST + 1])


TOO_OLD = (
    f"The tables have version {tables.NEWEST + 1}, and this program knows versions up to {tables.NEWEST}: "
    "update this manager"
)
USES: dict[str, Callable[[PostgresStore, State], object]] = {
    "load": lambda store, _: store.load(),
    "change": lambda store, _: store.get_next_vm_id(),
    "create": PostgresStore.create,
    "claim": lambda store, _: store.claim(1000).__enter__(),
    "note": lambda store, _: store.note("logins", 1.0).__enter__(),
    "raise fences": lambda store, _: store.raise_fences({"slice-1000": 7}),
    "read the log": lambda store, _: [*store.acts()],
}


@pytest.mark.parametrize("use", USES.values(), ids=[*USES])
def test_tables_of_a_newer_program_are_left_alone(
    store: PostgresStore, use: Callable[[PostgresStore, State], object]
) -> None:
    """An open session of an older program would write rows that lack what newer programs read in them."""
    state = store.load()
    bring_up_later(store)
    for session in (store, PostgresStore(store.url)):
        assert refusal(partial(use, session, state)) == TOO_OLD
        assert not session.is_claimed(1000)


def test_an_older_manager_tells_its_students_nothing_of_tables_and_keeps_its_log_in_files(store: PostgresStore) -> None:
    bring_up_later(store)
    with pytest.raises(FileFault, match=TOO_OLD) as caught:
        store.load()
    assert caught.value.public == "The cloud is being updated, nothing was done: log out, and log in again later"
    Audit(store).write(AuditEntry("student0", "deploy", 1000), TOO_OLD, 0.0, refused=True)
    assert [act.entry["result"] for act in act_files.kept(store.path)] == [TOO_OLD]


@pytest.mark.parametrize("text", ["ALTER TABLE note ADD COLUMN later int; CREATE TABLE further ();", "-- a new key\n"])
def test_tables_of_an_older_program_are_brought_up(
    store: PostgresStore, text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    step = tmp_path / f"{tables.NEWEST + 1}.sql"
    step.write_text(text)
    monkeypatch.setattr(tables, "STEPS", [*tables.STEPS, step])
    monkeypatch.setattr(tables, "NEWEST", tables.NEWEST + 1)
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(lambda _: PostgresStore(store.url).load().to_dict(), range(4))]
    assert found == [store.load().to_dict()] * 4
    assert asked(store, "SELECT max(number) FROM schema_version") == [tables.NEWEST]
    later = "SELECT column_name::text FROM information_schema.columns WHERE column_name = 'later'"
    assert asked(store, later) == (["later"] if "later" in text else [])


def test_steps_are_numbered_without_a_gap() -> None:
    assert [path.name for path in tables.STEPS] == [f"{number}.sql" for number in range(1, tables.NEWEST + 1)]


# --- the server -------------------------------------------------------------------------------------------------------


def test_sessions_tell_the_server_when_to_give_up(store: PostgresStore) -> None:
    with ServerSession(store.url).reading() as connection:
        names = connection.execute("SELECT name FROM pg_settings WHERE source = 'client'").fetchall()
    assert {*SERVER_OPTIONS} <= {name for (name,) in names}


def test_options_of_the_url_are_kept(store: PostgresStore) -> None:
    with ServerSession(ServerURL(f"{store.url}&options=-c%20work_mem%3D7MB")).reading() as connection:
        assert connection.execute("SHOW work_mem").fetchone() == ("7MB",)
        assert connection.execute("SHOW client_connection_check_interval").fetchone() == ("50ms",)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///nothing?host={folder}&user=tests",
        "postgresql:///postgres?host={folder}&user=unknown",
        "postgresql:///postgres?host={folder}/none&user=tests",
        "postgresql:///postgres?service=none-of-ours",
        "postgresql:///postgres?colour=red",
        "postgresql://[::1/x",
    ],
)
def test_a_server_that_cannot_be_used_is_one_sentence(postgres: PostgresServer, url: str) -> None:
    said = refused(url.format(folder=postgres.folder), "list")
    assert re.fullmatch(r"Error: The database postgresql://\S+ cannot be used \(.+\): check .*\n", said)


def test_a_password_is_refused_by_the_store_too() -> None:
    assert "password" in refusal(PostgresStore(ServerURL("postgresql:///x?password=secret")).load)


def test_a_server_that_was_restarted_meanwhile_is_used_again(own_server: PostgresServer, file: Path) -> None:
    store = filled(own_server.new_database(), file)
    other = PostgresStore(store.url)
    with store.claim(1000):
        own_server.stop("immediate")
        own_server.start()
        renamed(store, "renamed")
        assert other.is_claimed(1000)
    assert not other.is_claimed(1000)
    assert other.load().slices[1000].name == "renamed"


def test_a_change_that_loses_its_server_is_not_saved(own_server: PostgresServer, file: Path) -> None:
    store = filled(own_server.new_database(), file)

    def change() -> None:
        with store.transaction() as state:
            state.slices[1000].name = "renamed"
            own_server.stop("immediate")
            own_server.start()

    assert re.search(r"^The database postgresql://\S+ failed \(.+\); nothing was saved, try again$", refusal(change))
    assert store.load().slices[1000].name == "ring-1000"
    renamed(store, "renamed")


@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.parametrize("timelines", [1, 2])
def test_a_connection_that_is_lost_while_it_commits_is_asked_about(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch, commits: bool, timelines: int
) -> None:
    """Break the connection at COMMIT, before or after the server has carried it out.

    A standby that took over, with a timeline of its own, may have given the number of the transaction to another one.
    """
    execute = psycopg.Connection.execute

    def broken(connection: psycopg.Connection[Any], query: Any, *words: Any, **options: Any) -> Any:
        if query != "COMMIT":
            if timelines == 2 and query.startswith("SELECT left"):
                query = "SELECT '00000002'"
            return execute(connection, query, *words, **options)
        if commits:
            execute(connection, query)
        connection.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Connection, "execute", broken)
        if commits and timelines == 1:
            renamed(store, "renamed")
        else:
            sentence = "it is not known whether it was saved" if commits else "nothing was saved, try again"
            assert sentence in refusal(lambda: renamed(store, "renamed"))
    assert (PostgresStore(store.url).load().slices[1000].name == "renamed") is commits


def test_a_transaction_that_a_server_never_heard_of_was_not_committed(store: PostgresStore) -> None:
    store.load()
    assert not store._session._was_committed("99999999", "00000001")
    (timeline,) = asked(store, "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)")
    assert timeline == "00000001"


def test_a_session_whose_claim_was_taken_meanwhile_saves_nothing(own_server: PostgresServer, file: Path) -> None:
    store = filled(own_server.new_database(), file)
    other = PostgresStore(store.url)
    with store.claim(1000):
        own_server.stop("immediate")
        own_server.start()
        with other.claim(1000):
            assert "another session has begun to change the same (slice-1000)" in refusal(lambda: renamed(store, "x"))
    renamed(store, "after")
    assert other.load().slices[1000].name == "after"


@pytest.mark.parametrize("frees_it", [True, False])
def test_a_claim_that_the_server_keeps_for_the_lost_connection_is_waited_for(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch, frees_it: bool
) -> None:
    """Lose a connection of which the server notices nothing yet, as where a manager is cut off for a moment."""
    monkeypatch.setattr("storage.postgres.session.RECONNECT_S", 20.0 if frees_it else 0.3)
    with store.claim(1000), psycopg.connect(store.url.text, autocommit=True) as stale:
        assert store._session._connection
        store._session._connection.close()
        stale.execute("SELECT pg_advisory_lock(%s)", [_key("slice-1000")])
        if frees_it:
            threading.Timer(0.2, stale.execute, ["SELECT pg_advisory_unlock_all()"]).start()
            renamed(store, "renamed")
        else:
            assert "another session has begun" in refusal(lambda: renamed(store, "x"))
    assert (store.load().slices[1000].name == "renamed") is frees_it


def test_a_claim_that_another_session_had_meanwhile_is_lost_though_it_is_free_again(store: PostgresStore) -> None:
    with store.claim(1000):
        assert store._session._connection
        store._session._connection.close()
        with PostgresStore(store.url).claim(1000):
            pass
        assert "another session has begun" in refusal(lambda: renamed(store, "x"))


def test_a_host_may_be_met_for_the_first_time_while_the_state_is_changed(store: PostgresStore) -> None:
    """Check that, as `doctor --fix` asks all hosts in other threads while it keeps others from changing the state."""

    def meet() -> None:
        with store.shared_keys.host_keys() as keys:
            keys.content = b"host key"

    with ThreadPoolExecutor(1) as pool, store.transaction() as state:
        state.slices[1000].name = "renamed"
        pool.submit(meet).result(timeout=10)
    assert asked(store, "SELECT content FROM note") == [b"host key"]
    assert store.load().slices[1000].name == "renamed"


def test_operators_are_warned_of_a_server_without_a_standby(own_server: PostgresServer, file: Path) -> None:
    store = filled(own_server.new_database(), file)
    folder = f"host={own_server.folder}"
    several = PostgresStore(ServerURL(store.url.text.replace(folder, f"{folder},{own_server.folder}")))
    assert store.warning() == Database(file).warning() == ""
    assert "several servers, but the one that writes waits for none" in several.warning()
    ended = program(several.url, "--as", "student0", "list")
    assert (ended.returncode, ended.stderr) == (0, f"Warning: {several.warning()}\n")
    assert "Warning" not in program(several.url, "--user", "student0").stderr
    asked(store, "ALTER SYSTEM SET synchronous_standby_names = 'two'")
    assert asked(store, "SELECT pg_reload_conf()") == [True]
    deadline = time.monotonic() + 20
    while several.warning():
        assert time.monotonic() < deadline


def test_a_server_that_stays_away_leaves_the_settings_known(
    own_server: PostgresServer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.postgres.session.RECONNECT_S", 0.2)
    store = filled(own_server.new_database(), file)
    known = store.load().inventory
    own_server.stop("immediate")
    assert store.inventory == known
    assert "cannot be used" in refusal(store.load)
    assert "cannot be used" in refusal(lambda: renamed(store, "x"))
    own_server.start()
    renamed(store, "x")


# --- moving -----------------------------------------------------------------------------------------------------------


def moved(state: State, url: ServerURL) -> State:
    """Return the state after it was in the database, as another session reads it."""
    PostgresStore(url).create(state)
    return PostgresStore(url).load()


def test_good_files_come_back_as_they_were(good: list[str], postgres: PostgresServer, tmp_path: Path) -> None:
    for number, text in enumerate(good):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        written = Version.first(Database(path).load()).content
        url = postgres.new_database()
        assert Version.first(moved(Database(path).load(), url)).content == written


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=100)
CONFIGS = st.dictionaries(st.text(max_size=9), st.text(max_size=9) | st.integers() | st.booleans(), max_size=3)


@given(st.lists(st.integers(2, 4), max_size=3), st.data())
@settings(deadline=None, max_examples=scaled(25, 300))
def test_every_state_comes_back_as_it_was(postgres: PostgresServer, sizes: list[int], data: st.DataObject) -> None:
    """Import and export random states: `export(import(f)) == f`, byte for byte."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "database.yaml"
        write_file(path, sizes)
        state = Database(path).load()
        for slice_ in state.slices.values():
            slice_.left = data.draw(st.lists(TEXTS, max_size=2))
            for vm in slice_.vms:
                with suppress(ValueError):  # some cloud-config is refused
                    vm.seed = FirstBoot(data.draw(TEXTS), cloud_config(data.draw(CONFIGS)))
        for name in data.draw(st.lists(st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True), max_size=3)):
            state.users.setdefault(name, User(name, "a" * 64))
        state.workers["10.9.9.9"] = Worker(max_ram_gb=data.draw(st.floats(0, 1e6)))
        state.next_vm_id += data.draw(st.integers(0, 9))
        written = Version.first(state).content
        assert Version.first(moved(Version.read(written).state(), postgres.new_database())).content == written


def test_the_commands_move_a_state_there_and_back(database_url: ServerURL, file: Path, tmp_path: Path) -> None:
    back, size = tmp_path / "back.yaml", "10 users, 2 slices and 6 VMs"
    assert (
        done(database_url, "database", "import", str(file), "--dry-run") == f"Would import {size} into {database_url}\n"
    )
    imported = program(database_url, "database", "import", str(file))
    assert (imported.returncode, imported.stdout) == (0, f"Imported {size} into {database_url}\n")
    assert "on another PostgreSQL database, run cli.py resume --raise-fences before the first change" in imported.stderr
    assert "has a cloud already; nothing was changed" in refused(database_url, "database", "import", str(file))
    assert done(database_url, "database", "export", str(back)) == f"Exported {size} to {back}\n"
    assert back.stat().st_mode & 0o777 == 0o600
    assert Database(back).load().to_dict() == Database(file).load().to_dict()
    assert "is there already" in refused(database_url, "database", "export", str(back))
    assert done(database_url, "database", "export") == back.read_text()
    assert "ring-1000" in done(database_url, "--as", "student0", "list")
    assert "import database" in done(database_url, "log")


def test_what_is_beside_the_state_moves_along(database_url: ServerURL, file: Path, tmp_path: Path) -> None:
    """Move audit log, counts of wrong passwords and known host keys there, and the first two back."""
    known_hosts, back = tmp_path / "known_hosts", tmp_path / "back.yaml"
    known_hosts.write_bytes(b"10.0.10.1 ssh-ed25519 AAAA\n")
    file.write_text(file.read_text().replace("known_hosts: ~/.ssh/known_hosts", f"known_hosts: {known_hosts}"))
    before = Database(file)
    assert before.load().inventory.ssh.known_hosts == str(known_hosts)
    Audit(before).write(AuditEntry("student0", "deploy", 1000), "ok", 1.5)
    Logins(before).attempt("student1")
    done(database_url, "database", "import", str(file))
    store = PostgresStore(database_url)
    with store.host_keys() as keys, before.note(NOTE, 1.0) as counts:
        assert keys.content == known_hosts.read_bytes()
        wanted = counts.content
    assert "student0  deploy slice 1000  1.50 s  ok\n" in done(database_url, "log")
    done(database_url, "database", "export", str(back))
    with Database(back).note(NOTE, 1.0) as counts:
        assert counts.content == wanted
    assert [act.entry["action"] for act in Database(back).acts()] == ["deploy", "import database"]


def test_settings_alone_are_replaced(store: PostgresStore, file: Path) -> None:
    renamed(store, "renamed")
    words = ("database", "import", str(file), "--settings")
    file.write_text(file.read_text().replace("workers_list: []", "workers_list: [10.9.9.9]"))
    assert "Imported the settings" in done(store.url, *words)
    assert store.load().inventory.workers_list == ("10.9.9.9",)
    assert store.load().slices[1000].name == "renamed"
    fresh = open_store(file.with_name("fresh.yaml"))
    fresh.create(Database(ROOT / "database.yaml").load())  # it has another network node
    assert "while there are slices" in refused(store.url, "database", "import", str(fresh.path), "--settings")
    assert store.load().inventory.network_node == "127.0.0.1"


def test_a_slice_that_a_session_changes_is_not_imported(database_url: ServerURL, file: Path) -> None:
    with Database(file).claim(1000):
        assert "Slice 1000 is being worked on" in refused(database_url, "database", "import", str(file))
    assert "no cloud yet" in refusal(open_store(database_url).load)
