"""VMs on a worker: TAPs, their ports, and QEMU (docs/spec/networking.md, qemu-system(1)). Returns steps."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from core.captures import CaptureRequest
from core.errors import BadAnswer, figure
from core.inventory import Inventory
from core.names import VMFiles, flow_cookie, process_name, tap_group, tap_name
from machines import power, qemu, qmp, requirements
from machines.power import SWITCHED_OFF, Switching
from machines.qmp import Monitor
from machines.taps import Taps, raise_again, remove_taps
from models import VM, Interface, Slice
from network import ovs, shaping, stack
from network.checks import check_nothing_left
from network.port_security import flows_around
from remote.capture import CaptureVisit
from remote.console import Visit
from remote.console_log import LogVisit
from remote.plan import Command, Part, Step, about
from shell import accelerator, daemon
from shell.scripts import load

PROGRAMS = (
    *("awk", "ip", "nft", "ovs-ofctl", "ovs-vsctl", "qemu-img", "qemu-system-x86_64"),
    *("setpriv", "setsid", "socat", "ss", "taskset", "tee"),
)

CAPTURE_PROGRAM = "tcpdump"
"""The program of captures; a worker runs VMs without it."""

LET_RUN = "start of the guests"
"""The step that sets the carriers of guests, and lets them run."""

ROOM = "room"
"""The name of the answer before a change: running VMs, or VNC ports that are taken."""

PIDS = "pids"
"""The name of the answer about the processes of VMs."""

ENDED = "ended"
"""The name of the answer about the VMs that powered themselves off."""

ANY_STATUS = tuple(range(256))
"""The exit statuses of a command whose failure is no failure of its step."""

PORT_TAKEN = 98
"""The exit status of the check for room where other programs hold VNC ports; its output lists all ports."""

_HAVE_NICS = load("vms/have-nics")
_CHECK_ROOM = load("vms/check-room")
_END_VMS = load("vms/end-vms")
_LIST_ENDED = load("vms/list-ended")


class TakenPorts(NamedTuple):
    """VNC ports of VMs that other programs of a worker hold, and all ports on which its programs listen."""

    wanted: frozenset[int]
    listening: frozenset[int]


class VMLauncher:
    """The planner of start and end of VMs."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._bridge = inventory.bridge

    def preflight(self, slice_: Slice, *, new: bool) -> Iterable[Step]:
        """Yield checks of names, memory, disk, VNC ports and KVM on the slice's workers.

        They change no object of a slice; the worker keeps its answer about KVM in the record of `accelerator`.

        On the workers of a `new` slice nothing of it may be there; of another one the rules that a change replaces are
        listed.
        """
        for worker in slice_.workers:
            yield from self._check_worker(slice_, worker)
            yield from (self._check_new(slice_, worker),) if new else self._list_rules(slice_, worker)

    def prepare(self, slice_: Slice) -> Iterable[Step]:
        """Yield the steps that make TAPs, their ports and the flows around them."""
        return (step for worker in slice_.workers for step in self._wire(slice_, worker))

    def launch(self, slice_: Slice) -> Iterable[Step]:
        """Yield the steps that start QEMU."""
        return (step for worker in slice_.workers for step in self._launch(slice_, worker))

    def verify(self, slice_: Slice) -> Iterable[Step]:
        """Yield read-only checks that every QEMU runs and is ours, and that every port carries its tag."""
        return (step for worker in slice_.workers for step in self._check_vms(slice_, worker))

    def _check_worker(self, slice_: Slice, worker: str) -> tuple[Step, ...]:
        taps = self.taps(slice_, worker)
        return (
            Step(worker, "names of the TAPs", (ovs.check_port_names(taps.names), taps.check_names())),
            self.check_room(slice_, worker, _to_run(slice_, worker)),
            *self.check_devices(slice_.vms, worker),
            *self._check_netem(slice_, worker),
            *requirements.check_accelerator(worker, _on(slice_, worker), self._accel_record, self._accel),
        )

    def _check_netem(self, slice_: Slice, worker: str) -> Iterator[Step]:
        if shaping.needs_netem(self.queues(slice_, worker)):
            yield Step(worker, "delay and loss", (shaping.check_netem(),))

    def check_room(self, slice_: Slice, worker: str, vms: Iterable[VM]) -> Step:
        """Return the check that the worker has memory, disk and VNC ports for those of the VMs that do not run."""
        needs = [self._images, worker]
        for vm in vms:
            needs += [*self._process(slice_, vm), str(vm.ram_mib), str(vm.vnc_port)]
        return Step(worker, "room for the VMs", (Command(_CHECK_ROOM.argv(*needs), as_user=True, name=ROOM),))

    @staticmethod
    def check_devices(vms: Iterable[VM], worker: str) -> Iterable[Step]:
        """Return the check of what the flavors of these VMs ask of `worker`, where it is one of theirs."""
        return requirements.check_devices(worker, (vm for vm in vms if vm.worker_ip == worker))

    @staticmethod
    def ports_taken(status: int | None, stdout: str) -> TakenPorts | None:
        """Return the VNC ports that other programs hold by a preflight's output; None where there are none.

        Raise `BadAnswer` where it makes no sense.
        """
        if status != PORT_TAKEN:
            return None
        first, *lines = stdout.splitlines() or [""]
        sockets = [line.split()[3:4] for line in lines]
        if not first.strip() or not all(sockets):
            raise BadAnswer("it does not say which ports are taken")
        return TakenPorts(_ports_of(first.split()), _ports_of(word.rpartition(":")[2] for (word,) in sockets))

    def _list_rules(self, slice_: Slice, worker: str) -> tuple[Step, ...]:
        """Return the step that lists the slice's flows and its drop of frames, which a change replaces as a whole."""
        drop, flows = stack.list_drop(slice_.slice_id), ovs.list_flows(self._bridge, flow_cookie(slice_.slice_id))
        return (Step(worker, "port security", (drop, flows)),)

    def _check_new(self, slice_: Slice, worker: str) -> Step:
        """Return the check that no object of a running slice exists yet."""
        taps = self.taps(slice_, worker).names
        pids = [self.files(slice_, vm).pid_file for vm in _on(slice_, worker)]
        paths = [*(f"/sys/class/net/{tap}" for tap in taps), *pids]
        return check_nothing_left(worker, taps, paths, as_user=True)

    def _wire(self, slice_: Slice, worker: str) -> tuple[Step, ...]:
        """Return the steps that create TAPs of the slice's VMs on `worker`, their ports and the flows around them.

        The worker's own IP stack gets no frame of a TAP, from the first moment to the last. TAPs with a link go up
        last: no frame passes before the flows are there.
        """
        number, taps = slice_.slice_id, self.taps(slice_, worker)
        drop, pass_on = stack.drop_taps(number, taps.names), stack.undo_drop(number)
        make, remove = taps.make(self._inventory.ssh.user), remove_taps(taps.names, tap_group(number))
        dropped = Step(worker, "drop before the IP stack", (drop,), (pass_on,), objects=(stack.table_of(number),))
        again = (raise_again(),)
        if not taps.linked:
            return (dropped, Step(worker, "TAPs", (make, taps.join()), (remove,), objects=taps.names, restore=again))
        join, leave = taps.join(), ovs.remove_ports(taps.names)
        return (
            dropped,
            Step(worker, "TAPs", (make,), (remove,), objects=taps.names, restore=again),
            Step(worker, "ports of the TAPs", (join,), (leave,), objects=taps.linked, restore=again),
            *self._port_security(slice_, worker),
            Step(worker, "TAPs up", (taps.bring_up(),), objects=taps.linked, restore=(taps.lower(),)),
            *self._shape(slice_, worker),
        )

    def _shape(self, slice_: Slice, worker: str) -> Iterator[Step]:
        """Yield the step that gives TAPs the queues that their links ask for."""
        if queues := self.queues(slice_, worker):
            shape, undo = shaping.shape(queues), shaping.unshape(queues)
            names = tuple(f"queue of {tap}" for tap in queues)
            yield Step(worker, "queues of the TAPs", (shape,), (undo,), objects=names)

    def restore_wires(self, slice_: Slice, worker: str) -> Iterator[Step]:
        """Yield the steps that bring TAPs, ports and flows of a running slice to its design; they stay so."""
        return (replace(step, undo=(), restore=()) for step in self._wire(slice_, worker))

    def _launch(self, slice_: Slice, worker: str) -> Iterator[Step]:
        """Yield the steps that start QEMU of the VMs on `worker`, and end that of VMs that stay off."""
        if vms := _to_run(slice_, worker):
            yield from self.start_vms(slice_, worker, vms)
        if off := [vm for vm in _on(slice_, worker) if vm.stays_off]:
            end, are_off = self._end(slice_, off), power.are_off(self.monitor(slice_, vm) for vm in off)
            do, undo, names = replace(end, unless=are_off), replace(end, before=ROOM), tuple(vm.name for vm in off)
            yield Step(worker, "stopped VMs", (do,), (undo,), objects=names)

    def start_vms(self, slice_: Slice, worker: str, vms: Sequence[VM]) -> tuple[Step, Step]:
        """Return the steps that start QEMU of these VMs on `worker`, set their links and let them run.

        VMs that run already get their links set again.
        """
        starts = tuple(self._start(slice_, vm) for vm in vms)
        undo, names = replace(self._end(slice_, vms), before=ROOM), tuple(vm.name for vm in vms)
        return (
            Step(worker, "QEMU", starts, (undo,), objects=names),
            Step(worker, LET_RUN, (self._let_run(slice_, vms),), objects=names),
        )

    def _let_run(self, slice_: Slice, vms: Iterable[VM]) -> Command:
        """Return the command that sets the links of VMs and lets them run."""
        words = ((self.monitor(slice_, vm), self.files(slice_, vm).messages, qemu.links(slice_, vm)) for vm in vms)
        return Command(qmp.let_run(words), as_user=True)

    def set_links(self, slice_: Slice, worker: str, vms: Iterable[VM]) -> Step:
        """Return the step that sets the links of VMs on `worker` again. One that does not answer keeps its links."""
        dialogs = (
            (self.monitor(slice_, vm), [qmp.set_link(name, up=up) for name, up in qemu.links(slice_, vm).items()])
            for vm in vms
        )
        return Step(worker, "links of other VMs", (Command(qmp.ask(dialogs), ok=ANY_STATUS, as_user=True),))

    def cut_links(self, before: Slice, after: Slice, worker: str) -> Iterator[Step]:
        """Yield the step that takes the carriers of links that go from the VMs on `worker` that stay."""
        dialogs = []
        for vm in _to_run(before, worker):
            stays = after.vm(vm.vm_id)
            cut = qemu.cut_nics(vm, stays) if stays else []
            if cut:
                dialogs.append((self.monitor(before, vm), [qmp.set_link(nic, up=False) for nic in cut]))
        if dialogs:
            yield Step(worker, "carriers of links that go", (Command(qmp.ask(dialogs), ok=ANY_STATUS, as_user=True),))

    def stop_for_nics(self, before: Slice, after: Slice, worker: str) -> Iterator[Step]:
        """Yield the step that switches off the VMs on `worker` that get another number of interfaces."""
        stay = [(vm, stays) for vm in _to_run(before, worker) if (stays := after.vm(vm.vm_id))]
        if vms := [stays for vm, stays in stay if len(vm.interfaces) != len(stays.interfaces)]:
            words = (word for vm in vms for word in (*self._process(after, vm), str(len(vm.interfaces))))
            stop = power.stop([self.monitor(after, vm) for vm in vms], power.BUTTON_SECONDS)
            switch_off = Command(stop, unless=_HAVE_NICS.argv(*words), as_user=True)
            names = tuple(vm.name for vm in vms)
            yield Step(worker, "VMs with other interfaces", (switch_off,), objects=names)

    def look_for_ended(self, slice_: Slice, worker: str) -> Step:
        """Return the read-only step that prints the ids of VMs on `worker` that powered themselves off."""
        words: list[str] = [qemu.END_EVENT, str(qemu.BY_GUEST)]
        for vm in _to_run(slice_, worker):
            words += [str(vm.vm_id), *self._process(slice_, vm), self.files(slice_, vm).messages]
        return Step(worker, "power of the VMs", (Command(_LIST_ENDED.argv(*words), as_user=True, name=ENDED),))

    def stop_vms(self, slice_: Slice, worker: str, switching: Switching) -> Step:
        """Return the step that switches VMs on `worker` off. Its undo starts those that would be switched on again."""
        monitors = [self.monitor(slice_, vm) for vm in switching.off]
        stop = power.stop(monitors, switching.seconds)
        switch_off = Command(stop, unless=power.are_off(monitors), as_user=True, name=SWITCHED_OFF)
        on = {vm.vm_id for vm in switching.on}
        back = [vm for vm in switching.off if vm.vm_id in on]
        again = (*(self._start(slice_, vm) for vm in back), self._let_run(slice_, back)) if back else ()
        names = tuple(vm.name for vm in switching.off)
        return Step(worker, "running VMs", (switch_off, self._end(slice_, switching.off)), again, objects=names)

    def _end(self, slice_: Slice, vms: Iterable[VM]) -> Command:
        """Return the command that ends VMs and removes the files of their processes."""
        return about(Command(_END_VMS.argv(), as_user=True), (Part(vm.name, self._end_words(slice_, vm)) for vm in vms))

    def _check_vms(self, slice_: Slice, worker: str) -> tuple[Step, ...]:
        """Return the checks of the VMs, TAPs and flows on `worker`."""
        vms, taps = _to_run(slice_, worker), self.taps(slice_, worker)
        silent = (taps.check(), stack.check_dropped(slice_.slice_id, taps.names))
        steps = [
            *([self.check_vms(slice_, worker, vms)] if vms else []),
            Step(worker, "tags of the TAPs", (Command(ovs.check_tags(taps.ports, taps.loose)),)),
            Step(worker, "silence of the TAPs", silent),
        ]
        if queues := self.queues(slice_, worker):
            steps.append(Step(worker, "queues of the TAPs", (shaping.check(queues),)))
        if flows := self.flows(slice_, worker):
            check = Command(ovs.check_flows(self._bridge, flow_cookie(slice_.slice_id), flows))
            steps.append(Step(worker, "port security of the TAPs", (check,)))
        return tuple(steps)

    def check_vms(self, slice_: Slice, worker: str, vms: Iterable[VM]) -> Step:
        """Return the step that waits until these VMs are up; it prints `<vm id> <pid>` for each."""
        listen = daemon.await_ports(self._server(slice_, vm) for vm in vms)
        return Step(worker, "VMs", (Command(listen, as_user=True, name=PIDS),))

    def console(self, slice_: Slice, vm: VM, user: str, ends: str = "-") -> Visit:
        """Return a user's visit at the guest's serial console; `ends` is the visit that it may end for that."""
        files, name = self.files(slice_, vm), process_name(slice_.slice_id, vm.vm_id)
        return Visit(files.console, files.console_lock, files.pid_file, name, user, ends)

    def console_log(self, slice_: Slice, vm: VM) -> LogVisit:
        """Return the way to read along at the guest's serial console."""
        files = self.files(slice_, vm)
        return LogVisit(files.log, files.pid_file, process_name(slice_.slice_id, vm.vm_id))

    def capture(self, vm: VM, interface: Interface, request: CaptureRequest) -> CaptureVisit:
        """Return the way to packets of the TAP of a guest's interface."""
        return CaptureVisit(ovs.OWNER, tap_name(vm.vm_id, interface.name), request)

    # --- TAPs ---------------------------------------------------------------------------------------------------------

    def _port_security(self, slice_: Slice, worker: str) -> tuple[Step, ...]:
        """Return the step with the flows for frames out of the TAPs, and on the shared VLAN also into them."""
        flows, cookie = self.flows(slice_, worker), flow_cookie(slice_.slice_id)
        if not flows:
            return ()
        add, remove = ovs.replace_flows(self._bridge, cookie, flows), ovs.undo_flows(self._bridge, cookie)
        taps = self.taps(slice_, worker).linked
        return (Step(worker, "port security of the TAPs", (add,), (remove,), objects=taps),)

    def flows(self, slice_: Slice, worker: str) -> list[str]:
        """Return the port security of the slice's VMs on `worker`, for `ovs-ofctl add-flows`, without the cookie."""
        return flows_around(self._inventory, slice_, worker)

    def queues(self, slice_: Slice, worker: str) -> shaping.Queues:
        """Return the queues of the slice's TAPs on `worker`."""
        return shaping.queues(slice_, worker, self._inventory.all_profiles)

    def taps(self, slice_: Slice, worker: str) -> Taps:
        """Return the TAPs of all the slice's VMs on `worker`."""
        return self.taps_of(slice_, _on(slice_, worker))

    def taps_of(self, slice_: Slice, vms: Iterable[VM]) -> Taps:
        """Return the TAPs of some VMs of the slice."""
        return Taps.of(slice_, vms, self._inventory.internet.vlan_id, self._bridge)

    # --- QEMU ---------------------------------------------------------------------------------------------------------

    def _start(self, slice_: Slice, vm: VM) -> Command:
        """Return the command that starts a VM, also one that runs on a TAP that was replaced: its wire is dead."""
        files, process = self.files(slice_, vm), self._process(slice_, vm)
        taps = [tap_name(vm.vm_id, nic.name) for nic in vm.interfaces if nic.vlan_id is not None]
        argv, secret = self.qemu_argv(slice_, vm), base64.b64encode((vm.vnc_secret or "").encode()).decode()
        if self._accel == "auto":
            argv = accelerator.choosing(self._accel_record, argv)
        start = daemon.start(process, files.messages, files.log, argv, secret=files.vnc_secret, cores=vm.size.cores)
        runs = daemon.runs_on_its_taps(*process, taps)
        # A line is required, even an empty one: a VM of an older file may have no secret.
        return Command(start, stdin=f"{secret}\n", unless=runs, as_user=True, secret=True)

    def monitor(self, slice_: Slice, vm: VM) -> Monitor:
        """Return the socket at which QEMU of the VM is asked."""
        return Monitor(*self._process(slice_, vm), self.files(slice_, vm).qmp)

    def _process(self, slice_: Slice, vm: VM) -> daemon.Process:
        return self.files(slice_, vm).pid_file, process_name(slice_.slice_id, vm.vm_id)

    def _end_words(self, slice_: Slice, vm: VM) -> tuple[str, ...]:
        pid_file, *others = self.files(slice_, vm).of_its_process
        return (pid_file, process_name(slice_.slice_id, vm.vm_id), *others)

    def _server(self, slice_: Slice, vm: VM) -> daemon.ListeningProcess:
        return daemon.ListeningProcess(
            *self._process(slice_, vm), vm.vnc_port, self.files(slice_, vm).messages, str(vm.vm_id)
        )

    def qemu_argv(self, slice_: Slice, vm: VM) -> tuple[str, ...]:
        """Return the QEMU command line of `vm`."""
        return qemu.command_line(slice_.slice_id, vm, self.files(slice_, vm), self._accel)

    def files(self, slice_: Slice, vm: VM) -> VMFiles:
        """Return the VM's files on its worker."""
        return VMFiles(self._images, slice_.slice_id, vm.name)

    def runs_as_designed(self, slice_: Slice, vm: VM, argv: tuple[str, ...]) -> bool:
        """Return whether a QEMU with this command line is `vm`, by KVM or by TCG."""
        designed = self.qemu_argv(slice_, vm)
        return argv == designed or (self._accel == "auto" and argv in accelerator.variants(designed))

    @property
    def _images(self) -> str:
        return self._inventory.hypervisor.images_path

    @property
    def _accel(self) -> str:
        return self._inventory.hypervisor.accel

    @property
    def _accel_record(self) -> str:
        return f"{self._images}/{accelerator.RECORD}"


def _ports_of(words: Iterable[str]) -> frozenset[int]:
    return frozenset(figure(word, "is no port", 1, 65_535) for word in words)


def _on(slice_: Slice, worker: str) -> list[VM]:
    return [vm for vm in slice_.vms if vm.worker_ip == worker]


def _to_run(slice_: Slice, worker: str) -> list[VM]:
    return [vm for vm in _on(slice_, worker) if not vm.stays_off]
