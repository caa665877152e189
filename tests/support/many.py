"""A valid `database.yaml` of many slices, and hosts on which every command succeeds at once."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from allocation.ids import next_slice_id, next_vm_id
from core import passwords
from core.inventory import MAX_SLICES, Inventory, Worker
from core.status import NetworkStatus, SliceStatus, VMStatus
from database import Database, State
from deployment import DeploymentAPI
from machines import credentials
from models import Flavor, Slice, User
from remote.plan import Step
from remote.transcript import Outcome, UploadProgress
from tests.support.paths import ROOT

OWNERS = [f"student{number}" for number in range(10)]
VMS_WITH_INTERNET = 2
"""Number per slice: VLAN 400 has addresses for 240 guests."""

PASSWORD = "correct horse"

_BIG = Worker(max_cores=10_000, max_ram_gb=10_000.0, max_disk_gb=100_000.0)


class WillingHost:
    """A host on which every command succeeds at once."""

    def run(self, steps: Sequence[Step], **_: Any) -> Generator[Outcome | UploadProgress, None, None]:
        """Yield success for every command."""
        for number, step in enumerate(steps):
            for action in range(len(step.do)):
                yield Outcome(number, action, 0)

    def expect(self, *, repeatable: bool = False) -> None:
        """Keep nothing for a later batch."""

    def open_terminal(self, argv: tuple[str, ...], script: str) -> Any:  # noqa: ARG002
        """Fail: no measurement opens a console."""
        raise AssertionError(argv)


def write_file(path: Path, sizes: list[int]) -> None:
    """Write a valid state file with a slice of each of these sizes.

    It lists no workers, so a menu connects to none.
    """
    shutil.copyfile(ROOT / "database.yaml", path)
    path.chmod(0o600)
    with Database(path).transaction() as state:
        state.users = {name: User(name, "", max(sum(sizes), 1)) for name in OWNERS}
        digest = passwords.hash_password(PASSWORD)
        for user in state.users.values():
            user.password_hash, user.quota_slices = digest, MAX_SLICES
        for number, vms in enumerate(sizes):
            _add_slice(state, state.users[OWNERS[number % len(OWNERS)]], vms, running=number % 2 == 0)
        state.inventory = replace(state.inventory, workers_list=(), network_node="127.0.0.1")


def _add_slice(state: State, owner: User, vms: int, *, running: bool) -> None:
    """Add a ring of VMs, each with a link to the next."""
    slice_ = Slice(next_slice_id(state.next_vm_id, state.slices.taken), owner.username)
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
    inventory, taken = Inventory(), state.slices.taken
    workers = dict.fromkeys(inventory.workers_list, _BIG)
    vm_id = next_vm_id(state.next_vm_id, taken)
    state.next_vm_id = vm_id + 1
    flavor = Flavor.from_dict(Flavor.FLAVORS["cirros"])
    vm = DeploymentAPI(inventory).create_vm_with_qcow(
        slice_, vm_id, name, "cirros", flavor, 2, internet, workers, taken
    )
    vm.status = VMStatus.DESIGN


def _mark_running(slice_: Slice) -> None:
    credentials.renew(slice_, slice_.vms, [])
    slice_.status = SliceStatus.RUNNING
    for vm in slice_.vms:
        vm.status, vm.pid = VMStatus.RUNNING, str(vm.vm_id)
    for network in slice_.networks:
        network.status = NetworkStatus.RUNNING
