"""The design of a slice that exists: under its own names for an edit, and as `export` writes it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import IPv4Address
from itertools import chain, count

from core.formats import MAX_NAME_LENGTH
from core.names import vlan_cidr
from models import Link, Slice, internet_interfaces
from topology.design import IMPAIRMENTS, Design, DesignedLink, DesignedVM, End
from topology.fields import NAME
from topology.seeds import seed_of

UNKNOWN = "unknown"
"""The flavor of a VM that an older version made without recording one."""


def present_design(slice_: Slice) -> Design:
    """Return the design of a slice under the names that it has, also those that a slice file cannot have.

    Ids, MACs, owners, secrets and states of the hosts are no part of a design.
    """
    return _design(slice_, slice_.name, {vm.vm_id: vm.name for vm in slice_.vms})


def design_of(slice_: Slice) -> tuple[Design, list[str]]:
    """Return the design of a slice for a slice file, and a sentence for each name that a file cannot have."""
    notices: list[str] = []
    names = {vm.vm_id: vm.name for vm in slice_.vms}
    taken = {name for name in names.values() if NAME.matches(name)}
    for vm_id, name in names.items():
        if not NAME.matches(name):
            names[vm_id] = _free(name, taken)
            notices.append(f"VM {name} is called {names[vm_id]} in the file: names begin with a letter there")
            taken.add(names[vm_id])
    title = slice_.name
    if not NAME.matches(title):
        title = _free(title or f"slice-{slice_.slice_id}", set())
        said = f"slice {slice_.name}" if slice_.name else f"slice {slice_.slice_id}, which has no name,"
        notices.append(f"{said} is called {title} in the file: names begin with a letter there")
    unknown = (vm.name for vm in slice_.vms if vm.flavor_name is None)
    notices += (f"VM {name} has no recorded flavor: replace `{UNKNOWN}` in the file by its flavor" for name in unknown)
    return _design(slice_, title, names), notices


def _design(slice_: Slice, title: str, names: Mapping[int, str]) -> Design:
    """Return the design of a slice with this name, and with names of its VMs by their ids."""
    links = [_link(slice_, link, names) for link in slice_.links]
    online = {vm.vm_id for vm, _ in internet_interfaces(slice_)}
    vms = []
    for vm in slice_.vms:
        nics = [interface for interface in vm.interfaces if interface.name != "eth0"]
        name, flavor = names[vm.vm_id], vm.flavor_name or UNKNOWN
        internet, seed = vm.vm_id in online, seed_of(vm.seed)
        vms.append(DesignedVM(name, flavor, len(nics), internet, seed, str(vm.start)))
    return Design(title, tuple(vms), tuple(links), slice_.description, tuple(slice_.goals))


def _link(slice_: Slice, link: Link, names: Mapping[int, str]) -> DesignedLink:
    """Return the design of a link; the network that follows from its VLAN is no part of it."""
    network = slice_.network_of(link)
    ends = tuple(End(names[vm_id], int(nic.removeprefix("eth"))) for vm_id, nic in link.ends)
    fixed = ((names[vm_id], slice_.fixed_address(vm_id, nic)) for vm_id, nic in link.ends)
    addresses = {name: IPv4Address(address) for name, address in fixed if address}
    chosen = addresses or network.cidr != vlan_cidr(link.vlan_id)
    cidr, impairments = network.addresses if chosen else None, _impairments(link, names)
    return DesignedLink(
        ends, link.name, network.services, cidr, addresses, impairments, str(link.state), link.transparent
    )


def _impairments(link: Link, names: Mapping[int, str]) -> dict[str, dict[str, str]]:
    """Return the impairments of a link by kind and VM, in the order of the ends."""
    by_end = {each.vm_id: each for each in link.impairments}
    received = [(names[vm_id], by_end[vm_id]) for vm_id, _ in link.ends if vm_id in by_end]
    found = {kind: {name: getattr(each, kind) for name, each in received} for kind in IMPAIRMENTS}
    by_kind = {kind: {name: text for name, text in texts.items() if text} for kind, texts in found.items()}
    return {kind: texts for kind, texts in by_kind.items() if texts}


def quality_of_link(slice_: Slice, link: Link) -> str:
    """Return the state, the impairments and the transparency of a link in a few words, or an empty text."""
    names = {vm.vm_id: vm.name for vm in slice_.vms}
    said = [] if link.passes else [str(link.state)]
    for kind, texts in _impairments(link, names).items():
        values = {*texts.values()}
        if len(texts) == len(link.ends) and len(values) == 1:
            said.append(f"{kind} {values.pop()}")
        else:
            said += [f"{kind} {text} at {name}" for name, text in texts.items()]
    return ", ".join([*said, *(["transparent"] if link.transparent else [])])


def _free(name: str, taken: Collection[str]) -> str:
    """Return a name for a slice file that begins with a letter and is not taken."""
    first = name if NAME.matches(name) else f"n{name}"[:MAX_NAME_LENGTH]
    numbered = (f"{first[: MAX_NAME_LENGTH - 5]}-{number}" for number in count(2))
    return next(each for each in chain([first], numbered) if each not in taken)


def link_names(slice_: Slice) -> list[str]:
    """Return the names of a slice's links: they follow from the names of its VMs."""
    names = {vm.vm_id: vm.name for vm in slice_.vms}
    links = [DesignedLink(tuple(End(names[vm_id], 0) for vm_id, _ in link.ends), link.name) for link in slice_.links]
    return Design(slice_.name, (), tuple(links)).link_names()
