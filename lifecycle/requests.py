"""Check requests for slices and VMs, and add both to the state, before a host is changed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from accounts import rights
from allocation.ids import next_slice_id, next_vm_id
from core.errors import Refused
from core.names import in_guests
from core.status import VMStart
from database import State
from deployment import DeploymentAPI
from lifecycle import realms
from models import MAX_DATA_INTERFACES, VM, Slice


@dataclass(frozen=True)
class VMRequest:
    """A request for a VM. The workers `beside` are preferred. `leaving` VMs of the user go with the same change."""

    actor: str
    slice_id: int
    name: str
    flavor_name: str
    data_interfaces: int
    internet: bool
    beside: tuple[str, ...] = ()
    start: VMStart = VMStart.AUTO
    leaving: int = 0

    def check(self) -> None:
        """Raise `Refused` where the request breaks a rule that needs no database."""
        rights.check_new_name(self.name, "VM")
        if not 0 <= self.data_interfaces <= MAX_DATA_INTERFACES:
            raise Refused(f"A VM has 0 to {MAX_DATA_INTERFACES} data interfaces, not {self.data_interfaces}")


def empty_slice(state: State, actor: str, name: str, topology_type: str, realm: str = "") -> Slice:
    """Add an empty slice in design to the realm that is named, or to the first one with room."""
    make = partial(new_slice, state, actor, name, topology_type, 0)
    return realms.first_that_takes(realms.candidates(state, realm), make)


def new_slice(
    state: State, actor: str, name: str, topology_type: str = "custom", links: int = 0, realm: str = ""
) -> Slice:
    """Add an empty slice in design to a realm, with the next id whose pool of VLANs holds so many links."""
    user = rights.user_of(state, actor)
    rights.require_room_for_slice(state, user, actor)
    reserved = state.inventory.of_realm(realm).internet.vlan_id
    slice_id = next_slice_id(state.next_vm_id, state.slices.taken, links, reserved, realm)
    slice_ = Slice(slice_id, actor, topology_type)
    slice_.name, slice_.realm = name, realm
    state.next_vm_id = slice_id + 1
    state.slices[slice_id] = slice_
    user.slices.append(slice_id)
    return slice_


def design_vm(state: State, request: VMRequest) -> VM:
    """Add a VM to its slice in `state`, with ids, addresses and a worker; raise `Refused` where a rule forbids it."""
    slice_ = rights.editable(state, request.actor, request.slice_id)
    user = rights.user_of(state, slice_.owner)
    flavor = state.all_flavors.get(request.flavor_name)
    if flavor is None:
        raise Refused(f"There is no flavor {request.flavor_name}; there are {', '.join(state.all_flavors)}")
    if refused := flavor.devices.refused_nics(request.data_interfaces):
        raise Refused(f"A VM of flavor {request.flavor_name} {refused}")
    rights.require_room_for_vms(user, 1, request.actor, request.leaving)
    if any(vm.name == request.name for vm in slice_.vms):
        raise Refused(f"Slice {request.slice_id} has a VM {request.name} already; choose another name")
    if same := next((vm.name for vm in slice_.vms if in_guests(vm.name) == in_guests(request.name)), None):
        raise Refused(f"{request.name} and {same} have the same host name in the guest; choose another name")
    taken = state.slices.taken
    vm_id = next_vm_id(state.next_vm_id, taken, slice_.realm)
    vm = DeploymentAPI(state.inventory_of(slice_)).create_vm_with_qcow(
        slice_, vm_id, request.name, request.flavor_name, flavor,
        request.data_interfaces, request.internet, state.workers, taken, request.beside,
    )  # fmt: skip
    vm.start = request.start
    state.next_vm_id = vm_id + 1
    user.used_vms += 1
    state.recount()
    return vm
