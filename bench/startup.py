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
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from allocation.ids import next_slice_id, next_vm_id
from bench.samples import Facts, Sample
from core import passwords
from core.inventory import Inventory, Worker
from database import Database, State
from deployment import DeploymentAPI
from models import MAX_SLICES, Flavor, Slice, User

OWNERS = 10
VMS_WITH_INTERNET = 2
"""Of each slice: VLAN 400 has addresses for 240 guests."""

PASSWORD = "correct horse"  # noqa: S105 - of a file that lives for some seconds
DEADLINE_SECONDS = 60.0
MENU_PROMPT = b"Choose an option: "

_ROOT = Path(__file__).parents[1]
_BIG = Worker(max_cores=10_000, max_ram_gb=10_000.0, max_disk_gb=100_000.0)


SMALL, LARGE = [4], [10] * 100
"""VMs of each slice: what one finds in a first week, and a full house."""


def series(sizes: list[int]) -> str:
    """What the samples are found under."""
    return f"start with {sum(sizes)} VMs"


def measure(repeat: int, say: Callable[[str], None]) -> Iterator[Sample]:
    """Start the menu so many times on a small and on a large file, after one start that only fills the caches."""
    for sizes in (SMALL, LARGE):
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            database = Path(folder) / "database.yaml"
            write_file(database, sizes)
            _start(database)
            for number in range(1, repeat + 1):
                say(f"{series(sizes)}, {number} of {repeat}")
                seconds, facts = _start(database)
                yield Sample(series(sizes), "ours", "menu", seconds, facts)
    yield Sample("imports", "ours", "menu", 0.0, {"slowest": imports()})


def imports(count: int = 8) -> list[tuple[str, float]]:
    """The modules that take longest to import for the menu, with all that they import, in seconds (-X importtime)."""
    argv = [sys.executable, "-X", "importtime", "-c", "import cli"]
    done = subprocess.run(argv, cwd=_ROOT, env=_usual(), capture_output=True, text=True, check=True)
    return slowest_imports(done.stderr, count)


def slowest_imports(text: str, count: int) -> list[tuple[str, float]]:
    """From what `-X importtime` prints: own and cumulated microseconds, and the name, indented by depth."""
    rows = re.findall(r"^import time: +\d+ \| +(\d+) \| +(\S+)$", text, re.MULTILINE)
    return sorted(((name, int(total) / 1e6) for total, name in rows), key=lambda row: -row[1])[:count]


def write_file(path: Path, sizes: list[int]) -> None:
    """A valid state file, a slice of each of these sizes; it lists no workers, so the menu has nobody to talk to."""
    shutil.copyfile(_ROOT / "database.yaml", path)
    path.chmod(0o600)
    with Database(path).transaction() as state:
        state.users = {name: User(name, "", max(sum(sizes), 1)) for name in _owners()}
        digest = passwords.hash_password(PASSWORD)
        for user in state.users.values():
            user.password_hash, user.quota_slices = digest, MAX_SLICES
        for number, vms in enumerate(sizes):
            _add_slice(state, state.users[_owners()[number % OWNERS]], vms, running=number % 2 == 0)
        state.inventory = replace(state.inventory, workers_list=(), network_node="127.0.0.1")


def _owners() -> list[str]:
    return [f"student{number}" for number in range(OWNERS)]


def _add_slice(state: State, owner: User, vms: int, *, running: bool) -> None:
    """A ring of VMs, every one with a link to the next."""
    slice_ = Slice(next_slice_id(state.next_vm_id, state.slices.holdings.values()), owner.username)
    slice_.name = f"ring-{slice_.slice_id}"
    state.slices[slice_.slice_id] = slice_
    owner.slices.append(slice_.slice_id)
    state.next_vm_id = slice_.slice_id + 1
    for number in range(vms):
        _add_vm(state, slice_, f"vm{number + 1}", internet=number < VMS_WITH_INTERNET)
    owner.used_vms += vms
    for first, second in zip(slice_.vms, (*slice_.vms[1:], slice_.vms[0]), strict=True):
        slice_.connect(first.vm_id, "eth1", second.vm_id, "eth2")
    if running:
        _mark_running(slice_)


def _add_vm(state: State, slice_: Slice, name: str, *, internet: bool) -> None:
    inventory, live = Inventory(), state.slices.holdings.values()
    workers = dict.fromkeys(inventory.workers_list, _BIG)
    vm_id = next_vm_id(state.next_vm_id, live)
    state.next_vm_id = vm_id + 1
    flavor = Flavor.FLAVORS["cirros"]
    vm = DeploymentAPI(inventory).create_vm_with_qcow(slice_, vm_id, name, "cirros", flavor, 2, internet, workers, live)
    vm.status = "design"


def _mark_running(slice_: Slice) -> None:
    DeploymentAPI(Inventory()).renew_secrets(slice_)
    slice_.status = "running"
    for vm in slice_.vms:
        vm.status, vm.pid = "running", str(vm.vm_id)
    for network in slice_.networks:
        network.status = "running"


def _start(database: Path) -> tuple[float, Facts]:
    """Start the menu on pipes, log in, wait for its prompt: seconds from the start, and memory in MB."""
    argv = [sys.executable, str(_ROOT / "cli.py"), "--database", str(database)]
    began = time.monotonic()
    with subprocess.Popen(argv, env=_usual(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdin  # noqa: S101 - for the type checker: it is a pipe
            assert process.stdout  # noqa: S101 - as above
            process.stdin.write(f"{_owners()[0]}\n{PASSWORD}\n".encode())
            process.stdin.flush()
            _wait_for_menu(process.stdout.fileno(), began + DEADLINE_SECONDS)
            took = time.monotonic() - began
            status = Path(f"/proc/{process.pid}/status").read_text()
            return took, {"peak": megabytes(status, "VmHWM"), "rest": megabytes(status, "VmRSS")}
        finally:
            process.kill()


def _usual() -> dict[str, str]:
    """The environment with byte code kept, as everybody has it who does not forbid that."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _wait_for_menu(descriptor: int, deadline: float) -> None:
    heard = b""
    while MENU_PROMPT not in heard:
        ready = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]
        piece = os.read(descriptor, 65_536) if ready else b""
        if not piece:
            raise TimeoutError(f"the menu did not come; it said: {heard.decode(errors='replace')[-500:]}")
        heard += piece


def megabytes(status: str, field: str) -> float:
    """`VmHWM`, the peak, or `VmRSS`, what is resident now, of /proc/<pid>/status (proc(5)), in MB."""
    match = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    if match is None:
        raise ValueError(f"no {field} in /proc/<pid>/status")
    return int(match[1]) * 1024 / 1e6
