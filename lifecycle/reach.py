"""The use-cases that reach a VM from outside: one of its TCP ports, its console's log, packets of an interface."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from accounts import rights
from accounts.use_cases import UseCase
from core import ssh_keys
from core.captures import CaptureRequest
from core.errors import CloudError, CommandFailed, Refused
from core.names import process_name
from database import State
from deployment import DeploymentAPI
from lifecycle import captures
from lifecycle.use_cases import SliceUseCases
from machines.power import are_off
from models import VM, Slice
from remote.capture import CaptureStream, NotCaptured, capture
from remote.console_log import GuestOffError, LogStream, watch
from remote.plan import Command, Plan, Stage, Step
from remote.port import NotConnected, PortAnswer, PortStream, PortVisit, join
from remote.runner import Runner
from vm_launcher import VMLauncher


@dataclass(frozen=True)
class WayIn:
    """The way of ssh(1) to a VM.

    `host` is a name for it; `slice_` and `vm` are the words of `connect`. `alias` stands for the VM's disk among known
    hosts, and `host_key` is the public key on it, empty where it is not known.
    """

    host: str
    slice_: str
    vm: str
    user: str
    alias: str
    host_key: str


@dataclass(frozen=True)
class WaysIn:
    """The ways to VMs, and the names of VMs without one. `manager` is its address in the settings, empty without."""

    ways: tuple[WayIn, ...]
    without: tuple[str, ...]
    manager: str


class Reach(SliceUseCases):
    """Reaches VMs of users, each after the check of its owner."""

    @UseCase("connect")
    def connect(self, actor: str, slice_id: int, vm_id: int, port: int) -> PortStream:
        """Join with a TCP port of a running VM, from the network node."""
        state = self._database.load()
        slice_, vm = rights.running_vm(state, actor, slice_id, vm_id)
        visit = DeploymentAPI(state.inventory_of(slice_)).way_to(slice_, vm, port)
        if visit is None:
            raise Refused(
                f"VM {vm_id} ({vm.name}) has no address that leads outside: give it internet access or a link, or use "
                f"its console: console {slice_id} {vm.name}"
            )
        node = state.inventory_of(slice_).network_node
        try:
            return join(self._connect(node).open_terminal(visit.argv, visit.script), visit, node)
        except NotConnected as refusal:
            if refusal.answer is PortAnswer.SILENT and self._is_off(state, slice_, vm):
                raise rights.off_by_itself(slice_, vm) from refusal
            raise _failure(refusal.answer, node, slice_, vm, visit) from refusal

    def _is_off(self, state: State, slice_: Slice, vm: VM) -> bool:
        """Return whether the VM's worker says that it does not run."""
        monitor = VMLauncher(state.inventory_of(slice_)).monitor(slice_, vm)
        ask = Command(are_off([monitor]), ok=(0, 1), as_user=True)
        seconds = state.inventory.ssh.timeouts.read_only
        step = Step(vm.worker_ip, f"power of {vm.name}", (ask,))
        plan = Plan((Stage("power", (step,)),), timeout=seconds, deadline=seconds, repeatable=True)
        (result,) = Runner(self._connect).run(plan).results
        return result.error is None and result.outcomes[0].status == 0

    @UseCase("read console")
    def watch(self, actor: str, slice_id: int, vm_id: int) -> LogStream:
        """Read along at the serial console of a running VM, which its user keeps."""
        state = self._database.load()
        slice_, vm = rights.running_vm(state, actor, slice_id, vm_id)
        visit = DeploymentAPI(state.inventory_of(slice_)).console_log(slice_, vm)
        try:
            return watch(self._connect(vm.worker_ip).open_terminal(visit.argv, visit.script), visit, vm.worker_ip)
        except GuestOffError as refusal:
            raise rights.off_by_itself(slice_, vm) from refusal

    @UseCase("capture")
    def capture(self, actor: str, slice_id: int, vm_id: int, request: CaptureRequest) -> CaptureStream:
        """Capture packets of one interface of a running VM, from now on."""
        state = self._database.load()
        slice_, vm = rights.running_vm(state, actor, slice_id, vm_id)
        request.check()
        interface = captures.linked_interface(vm, request.nic)
        visit = DeploymentAPI(state.inventory_of(slice_)).capture(vm, interface, request)
        try:
            return capture(self._connect(vm.worker_ip).open_terminal(visit.argv, visit.script), visit, vm.worker_ip)
        except NotCaptured as refusal:
            raise captures.failure(refusal, slice_, vm, request) from refusal

    @UseCase()
    def ways(self, actor: str, slice_id: int | None = None) -> WaysIn:
        """Return the ways of ssh(1) to the VMs of a slice, or of all slices of the user."""
        state = self._database.load()
        slices = rights.visible(state, actor) if slice_id is None else [rights.permitted(state, actor, slice_id)]
        ways, without = [], []
        for slice_ in slices:
            deployment = DeploymentAPI(state.inventory_of(slice_))
            word = _word(state, actor, slice_)
            for vm in slice_.vms:
                if deployment.way_to(slice_, vm, 22):
                    ways.append(_way(word, slice_, vm))
                else:
                    without.append(f"{word}-{vm.name}")
        return WaysIn(tuple(ways), tuple(without), state.inventory.login.address or "")


def _word(state: State, actor: str, slice_: Slice) -> str:
    """Return the word by which commands find the slice: its name, or its id where the name may mean another one.

    A word that begins with a hyphen would be an option.
    """
    if not slice_.name or slice_.name.startswith("-"):
        return str(slice_.slice_id)
    with suppress(Refused):
        if rights.find(state, actor, slice_.name).slice_id == slice_.slice_id:
            return slice_.name
    return str(slice_.slice_id)


def _way(word: str, slice_: Slice, vm: VM) -> WayIn:
    disk = vm.disk_id or process_name(slice_.slice_id, vm.vm_id)
    host_key = ssh_keys.public_key(vm.host_secret) if vm.host_secret else ""
    return WayIn(f"{word}-{vm.name}", word, rights.word_for(vm), vm.devices.user, f"cloud-{disk}", host_key)


def _failure(answer: PortAnswer, node: str, slice_: Slice, vm: VM, visit: PortVisit) -> CloudError:
    """Return the sentence about a port that could not be joined, with what to do."""
    where = f"VM {vm.vm_id} ({vm.name})"
    see = f"console {slice_.slice_id} {vm.name} shows what it does"
    repair = f"repair slice {slice_.slice_id}, which adds it"
    match answer:
        case PortAnswer.CLOSED:
            return Refused(f"{where} refuses connections to port {visit.port}: no program listens there yet; {see}")
        case PortAnswer.SILENT:
            within = f"within {visit.connect_seconds} s"
            return Refused(f"{where} does not answer at {visit.address} {within}: is it still booting? {see}")
        case PortAnswer.NO_RULE:
            why = f"the firewall has no rule for answers of VMs; {repair}"
        case PortAnswer.NO_NAMESPACE:
            why = f"the slice's router is gone; {repair}"
        case _:
            why = "socat is not installed (apt-get install socat)"
    return CommandFailed(node, f"connection with {where}", ("socat",), 1, why)
