"""Eight processes on one store: nothing is lost or given out twice, also when processes are killed."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import pickle
import random
import re
import signal
import time
from collections.abc import Callable, Generator, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.status import SliceStatus
from database import Database, open_store
from models import Slice, User
from orchestrator import OrchestratorAPI
from remote.plan import Step
from storage.location import Location, ServerURL
from tests.support.agreement import counts_are_right, hosts_agree, nothing_has_two_owners
from tests.support.designs import FLAVOR
from tests.support.desk import NETWORK, PASSWORD_HASH, WORKERS
from tests.support.fake_hosts import FakeHost, FakeHosts
from tests.support.scale import LONG, scaled

PROCESSES = multiprocessing.get_context("fork")
CROWD = 8
QUOTAS = {"ann": 11, "ben": 7, "cid": 5, "dan": 1}
DEADLINE_S = 300.0
SEED = random.SystemRandom().getrandbits(32) if LONG else 20
pytestmark = pytest.mark.torture


class SharedHost:
    """A fake host that many processes reach: its state is in a file, stored after each command."""

    def __init__(self, folder: Path, address: str) -> None:
        self.address = address
        self._path = folder / f"{address}.host"

    def run(self, steps: Sequence[Step], **how: Any) -> Generator[Any, None, None]:
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            host = self.load()
            for outcome in host.run(steps, **how):
                fresh = self._path.with_suffix(".new")
                fresh.write_bytes(pickle.dumps(host))
                fresh.replace(self._path)
                yield outcome

    def expect(self, *, repeatable: bool = False) -> None:
        """Do nothing: the host keeps no shell."""

    def open_terminal(self, argv: tuple[str, ...], script: str) -> Any:  # noqa: ARG002
        raise AssertionError(argv)

    def load(self) -> FakeHost:
        if not self._path.exists():
            return FakeHost(self.address)
        host = pickle.loads(self._path.read_bytes())  # noqa: S301
        assert isinstance(host, FakeHost)
        return host


class SharedCloud:
    """One store, three hosts, and the sessions of its users."""

    def __init__(self, folder: Path, url: ServerURL | None = None) -> None:
        self.folder = folder
        self.path = folder / "database.yaml"
        users = {name: User(name, PASSWORD_HASH, quota).to_dict() for name, quota in QUOTAS.items()}
        users["root"] = User("root", PASSWORD_HASH, 0).to_dict() | {"role": "admin"}
        self.path.write_text(yaml.safe_dump({"users": users, "flavors": {"cirros": FLAVOR}}))
        self.location: Location = url or self.path
        if url:
            open_store(url).create(Database(self.path).load())
            self.path.unlink()
        self.store = open_store(self.location)
        assert self.session().discover_workers()[0]

    def session(self) -> OrchestratorAPI:
        return OrchestratorAPI(open_store(self.location), lambda address: SharedHost(self.folder, address))

    def hosts(self) -> FakeHosts:
        return FakeHosts({address: SharedHost(self.folder, address).load() for address in (*WORKERS, NETWORK)})

    def check(self) -> None:
        state = self.store.load()
        nothing_has_two_owners(state)
        counts_are_right(state)
        for name, quota in QUOTAS.items():
            assert state.users[name].used_vms <= quota


@pytest.fixture(params=["file", "postgres"])
def cloud(request: pytest.FixtureRequest, tmp_path: Path) -> SharedCloud:
    return SharedCloud(tmp_path, request.getfixturevalue("database_url") if request.param == "postgres" else None)


def started(target: Any, *arguments: object) -> BaseProcess:
    process = PROCESSES.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


def joined(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        process.join(DEADLINE_S)
    assert [process.exitcode for process in processes] == [0] * len(processes)


# --- Everybody designs ------------------------------------------------------------------------------------------------


def design(cloud: SharedCloud, number: int, seed: int) -> None:
    """Create slices, VMs and links for one of four users, beyond the quota; write down all ids given out."""
    chance = random.Random(f"{seed} {number}")
    api, user = cloud.session(), sorted(QUOTAS)[number % len(QUOTAS)]
    given: dict[str, list[Any]] = {"slice": [], "vm": [], "link": [], "refused": []}
    for _ in range(scaled(12, 60)):
        ok, value = answer = random_design(api, user, chance, given)
        kind = "refused" if not ok else {"Slice": "slice", "VM": "vm", "Link": "link"}[type(value).__name__]
        given[kind].append(str(answer[1]) if not ok else value)
    (cloud.folder / f"given-{number}").write_bytes(pickle.dumps((user, given)))


def random_design(
    api: OrchestratorAPI, user: str, chance: random.Random, given: dict[str, list[Any]]
) -> tuple[bool, Any]:
    if not given["slice"] or chance.random() < 0.2:
        return api.create_slice(user, "crowd")
    slice_id = chance.choice(given["slice"]).slice_id
    slice_ = api.get_slice(user, slice_id)[1]
    assert not isinstance(slice_, str)
    if len(slice_.vms) >= 2 and chance.random() < 0.4:
        one, other = chance.sample(slice_.vms, 2)
        ends = [(vm.vm_id, chance.choice(vm.interfaces).name) for vm in (one, other)]
        return api.create_link(user, slice_id, *ends[0], *ends[1])
    return api.add_vm_to_slice(user, slice_id, f"vm{len(slice_.vms)}", "cirros", 3, chance.random() < 0.5)


def test_eight_processes_that_design_at_once_lose_nothing_and_get_nothing_twice(cloud: SharedCloud) -> None:
    joined([started(design, cloud, number, SEED) for number in range(CROWD)])
    state = cloud.store.load()
    nothing_has_two_owners(state)
    counts_are_right(state)
    hosts_agree(cloud.hosts(), state)
    notes = [pickle.loads((cloud.folder / f"given-{number}").read_bytes()) for number in range(CROWD)]  # noqa: S301
    given = {kind: [thing for _, note in notes for thing in note[kind]] for kind in ("slice", "vm", "link")}
    assert {slice_.slice_id for slice_ in given["slice"]} == set(state.slices)
    assert len(given["slice"]) == len(state.slices)
    machines = {vm.vm_id: vm for slice_ in state.slices.values() for vm in slice_.vms}
    assert sorted(vm.vm_id for vm in given["vm"]) == sorted(machines)
    for vm in given["vm"]:
        assert machines[vm.vm_id].vnc_port == vm.vnc_port
        assert [i.mac for i in machines[vm.vm_id].interfaces] == [i.mac for i in vm.interfaces]
        assert [i.ip_config for i in machines[vm.vm_id].interfaces] == [i.ip_config for i in vm.interfaces]
    links = [link.to_dict() for slice_ in state.slices.values() for link in slice_.links]
    assert sorted(map(str, links)) == sorted(str(link.to_dict()) for link in given["link"])
    refused = {user: [] for user in QUOTAS} | {
        user: [s for who, note in notes if who == user for s in note["refused"]] for user in QUOTAS
    }
    for user, quota in QUOTAS.items():
        over = [sentence for sentence in refused[user] if sentence.startswith("Quota exceeded")]
        assert state.users[user].used_vms == quota
        assert over, f"the quota of {user} was never reached"
        assert all(f"{quota} of {quota}" in sentence for sentence in over)


# --- Everybody does everything, and some are killed -------------------------------------------------------------------


def live(cloud: SharedCloud, number: int, seed: str) -> None:
    """Run any use-case of the menu, for ever."""
    chance = random.Random(seed)
    api, user = cloud.session(), sorted(QUOTAS)[number % len(QUOTAS)]
    while True:
        actor = chance.choice([user, user, "root"])
        ok, slices = api.list_slices(actor)
        assert ok
        assert not isinstance(slices, str)
        if not slices or (chance.random() < 0.1 and len(slices) < 12):
            done, value = api.create_slice(user, "crowd")
        else:
            done, value = random_request(api, actor, chance.choice(slices), chance)
        assert done or (isinstance(value, str) and value.isprintable())


def random_request(api: OrchestratorAPI, actor: str, slice_: Slice, chance: random.Random) -> tuple[bool, Any]:
    here = (actor, slice_.slice_id)
    request = chance.choices(["add", "deploy", "delete", "finish", "take back", "look", "link"], [6, 4, 2, 1, 1, 2, 6])[
        0
    ]
    if request == "link" and len(slice_.vms) > 1:
        one, other = chance.sample(slice_.vms, 2)
        return api.create_link(*here, one.vm_id, "eth1", other.vm_id, "eth2")
    if request in {"add", "link"}:
        return api.add_vm_to_slice(*here, f"vm{chance.randrange(4)}", "cirros", 2, chance.random() < 0.5)
    requests: dict[str, Callable[[], tuple[bool, Any]]] = {
        "deploy": lambda: api.deploy_slice(*here),
        "delete": lambda: api.delete_slice(*here),
        "finish": lambda: api.finish_slice(*here),
        "take back": lambda: api.take_back_slice(*here),
        "look": chance.choice([api.discover_workers, lambda: api.unfinished(actor), lambda: api.plan_slice(*here)]),
    }
    return requests[request]()


def test_two_answers_repair_the_work_of_managers_killed_at_any_moment(cloud: SharedCloud) -> None:
    chance = random.Random(SEED)
    crowd: dict[int, BaseProcess] = {n: started(live, cloud, n, f"{SEED} {n}") for n in range(CROWD)}
    try:
        for kill in range(scaled(40, 600)):
            wait = time.monotonic() + chance.uniform(0.02, 0.2)
            while time.monotonic() < wait:
                cloud.check()
            number = chance.randrange(CROWD)
            victim = crowd[number]
            assert all(process.is_alive() for process in crowd.values()), f"one ended by itself; seed {SEED}"
            assert victim.pid
            os.kill(victim.pid, signal.SIGKILL)
            victim.join(DEADLINE_S)
            crowd[number] = started(live, cloud, number, f"{SEED} {number} {kill}")
    finally:
        for process in crowd.values():
            process.kill()
            process.join(DEADLINE_S)
    cloud.check()
    hosts_agree(cloud.hosts(), cloud.store.load())
    recover(cloud, chance)


def recover(cloud: SharedCloud, chance: random.Random) -> None:
    """Finish the managers' changes from the menu, one answer each; then delete all slices."""
    api = cloud.session()
    found = api.unfinished("root")[1]
    assert not isinstance(found, str)
    for slice_ in found:
        answer = (
            api.take_back_slice if chance.random() < 0.5 and slice_.status != SliceStatus.DELETING else api.finish_slice
        )
        ok, value = answer("root", slice_.slice_id)
        assert ok, f"{value}; seed {SEED}"
        hosts_agree(cloud.hosts(), cloud.store.load())
    assert api.unfinished("root")[1] == []
    for slice_id, slice_ in cloud.store.load().slices.items():
        assert slice_.status in {SliceStatus.DESIGN, SliceStatus.RUNNING}
        deleted = api.delete_slice(slice_.owner, slice_id)
        assert deleted[0], deleted[1]
    state = cloud.store.load()
    hosts_agree(cloud.hosts(), state)
    assert (dict(state.slices), {user.used_vms for user in state.users.values()}) == ({}, {0})
    if cloud.location != cloud.path:
        return
    beside = {entry.name for entry in cloud.folder.iterdir() if entry.name.startswith("database.yaml")}
    assert {name for name in beside if not re.search(r"slice-|\.audit|\.workers\.lock", name)} == {
        f"database.yaml{suffix}" for suffix in ("", ".lock", ".previous")
    }
