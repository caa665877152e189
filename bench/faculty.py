"""A cloud on PostgreSQL: each design operation at 10 and at 10,000 VMs, and the first screen of a student.

The use-cases run unchanged, on hosts that finish everything at once: the measured part is the store.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from bench.designing import operations
from bench.samples import Sample
from bench.startup import at_menu
from core import passwords
from core.inventory import MAX_SLICES, Realm, Worker
from database import Store, open_store
from models import POOL_COUNT, User
from orchestrator import OrchestratorAPI
from storage.location import ServerURL
from tests.support.many import PASSWORD, WillingHost, write_file
from tests.support.paths import ROOT
from tests.support.postgres import PostgresServer, started
from topology.templates import make

SIZES = {10: 2, 10_000: 2000}
"""Slices of a cloud by its VMs."""

VMS = 5
"""Number per slice."""

FIRST_SCREEN = "first screen"
_OWNER_SLICES = 50
_HOSTS = "127.{}.0.{}"
"""Addresses of hosts, by realm and number: no packet leaves the machine."""


def series(vms: int) -> str:
    """Return the name of the series of these samples."""
    return f"PostgreSQL with {vms:,} VMs"


def measure(
    rounds: int, say: Callable[[str], None], sizes: Mapping[int, int] = MappingProxyType(SIZES)
) -> Iterator[Sample]:
    """Fill a database of each size, then design and delete a small slice and open sessions, `rounds` times."""
    with started() as server, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for vms, slices in sizes.items():
            url = server.new_database()
            say(f"{series(vms)}: designs {slices} slices")
            store = _filled(url, Path(folder) / f"{vms}.yaml", slices)
            say(f"{series(vms)}, {rounds} rounds")
            api = OrchestratorAPI(store, lambda _address: WillingHost())
            for _ in range(rounds):
                _note_measurements(store)
                yield from operations(api, series(vms))
            yield from _sessions(store, server, url, series(vms), rounds)


def _filled(url: ServerURL, file: Path, slices: int) -> Store:
    """Return a store whose cloud has so many slices, in as many realms as they need and one with room."""
    write_file(file, [])
    store = open_store(file)
    realms = slices // POOL_COUNT + 1
    state = store.load()
    digest = passwords.hash_password(PASSWORD)
    for number in range(slices // _OWNER_SLICES + 1):
        owner = _owner(number * _OWNER_SLICES)
        state.users[owner] = User(owner, digest, 10_000)
        state.users[owner].quota_slices = MAX_SLICES
    hosts = {number: [_HOSTS.format(number + 1, host) for host in (1, 2, 3)] for number in range(realms)}
    others = {
        f"r{number}": Realm.from_dict({"network_node": node, "workers_list": workers})
        for number, (*workers, node) in hosts.items()
        if number
    }
    state.inventory = replace(
        state.inventory, network_node=hosts[0][2], workers_list=tuple(hosts[0][:2]), realms=others
    )
    state.workers = {address: Worker() for found in hosts.values() for address in found[:2]}
    target = open_store(url)
    target.create(state)
    api = OrchestratorAPI(target, lambda _address: WillingHost())
    for number in range(slices):
        if number % _OWNER_SLICES == 0:
            _note_measurements(target)
        api.designs.create(_owner(number), make(f"ring:{VMS}", f"ring{number}", "cirros", "none"))
    return target


def _note_measurements(store: Store) -> None:
    """Let all workers be measured just now, so that no session measures them."""
    with store.transaction() as state:
        for address in state.workers:
            state.workers[address] = Worker(10_000, 10_000.0, 100_000.0, measured=time.time())


def _owner(number: int) -> str:
    return f"student{number // _OWNER_SLICES}"


def _sessions(store: Store, server: PostgresServer, url: ServerURL, name: str, rounds: int) -> Iterator[Sample]:
    """Open sessions of a student, where another session has measured the workers just now.

    The time is that from the session's connection, as the server notes it, to the first screen.
    """
    argv = [sys.executable, str(ROOT / "cli.py"), "--database", url.text, "--user", _owner(0)]
    for _ in range(rounds):
        _note_measurements(store)
        with at_menu(argv, f"{PASSWORD}\n") as (moment, facts):
            began = server.newest_connection(url)
        yield Sample(name, "ours", FIRST_SCREEN, moment - began, facts)
