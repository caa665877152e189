"""Make plans from a slice and the inventory: MACs, addresses, placement, the order of the stages.

It touches no file and no host. Disk ids and VNC passwords are random.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Protocol

import vlan_manager
import vm_launcher
from allocation.holdings import door
from allocation.ids import next_internet_address, next_vnc_port
from allocation.measuring import KIB_PER_GIB, RESOURCES, measure, parse_resources
from allocation.placement import place
from allocation.taken import Taken
from core.captures import CaptureRequest
from core.errors import BadAnswer, printable
from core.inventory import Inventory, Worker
from core.names import mac_address
from machines import credentials
from machines.power import BUTTON_SECONDS, ENDING_SECONDS, Switching
from machines.snapshots import SnapshotSteps
from models import NOWHERE, VM, Flavor, Interface, Slice
from network.host_checks import HostChecks
from qcow_manager import QCOWManager
from remote.capture import CaptureVisit
from remote.console import Visit
from remote.console_log import LogVisit
from remote.plan import CHANGE_DEADLINE_SECONDS, TIMEOUT_SECONDS, Plan, Stage, Step
from remote.port import PortVisit
from vlan_manager import VLANManager
from vm_launcher import TakenPorts, VMLauncher

_PID = re.compile(r"([0-9]{1,9}) ([1-9][0-9]{0,9})")
MAX_SKEW_SECONDS = 30
"""Largest difference between the clocks of worker and manager without a warning: an answer may be 10 s old."""

NO_STAGES = Plan(())
PREFLIGHT = "preflight"
"""The stage of a deployment that changes nothing."""

_STAGE_SHARE = CHANGE_DEADLINE_SECONDS / TIMEOUT_SECONDS


class Planner(Protocol):
    """A planner of one part of a deployment, stage by stage. It returns steps and runs nothing."""

    def preflight(self, slice_: Slice, /, *, new: bool) -> Iterable[Step]:
        """Return the checks before a change, which change no object of a slice.

        Only disks of a `new` slice may be there.
        """

    def prepare(self, slice_: Slice, /) -> Iterable[Step]:
        """Return the steps that make all that VMs need to start."""

    def launch(self, slice_: Slice, /) -> Iterable[Step]:
        """Return the steps that start VMs and servers."""

    def verify(self, slice_: Slice, /) -> Iterable[Step]:
        """Return the read-only checks after a change."""


class DeploymentAPI:
    """Makes the plans. A plan depends on slice and inventory only, not on the present state of the hosts."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._qcow = QCOWManager(inventory.hypervisor)
        self._vlans = VLANManager(inventory)
        self._launcher = VMLauncher(inventory)
        self._snapshots = SnapshotSteps(inventory.hypervisor.images_path)

    # --- designing ----------------------------------------------------------------------------------------------------

    def generate_unique_macs(self, vm_id: int, count: int) -> list[str]:
        """Return the MACs of a VM's first `count` interfaces."""
        return [mac_address(vm_id, index) for index in range(count)]

    def create_vm_with_qcow(
        self,
        slice_: Slice,
        vm_id: int,
        name: str,
        flavor_name: str,
        flavor: Flavor,
        data_interfaces_count: int,
        internet_enabled: bool,
        workers: Mapping[str, Worker],
        taken: Taken,
        beside: Collection[str] = (),
    ) -> VM:
        """Design a VM and add it to `slice_`: worker, VNC port, MACs, address, disk; `disk_plan` makes the disk.

        `taken`: what all slices hold, `slice_` included. `beside`: the preferred workers. Raise `Refused` without
        a worker or an address for it.
        """
        macs = self.generate_unique_macs(vm_id, data_interfaces_count + 1)
        interfaces = [Interface(f"eth{index}", mac=mac) for index, mac in enumerate(macs)]
        if internet_enabled:
            interfaces[0].vlan_id = self._inventory.internet.vlan_id
            interfaces[0].ip_config = next_internet_address(vm_id, taken, self._inventory.internet, slice_.realm)
        used = set(slice_.workers)
        worker = place(flavor_name, flavor.size, self._inventory, workers, taken, used, beside)
        port = next_vnc_port(taken, realm=slice_.realm, worker=worker)
        vm = VM(vm_id, name, slice_.owner, worker, port, interfaces, flavor)
        vm.flavor_name = flavor_name
        credentials.new_disk(slice_, vm)
        vm.qcow_image = self._qcow.overlay_path(slice_, vm)
        slice_.vms.append(vm)
        return vm

    def place_again(self, slice_: Slice, vm: VM, workers: Mapping[str, Worker], taken: Taken) -> None:
        """Give a lost VM another worker; raise `Refused` when it fits on none."""
        used = set(slice_.workers)
        vm.worker_ip = place(vm.flavor_name or vm.name, vm.size, self._inventory, workers, taken, used)
        if taken.among([door(vm.worker_ip, vm.vnc_port)]):
            vm.vnc_port = next_vnc_port(taken, realm=slice_.realm, worker=vm.worker_ip)
        if vm.disk_id:
            credentials.new_disk(slice_, vm)

    # --- plans --------------------------------------------------------------------------------------------------------

    def disk_plan(self, slice_: Slice, vms: Sequence[VM], *, resumed: bool = False) -> Plan:
        """Return the plan of `add_vm_to_slice`: check devices and free paths, bring base images, make overlays.

        Each worker gets one batch, however many VMs: a mark names the owner of each disk after a lost connection, too.
        `resumed`: an earlier run may have left empty folders.
        """
        placed = [vm for vm in vms if vm.worker_ip != NOWHERE]
        emptied = self._qcow.remove_empty_folders(slice_, placed) if resumed else ()
        workers = dict.fromkeys(vm.worker_ip for vm in placed)
        devices = chain.from_iterable(self._launcher.check_devices(placed, worker) for worker in workers)
        free = self._qcow.check_free_disks(slice_, placed)
        return self._change(
            slice_, Stage("prepare", (*devices, *emptied, *free, *self._qcow.make_disks(slice_, placed)))
        )

    def deploy_plan(self, slice_: Slice, *, new: bool = False, run: int = 0, absent: Collection[str] = ()) -> Plan:
        """Return the plan of a whole slice. Its undo is the teardown; shared objects stay while other slices use them.

        A `new` slice is in design and may have overlays only. `run` marks the frames that prove the wire, so that
        frames of other runs do not count. The plan awaits no frame from `absent` hosts.
        """
        planners: tuple[Planner, ...] = (
            HostChecks(self._inventory, (vm_launcher.PROGRAMS, vlan_manager.PROGRAMS), run, absent),
            self._qcow,
            self._launcher,
            self._vlans,
        )
        stages: dict[str, Callable[[Planner], Iterable[Step]]] = {
            PREFLIGHT: lambda planner: planner.preflight(slice_, new=new),
            "prepare": lambda planner: planner.prepare(slice_),
            "launch": lambda planner: planner.launch(slice_),
            "verify": lambda planner: planner.verify(slice_),
        }
        steps = {title: tuple(chain.from_iterable(map(part, planners))) for title, part in stages.items()}
        return self._change(slice_, *(Stage(title, found) for title, found in steps.items()))

    def deletion_plan(self, slice_: Slice) -> Plan:
        """Return the undo of `deploy_plan`: the removal of all objects of a slice, whatever its status.

        Those that a change under way was to remove are removed first.
        """
        whole = self.deploy_plan(slice_)
        gone = self.deploy_plan(slice_.earlier()).beyond(whole, "remove") if slice_.before else NO_STAGES
        return replace(whole, stages=(*gone.stages, *whole.undone("remove").stages))

    def change_plan(self, before: Slice, after: Slice, *, run: int = 0) -> Plan:
        """Return the plan that brings a running slice from one design to another; the disks of VMs that leave stay.

        First the guests lose the carriers of links that go. Then links and VMs that go are removed. The rest is the
        deployment of the new design, which makes what is missing. A guest asks for its address when the carrier comes,
        so that comes when the DHCP servers are there. VMs run on, but for those that get another number of
        interfaces: they are switched off, and start again. `run`: as for `deploy_plan`.
        """
        whole = self.deploy_plan(after, run=run)
        preflight, *others = whole.stages
        gone = self.running_plan(before).beyond(whole, "remove")
        workers = before.workers
        cut = tuple(step for worker in workers for step in self._launcher.cut_links(before, after, worker))
        end = tuple(step for worker in workers for step in self._launcher.stop_for_nics(before, after, worker))
        removed = (*end, *gone.steps, *self._vlans.renew(before, after))
        stages = (preflight, Stage("links that go", cut), Stage("remove", removed), *_carriers_last(others))
        seconds = BUTTON_SECONDS + ENDING_SECONDS if end else 0
        return replace(whole, stages=tuple(s for s in stages if s.steps), timeout=max(whole.timeout, seconds))

    def disk_removal(self, before: Slice, after: Slice) -> Plan:
        """Return the plan that removes the disks of VMs that leave a running slice."""
        return self.design_plan(before).beyond(self.design_plan(after), "remove")

    def design_plan(self, slice_: Slice) -> Plan:
        """Return the part of `deploy_plan` that a slice in design has and keeps: its overlays."""
        steps = (step for vm in slice_.placed for step in self._qcow.disk(slice_, vm))
        return self._change(slice_, Stage("prepare", tuple(dict.fromkeys(steps))))

    def running_plan(self, slice_: Slice) -> Plan:
        """Return the part of `deploy_plan` that a slice in design does not have."""
        return self.deploy_plan(slice_).without(self.design_plan(slice_))

    def power_plan(self, slice_: Slice, switching: Switching) -> Plan:
        """Return the plan that switches VMs of a deployed slice off and on. Each worker gets one batch."""
        workers = dict.fromkeys(vm.worker_ip for vm in switching.vms)
        parts = (self._switch(slice_, worker, switching.on_worker(worker)) for worker in workers)
        links = self._set_links(slice_, switching.others(slice_))
        plan = self._change(slice_, Stage("power", (*chain.from_iterable(parts), *links)))
        return replace(plan, timeout=max(plan.timeout, switching.seconds + ENDING_SECONDS))

    def snapshot_plan(self, slice_: Slice, vms: Sequence[VM], name: str) -> Plan:
        """Return the plan that takes a snapshot of VMs, as one batch for each worker; its undo deletes it."""
        steps = []
        for worker in dict.fromkeys(vm.worker_ip for vm in vms):
            here = [vm for vm in vms if vm.worker_ip == worker]
            steps += [self._snapshots.check_room(worker, here)]
            steps += [self._snapshots.take(slice_, vm, name) for vm in here]
        return self._change(slice_, Stage("snapshots", tuple(steps)))

    def snapshot_deletion(self, slice_: Slice, vms: Iterable[VM], name: str) -> Plan:
        """Return the plan that deletes a snapshot of VMs."""
        steps = (self._snapshots.delete(slice_, vm, name) for vm in vms)
        return self._change(slice_, Stage("snapshots", tuple(steps)))

    def links_plan(self, slice_: Slice) -> Plan:
        """Return the plan that sets the links of all VMs that run, as the slice says."""
        running = [vm for vm in slice_.placed if not vm.stays_off]
        return self._change(slice_, Stage("links", tuple(self._set_links(slice_, running))))

    def ended_plan(self, slice_: Slice) -> Plan:
        """Return the plan that asks the workers which VMs powered themselves off."""
        workers = dict.fromkeys(vm.worker_ip for vm in slice_.placed if not vm.stays_off)
        steps = tuple(self._launcher.look_for_ended(slice_, worker) for worker in workers)
        seconds = self._inventory.ssh.timeouts.read_only
        return Plan((Stage("look", steps),), timeout=seconds, deadline=seconds, repeatable=True)

    def carriers_plan(self, slice_: Slice, ended: Collection[int | None]) -> Plan:
        """Return the plan that takes the carrier from the other ends of links of VMs that powered themselves off."""
        after = slice_.with_off(ended)
        off = tuple(vm for vm in after.vms if vm.vm_id in ended)
        return self._change(after, Stage("links", tuple(self._set_links(after, Switching(off).others(after)))))

    def _set_links(self, slice_: Slice, vms: Sequence[VM]) -> Iterator[Step]:
        for worker in dict.fromkeys(vm.worker_ip for vm in vms):
            yield self._launcher.set_links(slice_, worker, [vm for vm in vms if vm.worker_ip == worker])

    def _switch(self, slice_: Slice, worker: str, part: Switching) -> Iterator[Step]:
        """Yield the steps of a change of power on one worker."""
        if part.on:
            yield self._launcher.check_room(slice_, worker, part.on)
            yield from self._launcher.restore_wires(slice_, worker)
        if part.off:
            yield self._launcher.stop_vms(slice_, worker, part)
        for vm in part.restored:
            renewal = Plan((Stage("power", self._qcow.renew_disks(slice_, vm)),))
            yield from renewal.undone("power").steps
        for vm in part.renewed:
            yield from self._qcow.renew_disks(slice_, vm)
        for vm in part.applied:
            yield self._snapshots.apply(slice_, vm, vm.restoring or "")
        yield from self._qcow.write_seeds(slice_, worker, part.on)
        if part.on:
            yield from self._launcher.start_vms(slice_, worker, part.on)
            yield self._launcher.check_vms(slice_, worker, part.on)
        if part.renewed:
            yield self._qcow.discard_disks(slice_, worker, part.renewed)

    def console(self, slice_: Slice, vm: VM, user: str, ends: str = "-") -> Visit:
        """Return a user's visit at the VM's serial console; `ends` names the visit that it takes over."""
        return self._launcher.console(slice_, vm, user, ends)

    def console_log(self, slice_: Slice, vm: VM) -> LogVisit:
        """Return the way to read along at the VM's serial console."""
        return self._launcher.console_log(slice_, vm)

    def capture(self, vm: VM, interface: Interface, request: CaptureRequest) -> CaptureVisit:
        """Return the way to packets of an interface of the VM."""
        return self._launcher.capture(vm, interface, request)

    def way_to(self, slice_: Slice, vm: VM, port: int) -> PortVisit | None:
        """Return the way from the network node to a port of a VM, or None where there is none."""
        return self._vlans.way_to(slice_, vm, port)

    def _change(self, slice_: Slice, *stages: Stage) -> Plan:
        """Return the plan of a change of one slice. A stage may take ten times the timeout for silence."""
        seconds = self._inventory.ssh.timeouts.change
        return Plan(stages, lock=_lock(slice_), timeout=seconds, deadline=_STAGE_SHARE * seconds)

    # --- discovery ----------------------------------------------------------------------------------------------------

    def discovery_plan(self, workers: Iterable[str] | None = None) -> Plan:
        """Return the plan that measures workers; None means all workers of the inventory."""
        folder = self._inventory.hypervisor.images_path
        asked = self._inventory.workers_list if workers is None else workers
        steps = (Step(worker, RESOURCES, (measure(folder),)) for worker in asked)
        seconds = self._inventory.ssh.timeouts.read_only
        return Plan((Stage("discovery", tuple(steps)),), timeout=seconds, deadline=seconds, repeatable=True)

    @staticmethod
    def measured(stdout: str, now: float) -> Worker:
        """Return the worker that answered `discovery_plan` with `stdout`; raise `BadAnswer` for an invalid answer.

        `now`: the manager's time, in seconds since the epoch. A wrong clock is a problem, but keeps no VM away.
        """
        seen = parse_resources(stdout)
        skew = round(seen.clock - now)
        problem = ""
        if abs(skew) > MAX_SKEW_SECONDS:
            problem = (
                f"its clock is {abs(skew)} s {'ahead of' if skew > 0 else 'behind'} the manager's; set one of them"
            )
        disk = round((seen.disk + seen.overlays) / KIB_PER_GIB, 2)
        return Worker(seen.cores, round(seen.memory / KIB_PER_GIB, 2), disk, problem=problem)

    @staticmethod
    def ports_taken(status: int | None, stdout: str) -> TakenPorts | None:
        """Return the VNC ports that other programs hold, from the outcome of a preflight action; usually None."""
        return VMLauncher.ports_taken(status, stdout)

    @staticmethod
    def pids(slice_: Slice, worker: str, stdout: str) -> dict[int, str]:
        """Return VM id -> pid from a worker's output in the stage `verify`; raise `BadAnswer` for an invalid one.

        Each worker reports its own VMs only.
        """
        here = {vm.vm_id for vm in slice_.vms if vm.worker_ip == worker}
        found: dict[int, str] = {}
        for line in filter(None, stdout.splitlines()):
            matched = _PID.fullmatch(line)
            vm_id = int(matched[1]) if matched else 0
            if matched is None or vm_id not in here or vm_id in found:
                raise BadAnswer(f"{printable(line)[:40]} is no process of a VM there")
            found[vm_id] = matched[2]
        return found


def _carriers_last(stages: Iterable[Stage]) -> Iterator[Stage]:
    """Yield the stages, where the guests get their carriers in a stage of its own, after all that answers them."""
    for stage in stages:
        carriers = tuple(step for step in stage.steps if step.title == vm_launcher.LET_RUN)
        others = tuple(step for step in stage.steps if step.title != vm_launcher.LET_RUN)
        yield Stage(stage.title, others)
        yield Stage("carriers", carriers)


def _lock(slice_: Slice) -> str:
    """Return the name of the lock that keeps the batches of a slice on a host in order."""
    return f"slice-{slice_.slice_id}"
