"""The use-cases that change a design: every edit brings a slice to another design, as that of a slice file.

A slice in design gets new VMs and their disks first, as when a VM is added. Then the disks of VMs that go are removed.
At last the whole new design is recorded at once; until then the new VMs are `pending`. A running slice is changed as a
whole (`lifecycle/live_change.py`). So a manager that dies in the middle leaves no unknown objects.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace

from accounts import rights
from accounts.use_cases import UseCase
from allocation.ids import next_internet_address
from core.errors import CloudError, Refused
from core.links import LinkEnd, Network
from core.names import mac_address
from core.status import VMStart
from database import State
from deployment import DeploymentAPI
from lifecycle.changes import Change, drop_vms, note_disks
from lifecycle.creation import change_wire, check_design, check_goals, check_internet, join, require_room_for_seeds
from lifecycle.live_change import LiveChange, begun
from lifecycle.remains import first_of, left_by, left_to_do
from lifecycle.requests import VMRequest, design_vm
from lifecycle.use_cases import SliceUseCases
from models import VM, Interface, Link, Slice
from remote.events import Listener, ignore
from remote.plan import Plan
from topology.compare import Difference, Effect, differences, same_links, settled
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

    @property
    def restarts(self) -> list[str]:
        """Return the VMs that restart, because they run."""
        on = {vm.name for vm in self.slice_.vms if self.slice_.is_running and not vm.stays_off}
        return [name for name in self.named("VM", Effect.RESTARTED) if name in on]

    @property
    def is_on_hosts(self) -> bool:
        """Return whether VMs or links differ. The description and the goals stand in the file only."""
        return any(each.kind in {"VM", "link"} for each in self.found)

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
        self,
        actor: str,
        slice_id: int,
        wanted: Design,
        listen: Listener = ignore,
        *,
        from_file: bool = True,
        agreed: tuple[Difference, ...] | None = None,
    ) -> Slice:
        """Bring a slice to a design. If a host fails, the slice stays as it is, or is rolled back.

        `agreed` are the differences that the user saw: with others the edit is refused.
        """
        with self._change(actor, slice_id, listen) as (change, slice_):
            edit = _planned(self._database.load(), actor, slice_, wanted, from_file=from_file)
            if agreed is not None and edit.found != agreed:
                raise Refused(f"Slice {slice_id} was changed by another session meanwhile; look at it and try again")
            if not edit.found:
                return slice_
            if edit.named("VM", Effect.ADDED):
                self._discovery.refresh(lambda state: [vm.worker_ip for vm in _add_vms(state, actor, edit)])
            return self._change_live(change, edit, actor) if slice_.is_running else self._redesign(change, edit, actor)

    def _change_live(self, change: Change, edit: Edit, actor: str) -> Slice:
        with self._database.transaction() as state:
            slice_ = state.slices[edit.slice_.slice_id]
            with begun(state, slice_) if edit.is_on_hosts else nullcontext():
                _add_vms(state, actor, edit)
                _rewire(state, edit)
        if slice_.before is None:
            return slice_
        return LiveChange(change).carry_out(slice_)

    def _redesign(self, change: Change, edit: Edit, actor: str) -> Slice:
        slice_id, added, removed = edit.slice_.slice_id, list[VM](), _removed(edit)
        if edit.named("VM", Effect.ADDED):
            with self._database.transaction() as state:
                added = _add_vms(state, actor, edit)
                larger = state.slices[slice_id]
            added = change.lay_disks(larger, added)
        if removed:
            try:
                _remove_disks(change, edit.slice_, removed)
            except CloudError:
                if added:
                    change.forget_vms(larger, added)
                raise
        with change.noting_disks(added) if added else self._database.transaction() as state:
            slice_ = state.slices[slice_id]
            note_disks(slice_, added)
            _rewire(state, edit)
            drop_vms(state, slice_, removed)
            state.recount()
            return slice_


def _remove_disks(change: Change, slice_: Slice, vms: list[VM]) -> None:
    """Remove the disks of VMs that leave the slice. A deployment makes those again that are missing."""
    plan = change.deployment.disk_plan(slice_, vms).undone("remove")
    if left := left_by(change.runner.run(plan, keep_going=True)):
        raise first_of(left).within(f"Not all disks are removed: {left_to_do(left, 'try again later', slice_)}")


def _planned(state: State, actor: str, slice_: Slice, wanted: Design, *, from_file: bool) -> Edit:
    """Return the edit that brings a slice to a design; raise `Refused` by any rule, before anything is changed.

    The edit is tried on `state`, which is not saved.
    """
    slice_ = Slice.from_dict(slice_.to_dict())
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
    check_goals(wanted)
    new = _new_parts(now, edit)
    check_design(state, new)
    check_internet(state.inventory_of(slice_), new)
    _check_links(wanted)
    if replaced := edit.named("VM", Effect.REPLACED):
        raise Refused(f"Another flavor needs a new disk: remove {', '.join(replaced)} first, then add it again")
    return replace(edit, plan=_plan(state, actor, edit))


def _new_parts(now: Design, edit: Edit) -> Design:
    """Return the VMs that are added and the links that are new or changed: the others were checked before."""
    names = edit.named("VM", Effect.ADDED)
    vms = tuple(vm for vm in edit.wanted.vms if vm.name in names)
    links = tuple(link for link in edit.wanted.links if link not in now.links)
    return replace(edit.wanted, vms=vms, links=links, goals=())


def _plan(state: State, actor: str, edit: Edit) -> Plan:
    """Return the plan of an edit, which is tried on `state`."""
    deployment, before = DeploymentAPI(state.inventory_in_use.of_realm(edit.slice_.realm)), edit.slice_
    slice_, removed = state.slices[before.slice_id], _removed(edit)
    if not before.is_running:
        made = deployment.disk_plan(slice_, _add_vms(state, actor, edit))
        gone = deployment.disk_plan(before, removed).undone("remove")
        _rewire(state, edit)
        return replace(made, stages=(*made.stages, *gone.stages))
    if not edit.is_on_hosts:
        return NO_PLAN
    with begun(state, slice_):
        _add_vms(state, actor, edit)
        _rewire(state, edit)
    changed, gone = deployment.change_plan(before, slice_), deployment.disk_removal(before, slice_)
    return replace(changed, stages=(*changed.stages, *gone.stages))


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
    leaving = len(_removed(edit))
    requests = (
        VMRequest(actor, edit.slice_.slice_id, vm.name, vm.flavor, vm.nics, vm.internet, (), VMStart(vm.start), leaving)
        for vm in vms
    )
    return [design_vm(state, request) for request in requests]


def _rewire(state: State, edit: Edit) -> None:
    """Record the new design in a slice of `state` that has all new VMs: links that go, VMs that go, the rest."""
    slice_, wanted = state.slices[edit.slice_.slice_id], edit.wanted
    internet = state.inventory_of(slice_).internet
    present = [*slice_.links]
    same = {place: present[number] for place, number in same_links(present_design(edit.slice_), wanted).items()}
    for link in present:
        slice_.detach(link)
        if link not in same.values():
            slice_.unlink(link)
    gone = edit.named("VM", Effect.REMOVED)
    slice_.vms = [vm for vm in slice_.vms if vm.name not in gone]
    by_name = {vm.name: vm for vm in slice_.vms}
    for vm in wanted.vms:
        _change_vm(state, slice_, by_name[vm.name], vm)
    require_room_for_seeds(state, state.users[slice_.owner])
    for place, link in same.items():
        _change_link(slice_, link, wanted.links[place])
    for link in same.values():  # two links may exchange their networks
        slice_.check_network(slice_.network_of(link), len(link.ends))
    for place, new in enumerate(wanted.links):
        if place not in same:
            join(slice_, new, internet.vlan_id)
            same[place] = slice_.links[-1]
    slice_.links = [same[place] for place in range(len(wanted.links))]
    slice_.description, slice_.goals = wanted.description, [*wanted.goals]


def _change_vm(state: State, slice_: Slice, vm: VM, wanted: DesignedVM) -> None:
    """Bring interfaces, start and seed of a VM to its design."""
    vm.start, vm.seed = VMStart(wanted.start), first_boot(wanted.seed)
    del vm.interfaces[wanted.nics + 1 :]
    for index in range(len(vm.interfaces), wanted.nics + 1):
        vm.interfaces.append(Interface(f"eth{index}", mac=mac_address(vm.vm_id, index)))
    eth0, internet = vm.interfaces[0], state.inventory_of(slice_).internet
    if not wanted.internet:
        eth0.vlan_id = eth0.ip_config = None
    elif eth0.ip_config is None:
        eth0.vlan_id = internet.vlan_id
        eth0.ip_config = next_internet_address(vm.vm_id, state.slices.taken, internet, slice_.realm)


def _change_link(slice_: Slice, link: Link, wanted: DesignedLink) -> None:
    """Bring the ends, the name, the services and the addresses of a link to its design."""
    ids = {vm.name: vm.vm_id for vm in slice_.vms}
    network = Network.of_vlan(link.vlan_id, wanted.services, str(wanted.cidr or ""))
    network.status = slice_.network_of(link).status
    slice_.networks = [network if each.vlan_id == link.vlan_id else each for each in slice_.networks]
    ends = [(ids[end.vm], f"eth{end.nic}") for end in wanted.ends]
    (link.vm1_id, link.vm1_interface), (link.vm2_id, link.vm2_interface), *others = ends
    link.further_ends, link.name = [LinkEnd(*end) for end in others], wanted.name
    change_wire(slice_, link, wanted)
    slice_.attach(link, {ids[name]: str(address) for name, address in wanted.addresses.items()})
