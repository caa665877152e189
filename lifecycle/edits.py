"""The use-cases that change a design: every edit brings a slice to another design, as that of a slice file.

A manager that dies in the middle leaves no unknown objects. New VMs and their disks come first, as when a VM is added.
Then the disks of VMs that go are removed. At last the whole new design is recorded at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from accounts import rights
from accounts.use_cases import UseCase
from allocation.ids import next_internet_address
from allocation.placement import recount
from core.errors import Refused
from core.links import LinkEnd, Network
from core.names import mac_address
from core.status import VMStart
from database import State
from deployment import DeploymentAPI
from lifecycle.changes import Change, drop_vms
from lifecycle.creation import check_design, join, require_room_for_seeds
from lifecycle.remains import first_of, left_by, left_to_do
from lifecycle.requests import VMRequest, design_vm
from lifecycle.use_cases import SliceUseCases
from models import VM, Interface, Link, Slice
from remote.events import Listener, ignore
from remote.plan import Plan
from topology.compare import Difference, Effect, differences, settled
from topology.design import Design, DesignedLink, DesignedVM
from topology.of_slice import design_of, present_design
from topology.seeds import first_boot

NO_PLAN = Plan(())


@dataclass(frozen=True)
class Edit:
    """An edit of a slice: the design that it leads to, the differences to the present one, and the plan for hosts."""

    slice_: Slice
    wanted: Design
    found: tuple[Difference, ...]
    plan: Plan = NO_PLAN

    @property
    def removes(self) -> list[str]:
        """Return the parts that go, in words."""
        return [f"{each.kind} {each.name}" for each in self.found if each.effect == Effect.REMOVED]

    def named(self, kind: str, effect: Effect) -> list[str]:
        """Return the names of VMs or links with this effect."""
        return [each.name for each in self.found if (each.kind, each.effect) == (kind, effect)]


class Edits(SliceUseCases):
    """Changes designs: of VMs, of links, and as a whole."""

    @UseCase()
    def compare(self, actor: str, slice_id: int, wanted: Design, *, from_file: bool = True) -> Edit:
        """Return the edit that brings a slice to a design; raise `Refused` where it cannot be made.

        A design that is not `from_file` was made of `present_design`.
        """
        state = self._database.load()
        return _planned(state, actor, rights.permitted(state, actor, slice_id), wanted, from_file=from_file)

    @UseCase("change slice", announced=True)
    def apply(
        self, actor: str, slice_id: int, wanted: Design, listen: Listener = ignore, *, from_file: bool = True
    ) -> Slice:
        """Bring a slice in design to a design. If a host fails, the slice stays as it is."""
        with self._change(actor, slice_id, listen) as (change, slice_):
            edit = _planned(self._database.load(), actor, slice_, wanted, from_file=from_file)
            if not edit.found:
                return slice_
            if edit.named("VM", Effect.ADDED):
                self._discovery.refresh(lambda state: [vm.worker_ip for vm in _add_vms(state, actor, edit)])
                with self._database.transaction() as state:
                    added = _add_vms(state, actor, edit)
                    larger = state.slices[slice_id]
                change.make_disks(larger, added)
            if removed := _removed(edit):
                _remove_disks(change, slice_, removed)
            with self._database.transaction() as state:
                _rewire(state, edit)
                return state.slices[slice_id]


def _remove_disks(change: Change, slice_: Slice, vms: list[VM]) -> None:
    """Remove the disks of VMs that leave the slice. A deployment makes those again that are missing."""
    plan = change.deployment.disk_plan(slice_, vms).undone("remove")
    if left := left_by(change.runner.run(plan, keep_going=True)):
        raise first_of(left).within(f"Not all disks are removed: {left_to_do(left, 'try again later', slice_)}")


def _planned(state: State, actor: str, slice_: Slice, wanted: Design, *, from_file: bool) -> Edit:
    """Return the edit that brings a slice to a design; raise `Refused` by any rule, before anything is changed.

    The edit is tried on `state`, which is not saved.
    """
    rights.require_complete(slice_)
    now = present_design(slice_)
    if from_file and (notices := design_of(slice_)[1]):
        raise Refused(f"Slice {slice_.slice_id} cannot be changed by a file: {'; '.join(notices)}")
    _check_ends(wanted)
    wanted = settled(now, replace(wanted, name=now.name))
    edit = Edit(slice_, wanted, tuple(differences(now, wanted)))
    if not edit.found:
        return edit
    rights.require_editable(slice_)
    check_design(state, wanted)
    _check_links(wanted)
    if replaced := edit.named("VM", Effect.REPLACED):
        raise Refused(f"Another flavor needs a new disk: remove {', '.join(replaced)} first, then add it again")
    deployment = DeploymentAPI(state.inventory)
    made = deployment.disk_plan(state.slices[slice_.slice_id], _add_vms(state, actor, edit))
    gone = deployment.disk_plan(slice_, _removed(edit)).undone("remove")
    _rewire(state, edit)
    return replace(edit, plan=replace(made, stages=(*made.stages, *gone.stages)))


def _check_ends(wanted: Design) -> None:
    """Raise `Refused` where a link does not join different VMs."""
    for link in wanted.links:
        vms = [end.vm for end in link.ends]
        if len(vms) < 2:
            raise Refused("A link needs two ends or more")
        if double := next((vm for vm in vms if vms.count(vm) > 1), None):
            raise Refused(f"A link joins different VMs; {double} was given twice")


def _check_links(wanted: Design) -> None:
    """Raise `Refused` where two links have one name, or a VM has too few interfaces."""
    named = [link.name for link in wanted.links if link.name]
    if double := next((name for name in named if named.count(name) > 1), None):
        raise Refused(f"There is a link {double} already; choose another name")
    for vm in wanted.vms:
        linked = {end.nic for link in wanted.links for end in link.ends if end.vm == vm.name}
        highest = max(linked, default=0)
        if highest <= vm.nics:
            continue
        free = ", ".join(f"eth{nic}" for nic in range(1, vm.nics + 1) if nic not in linked)
        if free or highest > vm.nics + 1:
            raise Refused(f"{vm.name} has no eth{highest}; its free data interfaces: {free or 'none'}")
        raise Refused(f"{vm.name} has {vm.nics} data interfaces, and none without a link; remove a link first")


def _removed(edit: Edit) -> list[VM]:
    """Return the VMs that go."""
    names = edit.named("VM", Effect.REMOVED)
    return [vm for vm in edit.slice_.vms if vm.name in names]


def _add_vms(state: State, actor: str, edit: Edit) -> list[VM]:
    """Add the new VMs of an edit to the slice in `state`."""
    names = edit.named("VM", Effect.ADDED)
    vms = (vm for vm in edit.wanted.vms if vm.name in names)
    requests = [
        VMRequest(
            actor, edit.slice_.slice_id, vm.name, vm.flavor, vm.nics, internet=vm.internet, start=VMStart(vm.start)
        )
        for vm in vms
    ]
    return [design_vm(state, request) for request in requests]


def _rewire(state: State, edit: Edit) -> None:
    """Record the new design in a slice of `state` that has all new VMs: links that go, VMs that go, the rest."""
    slice_, wanted = state.slices[edit.slice_.slice_id], edit.wanted
    links = {frozenset(map(str, link.ends)): link for link in wanted.links}
    kept: dict[frozenset[str], Link] = {}
    for link, ends in [(link, _ends(slice_, link)) for link in slice_.links]:
        if ends in links:
            kept[ends] = link
        else:
            slice_.unlink(link)
    drop_vms(state, slice_, [vm for vm in slice_.vms if vm.name in edit.named("VM", Effect.REMOVED)])
    by_name = {vm.name: vm for vm in slice_.vms}
    for vm in wanted.vms:
        _change_vm(state, by_name[vm.name], vm)
    require_room_for_seeds(state, state.users[slice_.owner])
    for ends, wanted_link in links.items():
        if ends in kept:
            _change_link(slice_, kept[ends], wanted_link)
        else:
            join(slice_, wanted_link, state.inventory.internet.vlan_id)
    slice_.description, slice_.goals = wanted.description, [*wanted.goals]
    recount(state.workers, state.slices.holdings.values())


def _ends(slice_: Slice, link: Link) -> frozenset[str]:
    names = {vm.vm_id: vm.name for vm in slice_.vms}
    return frozenset(f"{names[vm_id]}:{interface}" for vm_id, interface in link.ends)


def _change_vm(state: State, vm: VM, wanted: DesignedVM) -> None:
    """Bring interfaces, start and seed of a VM to its design."""
    vm.start, vm.seed = VMStart(wanted.start), first_boot(wanted.seed)
    del vm.interfaces[wanted.nics + 1 :]
    for index in range(len(vm.interfaces), wanted.nics + 1):
        vm.interfaces.append(Interface(f"eth{index}", mac=mac_address(vm.vm_id, index)))
    eth0, internet = vm.interfaces[0], state.inventory.internet
    if not wanted.internet:
        eth0.vlan_id = eth0.ip_config = None
    elif eth0.ip_config is None:
        eth0.vlan_id = internet.vlan_id
        eth0.ip_config = next_internet_address(vm.vm_id, state.slices.holdings.values(), internet)


def _change_link(slice_: Slice, link: Link, wanted: DesignedLink) -> None:
    """Bring the order of ends, the name, the services and the addresses of a link to its design."""
    ids = {vm.name: vm.vm_id for vm in slice_.vms}
    network = Network.of_vlan(link.vlan_id, wanted.services, str(wanted.cidr or ""))
    slice_.check_network(network, len(wanted.ends))
    slice_.networks = [network if each.vlan_id == link.vlan_id else each for each in slice_.networks]
    ends = [(ids[end.vm], f"eth{end.nic}") for end in wanted.ends]
    (link.vm1_id, link.vm1_interface), (link.vm2_id, link.vm2_interface), *others = ends
    link.further_ends, link.name = [LinkEnd(*end) for end in others], wanted.name
    for end in wanted.ends:
        interface = next(vm for vm in slice_.vms if vm.name == end.vm).interfaces[end.nic]
        fixed = wanted.addresses.get(end.vm)
        interface.address = str(fixed) if fixed else None
