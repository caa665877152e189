"""Signs of life of a slice's VMs: asked of hosts in one round trip to each, and parsed. Runs nothing.

A guest decides what it says and sends, so a sign proves nothing. It tells a person when to go on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from core.errors import BadAnswer, figure
from core.inventory import Inventory
from core.names import LAST_ID, process_name, tap_name
from core.status import VMStatus
from models import VM, Slice
from network.dhcp import log_file
from remote.plan import Command, Plan, Stage, Step
from shell.parallel import grouped
from shell.scripts import load
from vlan_manager import VLANManager
from vm_launcher import VMLauncher

_LOOK_AT_VMS = load("readiness/look-at-vms")
_LOOK_AT_ADDRESSES = load("readiness/look-at-addresses")

_SSH = 22
_MOST_BANNERS = 40
"""The most VMs that are asked for SSH at a time: each costs a connection."""


class Sign(StrEnum):
    """A sign of life of a VM, in the order in which they usually come."""

    PROCESS = "process"
    FRAME = "frame"
    LEASE = "lease"
    CONSOLE = "console"
    SSH = "ssh"


BAD_PATTERNS = "patterns"
"""The word of a worker for a console that cannot be compared with its patterns."""

_OF_WORKER = frozenset({Sign.PROCESS, Sign.FRAME, Sign.CONSOLE, BAD_PATTERNS})
_OF_NETWORK = frozenset({Sign.LEASE, Sign.SSH})

Seen = Mapping[int, frozenset[str]]
"""VM id -> the words that hosts said about it."""


@dataclass(frozen=True)
class VMSigns:
    """The signs of a VM that were seen, and those that can be seen; `needed` says that it is ready."""

    vm_id: int
    name: str
    seen: frozenset[Sign]
    possible: tuple[Sign, ...]
    needed: Sign
    timeout: int
    problem: str = ""

    @property
    def ready(self) -> bool:
        """Return whether the VM is ready for its user."""
        return self.needed in self.seen


class SignsOfLife:
    """Asks the hosts of a slice for signs of its running VMs."""

    def __init__(self, inventory: Inventory, slice_: Slice) -> None:
        self._inventory = inventory
        self._slice = slice_
        self._launcher = VMLauncher(inventory)
        self._vlans = VLANManager(inventory)
        self._leases = _leases(self._vlans, slice_)
        self._vms = {vm.vm_id: vm for vm in slice_.placed if vm.status == VMStatus.RUNNING}

    def plan(self, seen: Seen, *, once: bool = False) -> Plan:
        """Return the read-only plan that asks for signs beyond those that were seen; it may ask nothing.

        Unless it is asked `once`, only VMs that have sent a frame are asked for SSH: others cost a second each.
        """
        words = {vm_id: seen.get(vm_id, frozenset()) for vm_id in self._vms}
        missing = [vm for vm in self._vms.values() if not words[vm.vm_id].issuperset(self.possible(vm))]
        no_ssh = [vm for vm in missing if Sign.SSH not in words[vm.vm_id] and (once or Sign.FRAME in words[vm.vm_id])]
        steps = [self._ask_worker(worker, missing) for worker in self._slice.workers]
        steps.append(self._ask_network(missing, no_ssh[:_MOST_BANNERS]))
        seconds = self._inventory.ssh.timeouts.read_only
        asked = tuple(step for step in steps if step.do)
        return Plan((Stage("signs of life", asked),), timeout=seconds, deadline=seconds, repeatable=True)

    def possible(self, vm: VM) -> tuple[Sign, ...]:
        """Return the signs that a VM can show."""
        signs = {
            Sign.PROCESS: True,
            Sign.FRAME: any(_taps(vm)),
            Sign.LEASE: bool(self._leases.get(vm.vm_id)),
            Sign.CONSOLE: bool(vm.devices.ready),
            Sign.SSH: self._vlans.way_to(self._slice, vm, _SSH) is not None,
        }
        return tuple(sign for sign, can_be_seen in signs.items() if can_be_seen)

    def needed(self, vm: VM) -> Sign:
        """Return the sign that says that a VM is ready: what its flavor says, else a lease, else a frame."""
        possible = self.possible(vm)
        return next((sign for sign in (Sign.CONSOLE, Sign.LEASE, Sign.FRAME) if sign in possible), Sign.PROCESS)

    def parse(self, host: str, stdout: str) -> dict[int, frozenset[str]]:
        """Return the words of a host about each VM; raise `BadAnswer` for an invalid line."""
        words = (_OF_NETWORK if host == self._inventory.network_node else frozenset()) | (
            _OF_WORKER if host in self._slice.workers else frozenset()
        )
        found: dict[int, set[str]] = {}
        for line in stdout.splitlines():
            number, _, word = line.partition(" ")
            vm = self._vms.get(figure(number, "is no VM", 0, LAST_ID))
            if vm is None or word not in words or (word in _OF_WORKER and vm.worker_ip != host):
                raise BadAnswer(f"{line[:40]!r} is no sign of a VM")
            found.setdefault(vm.vm_id, set()).add(word)
        return {vm_id: frozenset(each) for vm_id, each in found.items()}

    def result(self, seen: Seen) -> list[VMSigns]:
        """Return what is known of each running VM."""
        return [self._signs(vm, seen.get(vm.vm_id, frozenset())) for vm in self._vms.values()]

    def _signs(self, vm: VM, words: Collection[str]) -> VMSigns:
        seen = frozenset(sign for sign in Sign if sign in words)
        problem = "its patterns cannot be compared with its console" if BAD_PATTERNS in words else ""
        return VMSigns(vm.vm_id, vm.name, seen, self.possible(vm), self.needed(vm), vm.devices.ready_timeout, problem)

    def _ask_worker(self, worker: str, missing: list[VM]) -> Step:
        groups = [self._worker_words(vm) for vm in missing if vm.worker_ip == worker]
        ask = Command(_LOOK_AT_VMS.argv(*grouped(groups)), as_user=True)
        return Step(worker, "signs of life", (ask,) if groups else ())

    def _worker_words(self, vm: VM) -> tuple[str, ...]:
        files, taps = self._launcher.files(self._slice, vm), [*_taps(vm)]
        process = (files.pid_file, process_name(self._slice.slice_id, vm.vm_id))
        return (str(vm.vm_id), *process, files.log, str(len(taps)), *taps, *vm.devices.ready)

    def _ask_network(self, missing: list[VM], silent: list[VM]) -> Step:
        asked = {vm.vm_id for vm in silent}
        groups = [
            words for vm in missing if (words := self._network_words(vm, with_ssh=vm.vm_id in asked))[2] or words[3:]
        ]
        ask = Command(_LOOK_AT_ADDRESSES.argv(*grouped(groups)))
        return Step(self._inventory.network_node, "signs of life", (ask,) if groups else ())

    def _network_words(self, vm: VM, *, with_ssh: bool) -> tuple[str, ...]:
        way = self._vlans.way_to(self._slice, vm, _SSH) if with_ssh else None
        namespace, address = (way.namespace, way.address) if way else ("", "")
        return (str(vm.vm_id), namespace, address, *self._leases.get(vm.vm_id, ()))


def _taps(vm: VM) -> Iterator[str]:
    return (tap_name(vm.vm_id, nic.name) for nic in vm.interfaces if nic.vlan_id is not None)


def _leases(vlans: VLANManager, slice_: Slice) -> dict[int, list[str]]:
    """Return VM id -> pairs of a DHCP server's log and a MAC that gets an address there."""
    logs = {
        line.partition(",")[0].lower(): log_file(server.vlan_id)
        for server in vlans.servers(slice_)
        for line in server.reservations
    }
    found: dict[int, list[str]] = {}
    for vm in slice_.vms:
        macs = [(nic.mac or "").lower() for nic in vm.interfaces]
        found[vm.vm_id] = [word for mac in macs if mac in logs for word in (logs[mac], mac)]
    return found
