"""How long it takes from starting the menu to seeing it, and how much memory it has then, on a file of many slices."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import passwords
from bench.report import Spread
from database import Database, State
from deployment import DeploymentAPI
from inventory import Inventory, Worker
from models import Flavor, Slice, User, next_slice_id, next_vm_id

SLICES = 100
VMS_PER_SLICE = 10
OWNERS = 10
VMS_WITH_INTERNET = 2
"""Of each slice: VLAN 400 has addresses for 240 guests."""

PASSWORD = "correct horse"  # noqa: S105 - of a file that lives for some seconds
MAX_SECONDS = 1.5
MAX_MB = 100.0
DEADLINE_SECONDS = 60.0
MENU_PROMPT = b"Choose an option: "

_ROOT = Path(__file__).parents[1]
_BIG = Worker(max_cores=10_000, max_ram_gb=10_000.0, max_disk_gb=100_000.0)


@dataclass(frozen=True)
class Startup:
    """What was seen: seconds to the menu, and the most memory that was resident until then."""

    seconds: Spread
    megabytes: float

    @property
    def missed(self) -> bool:
        """Whether one of the bounds was not kept."""
        return self.seconds.median > MAX_SECONDS or self.megabytes > MAX_MB

    def lines(self) -> list[str]:
        """The report."""
        starts = len(self.seconds.values)
        return [
            f"A file with {SLICES} slices and {SLICES * VMS_PER_SLICE} VMs, no worker to discover; medians of {starts}",
            f"time to the menu, median (min to max): {self.seconds}   bound {MAX_SECONDS:g} s",
            f"peak resident memory:                  {self.megabytes:.1f} MB   bound {MAX_MB:g} MB",
            "bounds " + ("MISSED" if self.missed else "met"),
        ]


def measure(repeat: int, say: Callable[[str], None]) -> Startup:
    """Start the menu so many times, after one start that only fills the page cache."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        database = Path(folder) / "database.yaml"
        say("writing the file")
        write_file(database)
        _start(database)
        runs = []
        for number in range(1, repeat + 1):
            say(f"start {number} of {repeat}")
            runs.append(_start(database))
    seconds, megabytes = zip(*runs, strict=True)
    return Startup(Spread(tuple(seconds)), max(megabytes))


def write_file(path: Path) -> None:
    """A valid state file full of slices; it lists no workers, so the menu has nobody to talk to."""
    shutil.copyfile(_ROOT / "database.yaml", path)
    with Database(path).transaction() as state:
        state.users = {name: User(name, "", SLICES * VMS_PER_SLICE) for name in _owners()}
        digest = passwords.hash_password(PASSWORD)
        for user in state.users.values():
            user.password_hash = digest
        for number in range(SLICES):
            _add_slice(state, state.users[_owners()[number % OWNERS]], running=number % 2 == 0)
        state.inventory = replace(state.inventory, workers_list=(), network_node="127.0.0.1")


def _owners() -> list[str]:
    return [f"student{number}" for number in range(OWNERS)]


def _add_slice(state: State, owner: User, *, running: bool) -> None:
    """A ring of VMs, every one with a link to the next."""
    slices = state.slices.values()
    tenant = Slice(next_slice_id(state.next_vm_id, slices), owner.username)
    tenant.name = f"ring-{tenant.slice_id}"
    state.slices[tenant.slice_id] = tenant
    owner.slices.append(tenant.slice_id)
    state.next_vm_id = tenant.slice_id + 1
    for number in range(VMS_PER_SLICE):
        _add_vm(state, tenant, f"vm{number + 1}", internet=number < VMS_WITH_INTERNET)
    owner.used_vms += VMS_PER_SLICE
    for first, second in zip(tenant.vms, (*tenant.vms[1:], tenant.vms[0]), strict=True):
        tenant.connect(first.vm_id, "eth1", second.vm_id, "eth2")
    if running:
        _mark_running(tenant)


def _add_vm(state: State, tenant: Slice, name: str, *, internet: bool) -> None:
    inventory, slices = Inventory(), state.slices.values()
    workers = dict.fromkeys(inventory.workers_list, _BIG)
    vm_id = next_vm_id(state.next_vm_id, slices)
    state.next_vm_id = vm_id + 1
    flavor = Flavor.FLAVORS["cirros"]
    vm = DeploymentAPI(inventory).create_vm_with_qcow(
        tenant, vm_id, name, "cirros", flavor, 2, internet, workers, slices
    )
    vm.status = "design"


def _mark_running(tenant: Slice) -> None:
    DeploymentAPI(Inventory()).renew_secrets(tenant)
    tenant.status = "running"
    for vm in tenant.vms:
        vm.status, vm.pid = "running", str(vm.vm_id)
    for network in tenant.networks:
        network.status = "running"


def _start(database: Path) -> tuple[float, float]:
    """Start the menu on pipes, log in, wait for its prompt: seconds from the start, and peak memory in MB."""
    argv = [sys.executable, str(_ROOT / "cli.py"), "--database", str(database)]
    began = time.monotonic()
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdin  # noqa: S101 - for the type checker: it is a pipe
            assert process.stdout  # noqa: S101 - as above
            process.stdin.write(f"{_owners()[0]}\n{PASSWORD}\n".encode())
            process.stdin.flush()
            _wait_for_menu(process.stdout.fileno(), began + DEADLINE_SECONDS)
            return time.monotonic() - began, peak_megabytes(Path(f"/proc/{process.pid}/status").read_text())
        finally:
            process.kill()


def _wait_for_menu(descriptor: int, deadline: float) -> None:
    heard = b""
    while MENU_PROMPT not in heard:
        ready = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]
        piece = os.read(descriptor, 65_536) if ready else b""
        if not piece:
            raise TimeoutError(f"the menu did not come; it said: {heard.decode(errors='replace')[-500:]}")
        heard += piece


def peak_megabytes(status: str) -> float:
    """`VmHWM` of /proc/<pid>/status (proc(5)), in MB."""
    match = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    if match is None:
        raise ValueError("no VmHWM in /proc/<pid>/status")
    return int(match[1]) * 1024 / 1e6
