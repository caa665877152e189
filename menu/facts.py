"""What there is to say about slices, VMs and interfaces, as text: the tables and their plain twins both say this."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from core.status import VMStatus
from menu.screen import clean
from models import NOWHERE, VM, Interface, Record, Slice

NOT_CONNECTED = "not connected"
NOTHING = "-"


@dataclass(frozen=True)
class InterfaceFacts:
    """One interface of a VM, ready to be shown."""

    name: str
    mac: str
    vlan: str
    address: str
    connected_to: str

    @property
    def connected(self) -> bool:
        """Whether anything is at the other end."""
        return self.connected_to != NOT_CONNECTED


@dataclass(frozen=True)
class VMFacts:
    """One VM of a slice, ready to be shown; `vnc_password` is empty while the VM does not run."""

    vm_id: int
    name: str
    worker: str
    vnc: str
    vnc_password: str
    flavor: str
    status: str
    interfaces: tuple[InterfaceFacts, ...]


def vms_of(slice_: Slice) -> list[VMFacts]:
    """The VMs of a slice, by id."""
    return [_vm_facts(slice_, vm) for vm in sorted(slice_.vms, key=lambda vm: vm.vm_id)]


def by_id(slices: Iterable[Slice]) -> list[Slice]:
    """Slices in the order in which they are shown."""
    return sorted(slices, key=lambda slice_: slice_.slice_id)


def slice_title(slice_: Slice) -> str:
    """How a sentence calls a slice: by its id, and its name where it has one."""
    return f"slice {slice_.slice_id} ({clean(slice_.name)})" if slice_.name else f"slice {slice_.slice_id}"


def owner_note(slice_: Slice, viewer: str) -> str:
    """Whose slice it is, for an admin who looks at somebody else's; empty for one's own."""
    return "" if viewer in {"", slice_.owner} else f"of {clean(slice_.owner)}"


def title_for(slice_: Slice, viewer: str) -> str:
    """`slice_title`, and whose slice it is where it is not the viewer's own."""
    return f"{slice_title(slice_)} {owner_note(slice_, viewer)}".rstrip()


def flavor_size(flavor: Record) -> str:
    """Cores, memory and disk of a flavor."""
    cores, ram, disk = flavor_amounts(flavor)
    return f"{cores} {'core' if cores == '1' else 'cores'}, {ram} RAM, {disk} disk"


def flavor_amounts(flavor: Record) -> tuple[str, str, str]:
    """Cores, memory and disk of a flavor, each on its own; the defaults are the documented ones."""
    return str(flavor.get("cores", 1)), gib(flavor.get("ram_gb", 0.5)), gib(flavor.get("disk_gb", 1))


def gib(amount: float) -> str:
    """An amount of memory or disk, without needless digits."""
    return f"{round(float(amount), 2):g} GiB"


def mib(size: int) -> str:
    """A number of bytes in MiB."""
    return f"{size / 2**20:.1f} MiB"


def seconds(duration: float) -> str:
    """A duration, to the hundredth of a second below a minute."""
    if duration < 60:
        return f"{duration:.2f} s"
    minutes, rest = divmod(round(duration), 60)
    return f"{minutes} min {rest:02d} s"


def linkable_lines(slice_: Slice) -> Iterator[tuple[str, bool]]:
    """The VMs and data interfaces of a slice, and whether a line is an interface that can still be linked."""
    yield "Available VMs and interfaces:", False
    for vm in vms_of(slice_):
        yield f"  VM {vm.vm_id}: {vm.name}", False
        for interface in vm.interfaces:
            if interface.name != "eth0":
                yield _linkable_line(interface), not interface.connected
    if not slice_.vms:
        yield "  (none)", False


def _linkable_line(interface: InterfaceFacts) -> str:
    state = f"connected to {interface.connected_to.removeprefix('-> ')}" if interface.connected else "unconnected"
    return f"    - {interface.name} ({state})"


def _vm_facts(slice_: Slice, vm: VM) -> VMFacts:
    return VMFacts(
        vm.vm_id,
        clean(vm.name),
        clean(vm.worker_ip),
        NOTHING if vm.worker_ip == NOWHERE else clean(f"{vm.worker_ip}:{vm.vnc_port}"),
        clean(vm.vnc_secret or "") if vm.status == VMStatus.RUNNING else "",
        clean(vm.flavor_name or flavor_size(vm.flavor or {})),
        clean(f"{vm.status}, lost with {vm.lost_with}" if vm.lost_with else str(vm.status)),
        tuple(_interface_facts(slice_, vm, interface) for interface in vm.interfaces),
    )


def _interface_facts(slice_: Slice, vm: VM, interface: Interface) -> InterfaceFacts:
    return InterfaceFacts(
        clean(interface.name),
        clean(interface.mac or NOTHING),
        str(interface.vlan_id or NOTHING),
        clean(slice_.address_of(vm, interface) or NOTHING),
        clean(_other_end(slice_, vm, interface)),
    )


def _other_end(slice_: Slice, vm: VM, interface: Interface) -> str:
    link = slice_.link(interface.link_id)
    if link:
        peer_id, peer_interface = link.peer_of(vm.vm_id)
        peer = slice_.vm(peer_id)
        return f"-> {peer.name if peer else f'VM {peer_id}'} {peer_interface}"
    return "internet" if interface.vlan_id else NOT_CONNECTED


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 link`, `2 links`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
