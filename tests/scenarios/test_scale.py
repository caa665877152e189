"""The costs of many hosts and slices, as counts and as processor time: none grows with the square."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import models
from allocation import holdings as holdings_module
from allocation import ids
from allocation.holdings import Holdings
from allocation.taken import TakenBy, TakenNow
from core.inventory import Inventory, Worker
from core.results import value_of
from database import Database, Store, open_store
from deployment import DeploymentAPI
from lifecycle.discovery import Discovery
from models import Slice
from orchestrator import OrchestratorAPI
from remote.plan import Command, Stage, Step
from remote.runner import Runner
from storage.version import Version
from tests.support.fake_hosts import FakeHosts
from tests.support.many import OWNERS, WillingHost, write_file
from tests.support.postgres import PostgresServer

HOSTS = 2000
CPU_SECONDS = 2.0
BASE = 1000


def addresses(count: int) -> tuple[str, ...]:
    """Return so many addresses of hosts."""
    return tuple(f"10.{number // 62_500 + 1}.{number // 250 % 250}.{number % 250 + 1}" for number in range(count))


def calls_of(work: Callable[[], object]) -> int:
    """Return how many functions `work` calls, those of C included: the same number on every machine."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def cloud_of_many(path: Path) -> Database:
    """Return a file with 2,000 workers and ten slices."""
    write_file(path, [2] * 10)
    database = Database(path)
    with database.transaction() as state:
        state.inventory = replace(state.inventory, workers_list=addresses(HOSTS))
    return database


@pytest.fixture(params=["file", pytest.param("rows", marks=pytest.mark.long)])
def store_of_many(tmp_path: Path, request: pytest.FixtureRequest) -> Store:
    """The same in a file, and in a database."""
    file = cloud_of_many(tmp_path / "database.yaml")
    if request.param == "file":
        return file
    server: PostgresServer = request.getfixturevalue("postgres")
    store = open_store(server.new_database())
    store.create(file.load())
    return store


def test_two_thousand_hosts_are_discovered_in_two_seconds_of_cpu(store_of_many: Store) -> None:
    cloud = FakeHosts()
    began = time.process_time()
    found = Discovery(store_of_many, Runner(cloud.connect)).workers()
    assert time.process_time() - began <= CPU_SECONDS
    assert [worker.up for worker in found.values()] == [True] * HOSTS
    assert {host.runs for host in cloud.hosts.values()} == {1}


def test_the_steps_of_all_hosts_are_sorted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    by_host = Stage.by_host.fget  # type: ignore[attr-defined]

    def noted(stage: Stage) -> dict[str, tuple[Step, ...]]:
        asked.append(len(stage.steps))
        found: dict[str, tuple[Step, ...]] = by_host(stage)
        return found

    monkeypatch.setattr(Stage, "by_host", property(noted))
    plan = DeploymentAPI(Inventory(workers_list=addresses(50))).discovery_plan()
    assert Runner(FakeHosts().connect).run(plan).error is None
    assert asked == [50]


def test_sorting_steps_by_host_costs_as_much_for_each_of_many() -> None:
    def stage(count: int) -> Stage:
        steps = (Step(host, title, (Command(("true",)),)) for title in "ab" for host in addresses(count))
        return Stage("many", tuple(steps))

    few, many = stage(100), stage(HOSTS)
    assert [step.title for step in many.by_host["10.1.0.1"]] == ["a", "b"]
    assert calls_of(lambda: many.by_host) <= calls_of(lambda: few.by_host) * HOSTS / 100


# --- The file ---------------------------------------------------------------------------------------------------------


def content(slices: int, two: str = "") -> bytes:
    """Return a file with so many slices of one VM each; `two` ports equal where it says so."""
    owned = list(range(BASE, BASE + 2 * slices, 2))
    digest = "a" * 64
    lines = ["users:", "  one:", "    username: one", f"    password_hash: {digest}", f"    slices: {owned}"]
    lines += [f"    used_vms: {slices}", f"    quota_vms: {slices}", "slices:"]
    for number in owned:
        port = 5901 if two and number == owned[-1] else 5901 + number - BASE
        vm = f"{{vm_id: {number + 1}, name: vm1, owner: one, worker_ip: 10.0.10.1, vnc_port: {port}, interfaces: []}}"
        lines += [f"  '{number}':", f"    slice_id: {number}", "    owner: one", "    vms:", f"    - {vm}"]
    return "\n".join([*lines, ""]).encode()


@pytest.fixture
def many_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let more slices exist than there are VLANs for, as in a cloud of several realms."""
    for module in (models, holdings_module, ids):
        monkeypatch.setattr(module, "POOL_COUNT", 100_000)


@pytest.mark.usefixtures("many_pools")
def test_a_full_load_costs_as_much_for_each_of_many_slices() -> None:
    few, many = (content(count) for count in (200, 1600))
    assert len(Version.read(many).state().slices) == 1600
    once = calls_of(lambda: Version.read(few))
    assert calls_of(lambda: Version.read(many)) <= 1600 / 200 * once * 1.02


@pytest.mark.usefixtures("many_pools")
def test_a_clash_among_many_slices_is_named_as_before() -> None:
    with pytest.raises(Exception, match=r"slices\.1998\.vms\.0\.vnc_port: VNC port 5901 belongs to VM 1001 already"):
        Version.read(content(500, two="ports"))


def clash(fresh: Sequence[int], rest: Sequence[int], changed: Sequence[int] = ()) -> bool:
    """Return whether fresh slices have something that is taken; those `changed` were there before."""
    kept, gone, new = ([Holdings.of(Slice(number, "one")) for number in ids] for ids in (rest, changed, fresh))
    return TakenNow(TakenBy(kept), gone, new).clashes


def test_claims_clash_within_what_is_new_and_with_the_rest() -> None:
    one, same_pool, other = 1000, 1100, 1001
    assert clash([one, same_pool], [])
    assert clash([one], [other, same_pool])
    assert not clash([one, other], [])
    assert not clash([one], [other])
    assert not clash([], [one, same_pool])  # earlier slices are not compared with each other
    assert not clash([one], [one, other], changed=[one])
    assert not clash([same_pool], [one, other], changed=[one])  # it takes the pool of one that goes
    assert clash([same_pool, other], [one, other], changed=[one])


# --- Rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_change_of_a_design_costs_the_same_among_few_and_many_slices_in_a_database(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """The lowest free VNC port is looked for among those of the realm, so both clouds have as many VMs."""
    few, many = (
        calls_of(partial(design, session(postgres, tmp_path / f"{len(sizes)}.yaml", sizes)))
        for sizes in ([18] * 10, [2] * 90)
    )
    assert many <= few * 1.02


def session(server: PostgresServer, file: Path, sizes: list[int]) -> OrchestratorAPI:
    """Return a session, whose statements are known to its server, on a cloud of slices with so many VMs."""
    write_file(file, sizes)
    store = open_store(server.new_database())
    state = Database(file).load()
    hosts = Inventory().workers_list
    state.inventory = replace(state.inventory, workers_list=hosts)
    state.workers = {address: Worker(10_000, 10_000.0, 100_000.0) for address in hosts}
    state.users[OWNERS[0]].quota_vms += 2
    store.create(state)
    api = OrchestratorAPI(store, lambda _address: WillingHost())
    for _ in range(6):  # psycopg lets the server keep a statement that was sent five times
        design(api)
    return api


def design(api: OrchestratorAPI) -> None:
    """Create a slice with two VMs and a link, and delete it."""
    actor = OWNERS[0]
    slice_id = value_of(api.create_slice(actor, "new")).slice_id
    one, two = (value_of(api.add_vm_to_slice(actor, slice_id, name, "cirros", 1)).vm_id for name in ("vm1", "vm2"))
    value_of(api.create_link(actor, slice_id, one, "eth1", two, "eth1"))
    value_of(api.delete_slice(actor, slice_id))
