"""The proof that realms are kept apart: no switch of one has seen a frame of another's VM. Pure.

Realms use the same VLANs. Where their data networks are joined, by a cable, a trunk or a patch, frames pass from one to
the other. A switch remembers for some minutes the source MACs of frames (ovs-vswitchd(8), fdb/show).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from core.inventory import Inventory
from core.names import MAIN
from inspection.facts import Facts
from inspection.isolation.proof import Property
from models import VM, Interface, Slice


def apart(
    inventory: Inventory, own: Iterable[Slice], others: Iterable[Slice], facts_by_host: Mapping[str, Facts]
) -> Property:
    """Check that the bridges of a realm have seen no frame of VMs of other realms.

    Two realms may have a VM with one MAC on one VLAN; nothing can be said about these.
    """
    found = Property("realms: no frame of another realm's VM arrives")
    known = {_sender(nic) for _, _, nic in _linked(own)}
    foreign = {_sender(nic): (slice_, vm) for slice_, vm, nic in _linked(others) if _sender(nic) not in known}
    for host, facts in facts_by_host.items():
        for vlan, mac in sorted(facts.learned):
            slice_, vm = foreign.get((vlan, mac), (None, None))
            what = ""
            if slice_ and vm:
                place = f"VLAN {vlan} of {inventory.bridge}"
                what = f"frames of VM {vm.vm_id} of realm {slice_.realm or MAIN} arrive on {place}"
            found.check(host, what, *([slice_.slice_id] if slice_ else []), holds=slice_ is None)
    return found


def _sender(nic: Interface) -> tuple[int | None, str]:
    """Return the VLAN and the MAC of an interface as switches write them."""
    return nic.vlan_id, f"{nic.mac}".lower()


def _linked(slices: Iterable[Slice]) -> Iterator[tuple[Slice, VM, Interface]]:
    """Yield all interfaces that are on a VLAN."""
    designs = (design for slice_ in slices for design in slice_.designs)
    return ((each, vm, nic) for each in designs for vm in each.vms for nic in vm.interfaces if nic.vlan_id is not None)
