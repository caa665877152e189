"""Create a slice of a whole design: all checks and all records in one state, before a host is changed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import permutations

from accounts import rights
from allocation.ids import NoNumber
from allocation.placement import NoRoom, fair_share
from core import formats
from core.errors import Refused
from core.first_boot import MAX_BYTES_OF_USER
from core.impairments import Impairment
from core.inventory import Inventory
from core.status import LinkState, SliceStatus, VMStart
from database import State
from lifecycle import realms
from lifecycle.requests import VMRequest, design_vm, new_slice
from models import Flavor, Link, Slice, User
from remote.images import require_fitting
from topology.design import Design, DesignedLink
from topology.goals import missing
from topology.seeds import first_boot


@dataclass(frozen=True)
class Demand:
    """The size of a design, beside the free memory of a realm and the user's quota; memory in GiB.

    `used_vms` is the number of the user's VMs, those of the design included.
    """

    vms: int
    links: int
    ram_gb: float
    free_ram_gb: float
    used_vms: int
    quota_vms: int


def demand_of(state: State, actor: str, design: Design) -> Demand:
    """Return the size of a design; raise `Refused` where a flavor is missing."""
    user = rights.user_of(state, actor)
    flavors = _flavors(state, design)
    free = [_free_memory(state, state.inventory.of_realm(realm)) for realm in realms.names(state)]
    return Demand(
        len(design.vms),
        len(design.links),
        sum(flavors[vm.flavor].size.ram_gb for vm in design.vms),
        max(free),
        user.used_vms + len(design.vms),
        user.quota_vms,
    )


def _free_memory(state: State, inventory: Inventory) -> float:
    """Return the free memory of the workers of a realm, in GiB."""
    listed = [state.workers[address] for address in inventory.workers_list if address in state.workers]
    return sum(max(0.0, worker.max_ram_gb - worker.used_ram_gb) for worker in listed if worker.up)


def check_design(state: State, design: Design) -> None:
    """Raise `Refused` where a design cannot be made in this cloud."""
    check_goals(design)
    _check_networks(state.inventory, design)
    _check_profiles(state.inventory, design)
    for name, flavor in _flavors(state, design).items():
        require_fitting(flavor.image or "", name, flavor.size.disk_gb)


def check_goals(design: Design) -> None:
    """Raise `Refused` where a goal names what the design has not."""
    if sentences := missing(design):
        raise Refused(f"{'; '.join(sentences)}: change the goals as well, and name the interfaces of links in the file")


def _check_profiles(inventory: Inventory, design: Design) -> None:
    """Raise `Refused` where a link names a profile that the cloud has not."""
    known = inventory.all_profiles
    for link in design.links:
        for name in link.impairments.get("profile", {}).values():
            if name not in known:
                raise Refused(f"There is no profile {name}; there are {', '.join(known)}")


def check_internet(inventory: Inventory, design: Design) -> None:
    """Raise `Refused` where a link's network overlaps the internet network of the realm, as in the reader of files."""
    internet = inventory.internet.network
    for link in design.links:
        if link.cidr and link.cidr.overlaps(internet):
            raise Refused(
                f"The network {link.cidr} overlaps {internet}, that of the internet VLAN; choose another `cidr`"
            )


def _check_networks(inventory: Inventory, design: Design) -> None:
    """Raise `Refused` where a link's network holds a host of the cloud: its VMs would take the host for a neighbour."""
    hosts = [IPv4Address(host) for host in inventory.all_addresses if formats.is_address(host)]
    for link in design.links:
        if found := next((host for host in hosts if link.cidr and host in link.cidr), None):
            raise Refused(f"The network {link.cidr} holds {found}, a host of the cloud; choose another `cidr`")


def designed_slice(state: State, actor: str, design: Design, realm: str = "") -> Slice:
    """Add the slice of a design to `state`, with all VMs and links, in `creating`; raise `Refused` by any rule.

    It is in the first realm that has room for it, or in the one that is named.
    """
    user, counter = rights.user_of(state, actor), state.next_vm_id
    owned, used = [*user.slices], user.used_vms

    def make(name: str) -> Slice:
        try:
            return _designed_in(state, actor, design, name)
        except (NoNumber, NoRoom):
            for slice_id in {*user.slices} - {*owned}:
                del state.slices[slice_id]
            user.slices, user.used_vms, state.next_vm_id = [*owned], used, counter
            state.recount()
            raise

    return realms.first_that_takes(realms.candidates(state, realm), make)


def _designed_in(state: State, actor: str, design: Design, realm: str) -> Slice:
    """Add the slice of a design to a realm.

    Linked VMs share a worker, until the worker has its share of them.
    """
    inventory = state.inventory.of_realm(realm)
    check_internet(inventory, design)
    rights.check_new_name(design.name)
    user = rights.user_of(state, actor)
    for slice_ in state.slices.of(user.slices):
        if slice_.name == design.name:
            raise Refused(f"You have a slice {design.name} already ({slice_.slice_id}); choose another name")
    rights.require_room_for_vms(user, len(design.vms), actor)
    slice_ = new_slice(state, actor, design.name, links=len(design.links), realm=realm)
    share = fair_share(len(design.vms), inventory, state.workers)
    neighbours, workers = _neighbours(design), dict[str, str]()
    flavors = _flavors(state, design)
    for vm in design.vms:
        devices = flavors[vm.flavor].devices
        nics = vm.nics if vm.nics_named else devices.fitting_nics(vm.nics)
        filled = Counter(workers.values())
        beside = [workers[name] for name in neighbours[vm.name] if name in workers]
        request = VMRequest(
            actor, slice_.slice_id, vm.name, vm.flavor, nics, vm.internet,
            tuple(worker for worker in beside if filled[worker] < share), VMStart(vm.start),
        )  # fmt: skip
        request.check()
        made = design_vm(state, request)
        made.seed = first_boot(vm.seed)
        workers[vm.name] = made.worker_ip
    require_room_for_seeds(state, user)
    for link in design.links:
        join(slice_, link, inventory.internet.vlan_id)
    slice_.description, slice_.goals = design.description, [*design.goals]
    slice_.status = SliceStatus.CREATING
    return slice_


def require_room_for_seeds(state: State, user: User) -> None:
    """Raise `Refused` where the seeds of all the user's slices are too large together."""
    kept = (vm.seed for slice_ in state.slices.of(user.slices) for vm in slice_.vms)
    total = sum(seed.size for seed in kept if seed)
    if total > MAX_BYTES_OF_USER:
        raise Refused(
            f"The seeds of all your slices would have {total} bytes; at most {MAX_BYTES_OF_USER} are allowed:"
            " shorten scripts, or delete a slice"
        )


def join(slice_: Slice, link: DesignedLink, reserved: int) -> None:
    """Add a link of a design to a slice that has its VMs."""
    ids = {vm.name: vm.vm_id for vm in slice_.vms}
    made = slice_.join(
        [(ids[end.vm], f"eth{end.nic}") for end in link.ends],
        name=link.name,
        services=link.services,
        cidr=str(link.cidr or ""),
        addresses={ids[name]: str(address) for name, address in link.addresses.items()},
        reserved=reserved,
    )
    change_wire(slice_, made, link)


def change_wire(slice_: Slice, link: Link, wanted: DesignedLink) -> None:
    """Bring the state, the impairments and the transparency of a link to its design."""
    ids = {vm.name: vm.vm_id for vm in slice_.vms}
    link.state, link.transparent = LinkState(wanted.state), wanted.transparent
    link.impairments = []
    for end in wanted.ends:
        received = {kind: texts[end.vm] for kind, texts in wanted.impairments.items() if end.vm in texts}
        if received:
            link.impairments.append(Impairment.from_dict({"vm_id": ids[end.vm], **received}))


def _flavors(state: State, design: Design) -> Mapping[str, Flavor]:
    """Return the flavors that a design uses, by name."""
    known = state.all_flavors
    names = dict.fromkeys(vm.flavor for vm in design.vms)
    for name in names:
        if name not in known:
            raise Refused(f"There is no flavor {name}; there are {', '.join(known)}")
    return {name: known[name] for name in names}


def _neighbours(design: Design) -> Mapping[str, list[str]]:
    """Return the VMs that each VM is linked with."""
    found: dict[str, list[str]] = defaultdict(list)
    for link in design.links:
        for end, other in permutations(link.ends, 2):
            found[end.vm].append(other.vm)
    return found
