"""The rules between the records of `database.yaml`.

No two own the same, nothing points to what is not there, counts are right, both ends of a link tell the same.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from ipaddress import IPv4Address
from itertools import islice
from pathlib import PurePosixPath

from allocation.holdings import Holdings, door
from allocation.taken import TakenBy, TakenNow
from core import names
from core.inventory import EARLIER, IN_USE, IN_USE_OF_REALM, ImportSettings, InternetSettings, Inventory
from core.links import LONGEST_DHCP_PREFIX, NONE
from core.names import MAX_IMAGE_NAME, is_image_name
from core.rule import Broken, Key, Record, show
from core.status import SliceStatus
from models import NOWHERE, VM, Flavor, Interface, Slice, User
from storage.realms import check_gateway, check_hosts
from storage.schema import equal, no_twice
from storage.state import State

_MOST_NAMED = 5
"""The highest number of slices that a sentence names."""


def check(state: State) -> None:
    """Raise `Broken` where the state does not keep a rule."""
    live = state.slices.holdings
    check_hosts(state.inventory)
    _check_flavors(state.all_flavors)
    _check_imports(state.imports, state.all_flavors)
    _check_ownership(state.users, live)
    check_slices(state, live, TakenNow(TakenBy(()), (), live.values()))


def check_slices(state: State, slices: Iterable[int], taken: TakenNow) -> None:
    """Raise `Broken` where one of these slices does not keep a rule, or has what another one has.

    The others keep all rules: only what they have `taken` is compared.
    """
    profiles = state.inventory.all_profiles
    for slice_id in slices:
        _check_realm(state.slices[slice_id], state.inventory)
        _check_slice(state.slices[slice_id], state.inventory)
        _check_profiles(state.slices[slice_id], profiles)
    if taken.clashes:
        cloud = _Cloud(state.inventory)  # all slices are looked into only now, to find out who
        for slice_ in state.slices.values():
            cloud.add(slice_)


def check_owner_of(state: State, name: str, before: Record, taken: TakenNow) -> None:
    """Raise `Broken` where a user of changed slices does not have the right ones.

    The user's record `before` the change said rightly which ones, and the number of their VMs.
    """
    ids, vms = {*before.get("slices", ())}, before.get("used_vms", 0)
    for holdings in taken.gone:
        if holdings.owner == name:
            ids, vms = ids - {holdings.slice_id}, vms - holdings.vms
    for holdings in taken.fresh:
        if holdings.owner == name:
            ids, vms = ids | {holdings.slice_id}, vms + holdings.vms
    _check_owner(state.users, name, sorted(ids), vms)


class OtherInUse(Broken):
    """A setting that is not the one with which the slices in the file were made, or is gone."""


def check_in_use(state: State, in_use: Record) -> None:
    """Raise `OtherInUse` where a setting differs from `in_use`, and the file has slices."""
    kept = state.slices.entries.kept
    if not kept:
        return
    now = {**EARLIER, **state.inventory.in_use}
    for key in IN_USE:
        old = ({**EARLIER, **in_use} if in_use else now).get(key, now[key])
        if now[key] != old:
            _refuse(now[key], old, _kept_in(state, "") if key in IN_USE_OF_REALM else kept, IN_USE[key], key)
    realms = now.get("realms", {})
    for name, before in in_use.get("realms", {}).items():
        for key, setting in IN_USE_OF_REALM.items() if name in realms else ():
            new = realms[name][key]
            if key in before and new != before[key]:
                kept_in = _kept_in(state, name)
                _refuse(new, before[key], kept_in, f"realms.{name}.{setting}", f"realms.{name}.{key}")


def _kept_in(state: State, realm: str) -> list[int]:
    """Return the slices of a realm that were there before the present change."""
    there = state.slices.entries.kept
    return [each for each, holdings in state.slices.holdings.items() if holdings.realm == realm and str(each) in there]


def _refuse(new: object, old: object, slices: Collection[object], setting: str, key: str) -> None:
    """Raise `OtherInUse` if there are slices that the old value was for."""
    if slices:
        raise OtherInUse(
            f"{show(new)} cannot replace {show(old)} while there are slices ({_some(slices)}): "
            f"write {show(old)} again, or delete the slices first; where the old one is lost for good, write "
            f"{show(new)} as {key} into the section in_use, too",
            *setting.split("."),
        )


def _check_realm(slice_: Slice, inventory: Inventory) -> None:
    """Raise `OtherInUse` where the slice's realm is gone, or a worker of it is another realm's network node now."""
    if slice_.realm not in {"", *inventory.realms}:
        raise OtherInUse(
            f"there is no realm {slice_.realm}, in which slice {slice_.slice_id} is: write it again; it can be removed "
            "when no slice is in it",
            "realms",
        )
    workers = {vm.worker_ip for design in slice_.designs for vm in design.vms}
    for name, other in inventory.of_realm(slice_.realm).realms.items():
        if other.network_node in workers:
            raise OtherInUse(
                f"{other.network_node} has VMs of slice {slice_.slice_id}, which is in another realm: name another "
                "host, or delete the slice first",
                *(() if name == names.MAIN else ("realms", name)),
                "network_node",
            )


def _check_flavors(flavors: Mapping[str, Flavor]) -> None:
    """Raise `Broken` where two images have one file name, as workers know them by it, or where no VM could be made."""
    paths: dict[str, str] = {}
    for name, flavor in flavors.items():
        for key, path in (("image", flavor.image), ("cdrom", flavor.devices.cdrom)):
            if path is not None:
                _check_image(paths, path, "flavors", name, key)
        least, most = flavor.devices.min_nics, flavor.devices.max_nics
        if least > most:
            raise Broken(f"must be at most max_nics ({most}), not {least}", "flavors", name, "min_nics")


def _check_image(paths: dict[str, str], path: str, *place: str) -> None:
    file = PurePosixPath(path).name
    if not is_image_name(file):
        rule = f"1 to {MAX_IMAGE_NAME} bytes and none of our own, such as slice-1000 or .x.seal"
        raise Broken(f"the image {show(path)} needs another file name: {rule}", *place)
    if paths.setdefault(file, path) != path:
        raise Broken(f"the image {show(path)} has the file name of another flavor's, rename it", *place[:-1])


def _check_imports(imports: ImportSettings, flavors: Collection[str]) -> None:
    named: dict[tuple[str, ...], str] = {("kinds", kind): flavor for kind, flavor in imports.kinds.items()}
    for path, flavor in {("default",): imports.default, **named}.items():
        if flavor not in flavors:
            raise Broken(f"there is no flavor {show(flavor)}; there are {_listed(flavors)}", "import", *path)


def _check_slice(slice_: Slice, inventory: Inventory) -> None:
    internet = inventory.of_realm(slice_.realm).internet
    here = ("slices", str(slice_.slice_id))
    _check_parts(slice_, internet, here)
    if slice_.before:
        if slice_.status not in {SliceStatus.RUNNING, SliceStatus.DELETING}:
            raise Broken("is there only while a running slice is changed", *here, "before")
        _check_parts(slice_.earlier(), internet, (*here, "before"))
    _Cloud(inventory).add(slice_)


def _check_profiles(slice_: Slice, profiles: Container[str]) -> None:
    """Raise `OtherInUse` where a link names a profile that is gone: its queues would stay on TAPs unseen."""
    for design in slice_.designs:
        for link in design.links:
            for name in (each.profile for each in link.impairments):
                if name and name not in profiles:
                    vms = [vm.name for vm_id, _ in link.ends if (vm := design.vm(vm_id))]
                    raise OtherInUse(
                        f"there is no profile {show(name)}, which link {link.name or '-'.join(vms)} of slice "
                        f"{slice_.slice_id} uses: write it again; it can be removed when no link uses it",
                        "profiles",
                    )


def _check_parts(slice_: Slice, internet: InternetSettings, here: tuple[Key, ...]) -> None:
    for rule in (_check_pool, _check_links, _check_interfaces, _check_networks, _check_addresses):
        try:
            rule(slice_, internet)
        except Broken as fault:
            fault.path = (*here, *fault.path)
            raise


class _Owners:
    """The owners of things of one kind, each of which has one owner."""

    def __init__(self, kind: str, taken: Mapping[Key, str] | None = None) -> None:
        self._kind = kind
        self._owners = dict(taken or {})

    def give(self, thing: Key, owner: str, *path: Key) -> None:
        """Record the owner of `thing`; `Broken` where it has one."""
        if thing in self._owners:
            raise Broken(f"{self._kind} {thing} belongs to {self._owners[thing]} already", *path)
        self._owners[thing] = owner


class _RealmOwners:
    """The owners of everything that each realm has once."""

    def __init__(self, internet: InternetSettings) -> None:
        self.pools = _Owners("the VLAN pool from")
        self.ports = _Owners("VNC port")
        self.macs = _Owners("MAC")
        server = str(internet.network[names.DHCP_SERVER_HOST])
        self.addresses = _Owners("address", {server: "the DHCP server", internet.gateway: "the gateway"})


class _Cloud:
    """The owners of everything that one slice, VM or interface of the cloud has alone."""

    def __init__(self, inventory: Inventory) -> None:
        self._ids = _Owners("id")
        self._doors = _Owners("VNC")
        self._inventory = inventory
        self._realms: dict[str, _RealmOwners] = {}

    def add(self, slice_: Slice) -> None:
        """Record what the slice has; `Broken` where another has it."""
        owner = f"slice {slice_.slice_id}"
        if slice_.realm not in self._realms:
            self._realms[slice_.realm] = _RealmOwners(self._inventory.of_realm(slice_.realm).internet)
        realm = self._realms[slice_.realm]
        here = ("slices", str(slice_.slice_id))
        self._ids.give(slice_.slice_id, owner, *here)
        realm.pools.give(slice_.vlan_pool_start, owner, *here)
        for index, vm in enumerate(slice_.vms):
            self._add_vm(vm, realm, owner, (*here, "vms", index))
        for vm in slice_.leaving:
            self._add_vm(vm, realm, owner, (*here, "before"))

    def _add_vm(self, vm: VM, realm: _RealmOwners, owner: str, here: tuple[Key, ...]) -> None:
        self._ids.give(vm.vm_id, f"VM {vm.vm_id} of {owner}", *here, "vm_id")
        realm.ports.give(vm.vnc_port, f"VM {vm.vm_id}", *here, "vnc_port")
        if vm.worker_ip != NOWHERE:
            self._doors.give(door(vm.worker_ip, vm.vnc_port), f"VM {vm.vm_id}", *here, "vnc_port")
        for position, interface in enumerate(vm.interfaces):
            self._add_interface(vm, realm, interface, (*here, "interfaces", position))

    @staticmethod
    def _add_interface(vm: VM, realm: _RealmOwners, interface: Interface, here: tuple[Key, ...]) -> None:
        owner = f"VM {vm.vm_id} {interface.name}"
        if interface.mac:
            realm.macs.give(interface.mac.lower(), owner, *here, "mac")
        if interface.ip_config:
            realm.addresses.give(interface.ip_config.ip, owner, *here, "ip_config", "ip")


def _check_ownership(users: Mapping[str, User], live: Mapping[int, Holdings]) -> None:
    owned: dict[str, list[Holdings]] = {name: [] for name in users}
    for holdings in live.values():
        owned.setdefault(holdings.owner, []).append(holdings)
    for name in sorted(owned, key=users.__contains__):  # the slices of missing users first
        theirs = owned[name]
        _check_owner(users, name, [each.slice_id for each in theirs], sum(each.vms for each in theirs))


def _check_owner(users: Mapping[str, User], name: str, owned: Sequence[int], vms: int) -> None:
    """Raise `Broken` where a user has not the slices that name it as owner, or counts their VMs wrongly."""
    if name not in users:
        if owned:
            raise Broken(f"there is no user {show(name)}", "slices", str(owned[0]), "owner")
        return
    user = users[name]
    no_twice("slice", user.slices, "users", name, "slices")
    if set(user.slices) != set(owned):
        raise Broken(f"must be the slices that {name} owns: {_listed(owned)}", "users", name, "slices")
    equal(f"the number of VMs in the slices of {name},", vms, user.used_vms, "users", name, "used_vms")


def _check_pool(slice_: Slice, internet: InternetSettings) -> None:
    no_twice("VLAN", slice_.vlan_pool_used, "vlan_pool_used")
    for index, vlan_id in enumerate(slice_.vlan_pool_used):
        if not slice_.vlan_pool_start <= vlan_id <= slice_.vlan_pool_end:
            bounds = f"{slice_.vlan_pool_start} to {slice_.vlan_pool_end}"
            raise Broken(f"VLAN {vlan_id} is not in the slice's pool, {bounds}", "vlan_pool_used", index)
        if vlan_id == internet.vlan_id:
            raise Broken(f"VLAN {vlan_id} is the internet's and no link's", "vlan_pool_used", index)


def _check_links(slice_: Slice, _: InternetSettings) -> None:
    no_twice("link id", [link.link_id for link in slice_.links], "links")
    no_twice("VLAN", [link.vlan_id for link in slice_.links], "links")
    vms = {vm.vm_id: vm for vm in slice_.vms}
    for index, link in enumerate(slice_.links):
        if link.vlan_id not in slice_.vlan_pool_used:
            raise Broken(f"VLAN {link.vlan_id} is not in vlan_pool_used", "links", index, "vlan_id")
        joined = [vm_id for vm_id, _ in link.ends]
        if double := next((vm_id for vm_id in joined if joined.count(vm_id) > 1), None):
            raise Broken(f"joins VM {double} with itself", "links", index)
        for vm_id, name in link.ends:
            vm = vms.get(vm_id)
            end = vm.interface(name) if vm else None
            if end is None or name == "eth0":
                raise Broken(f"the slice has no data interface {name} of VM {vm_id}", "links", index)
            if (end.link_id, end.vlan_id) != (link.link_id, link.vlan_id):
                raise Broken(f"{name} of VM {vm_id} does not say the same", "links", index)


def _check_interfaces(slice_: Slice, internet: InternetSettings) -> None:
    no_twice("VM name", [vm.name for vm in slice_.vms], "vms")
    ends = {end for link in slice_.links for end in link.ends}
    for index, vm in enumerate(slice_.vms):
        if vm.owner != slice_.owner:
            raise Broken(f"must be {slice_.owner}, who owns the slice", "vms", index, "owner")
        for position, interface in enumerate(vm.interfaces):
            here = ("vms", index, "interfaces", position)
            equal("the name by its place,", f"eth{position}", interface.name, *here, "name")
            if position == 0:
                _check_eth0(interface, internet, here)
            elif interface.ip_config:
                raise Broken("only eth0 has an ip_config", *here)
            elif interface.address and interface.link_id is None:
                raise Broken("has an address and no link", *here, "address")
            elif (vm.vm_id, interface.name) not in ends and (interface.link_id, interface.vlan_id) != (None, None):
                raise Broken("is on a VLAN without a link of the slice that ends here", *here)


def _check_eth0(interface: Interface, internet: InternetSettings, here: tuple[Key, ...]) -> None:
    if interface.link_id is not None or interface.vlan_id not in {None, internet.vlan_id}:
        raise Broken(f"eth0 is on VLAN {internet.vlan_id} (internet) or on none, and no link's end", *here)
    if interface.ip_config and interface.vlan_id is None:
        raise Broken("eth0 has an address but no VLAN", *here)
    if interface.ip_config and IPv4Address(interface.ip_config.ip) not in internet.network:
        reason = f"{interface.ip_config.ip} is not in the internet network {internet.network}"
        raise Broken(reason, *here, "ip_config", "ip")


def _check_addresses(slice_: Slice, _: InternetSettings) -> None:
    """Check the fixed addresses on links."""
    places = {vm.vm_id: index for index, vm in enumerate(slice_.vms)}
    for link in slice_.links:
        network, owners = slice_.network_of(link), dict[str, int]()
        for vm_id, name in link.ends:
            fixed = slice_.fixed_address(vm_id, name)
            if fixed is None:
                continue
            here = ("vms", places[vm_id], "interfaces", int(name.removeprefix("eth")), "address")
            if not network.may_have(fixed):
                raise Broken(f"{fixed} is no address that a VM can have in {network.cidr}", *here)
            if fixed in owners:
                raise Broken(f"{fixed} belongs to VM {owners[fixed]} already", *here)
            owners[fixed] = vm_id


def _check_networks(slice_: Slice, _: InternetSettings) -> None:
    no_twice("VLAN", [network.vlan_id for network in slice_.networks], "networks")
    for index, network in enumerate(slice_.networks):
        if network.vlan_id not in slice_.vlan_pool_used:
            raise Broken(f"VLAN {network.vlan_id} is not in vlan_pool_used", "networks", index, "vlan_id")
        if network.gateway_ip:
            check_gateway(network.gateway_ip, network.cidr, "networks", index, "gateway_ip")
        if network.services != NONE and network.addresses.prefixlen > LONGEST_DHCP_PREFIX:
            raise Broken(f"DHCP needs a network of /{LONGEST_DHCP_PREFIX} or larger", "networks", index, "cidr")


def _some(items: Collection[object]) -> str:
    """Return the first items, and how many more there are."""
    more = len(items) - _MOST_NAMED
    named = _listed(islice(items, _MOST_NAMED))
    return f"{named} and {more} more" if more > 0 else named


def _listed(items: Iterable[object]) -> str:
    return ", ".join(map(str, items)) or "none"
