"""Write slices, VMs and interfaces as texts, which tables and plain lines share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.status import VMStatus
from core.values import Size
from menu.screen import clean
from models import NOWHERE, VM, Interface, Slice

if TYPE_CHECKING:
    from lifecycle.creation import Demand

NO_SLICES = "You have no slices yet: 2 creates one"
NOT_CONNECTED = "not connected"
NOTHING = "-"


@dataclass(frozen=True)
class InterfaceTexts:
    """The texts of one interface of a VM. `guest`: the guest's own name of it, where that is another one."""

    name: str
    guest: str
    mac: str
    vlan: str
    address: str
    connected_to: str

    @property
    def title(self) -> str:
        """Return the name, with that of the guest."""
        return f"{self.name} ({self.guest})" if self.guest else self.name

    @property
    def connected(self) -> bool:
        """Return whether the interface is connected to a VM or to the internet."""
        return self.connected_to != NOT_CONNECTED


@dataclass(frozen=True)
class VMTexts:
    """The texts of one VM of a slice. `vnc_password` and `login` are empty while the VM does not run.

    `login` is the guest's user and password, for a VM with a seed. `uses_screen`: the guest talks to people on its
    screen, and not on the serial console.
    """

    vm_id: int
    name: str
    worker: str
    vnc: str
    vnc_password: str
    login: str
    flavor: str
    status: str
    interfaces: tuple[InterfaceTexts, ...]
    uses_screen: bool


def vms_of(slice_: Slice) -> list[VMTexts]:
    """Return the VMs of a slice in the order of their ids."""
    return [_vm_texts(slice_, vm) for vm in sorted(slice_.vms, key=lambda vm: vm.vm_id)]


def by_id(slices: Iterable[Slice]) -> list[Slice]:
    """Return the slices in the order of their ids."""
    return sorted(slices, key=lambda slice_: slice_.slice_id)


def slice_title(slice_: Slice) -> str:
    """Return the name of a slice in sentences: its id, and its name if it has one."""
    return f"slice {slice_.slice_id} ({clean(slice_.name)})" if slice_.name else f"slice {slice_.slice_id}"


def owner_note(slice_: Slice, viewer: str) -> str:
    """Return the owner of a slice for another viewer, or an empty string for the owner."""
    return "" if viewer in {"", slice_.owner} else f"of {clean(slice_.owner)}"


def title_for(slice_: Slice, viewer: str) -> str:
    """Return `slice_title`, with the owner if that is not the viewer."""
    return f"{slice_title(slice_)} {owner_note(slice_, viewer)}".rstrip()


def flavor_size(size: Size) -> str:
    """Return cores, memory and disk of a flavor or VM as text."""
    cores, ram, disk = flavor_amounts(size)
    return f"{cores} {'core' if cores == '1' else 'cores'}, {ram} RAM, {disk} disk"


def flavor_amounts(size: Size) -> tuple[str, str, str]:
    """Return cores, memory and disk, each as a text of its own."""
    disks = [gib(disk) for disk in (size.disk_gb, size.disk2_gb) if disk]
    return str(size.cores), gib(size.ram_gb), " + ".join(disks)


def gib(amount: float) -> str:
    """Return an amount of memory or disk without needless digits."""
    return f"{round(float(amount), 2):g} GiB"


def mib(size: int) -> str:
    """Return a number of bytes in MiB."""
    return f"{size / 2**20:.1f} MiB"


def seconds(duration: float) -> str:
    """Return a duration as text: hundredths of a second below a minute, whole seconds above."""
    if duration < 60:
        return f"{duration:.2f} s"
    minutes, rest = divmod(round(duration), 60)
    return f"{minutes} min {rest:02d} s"


def linkable_lines(slice_: Slice) -> Iterator[tuple[str, bool]]:
    """Yield lines of VMs and data interfaces, each with whether it is an interface without a link."""
    yield "Available VMs and interfaces:", False
    for vm in vms_of(slice_):
        yield f"  VM {vm.vm_id}: {vm.name}", False
        for interface in vm.interfaces:
            if interface.name != "eth0":
                yield _linkable_line(interface), not interface.connected
    if not slice_.vms:
        yield "  (none)", False


def _linkable_line(interface: InterfaceTexts) -> str:
    state = f"connected to {interface.connected_to.removeprefix('-> ')}" if interface.connected else "unconnected"
    return f"    - {interface.title} ({state})"


def demand_line(source: str, demand: Demand) -> str:
    """Return what a template or a slice file needs, of the free memory and the user's quota."""
    size = f"{counted(demand.vms, 'VM')}, {counted(demand.links, 'link')}"
    memory = f"needs {round(demand.ram_gb, 1):g} GB of {round(demand.free_ram_gb, 1):g} GB"
    return f"{source}: {size}; {memory}; {demand.used_vms} of {demand.quota_vms} VMs of your quota"


def _vm_texts(slice_: Slice, vm: VM) -> VMTexts:
    return VMTexts(
        vm.vm_id,
        clean(vm.name),
        clean(vm.worker_ip),
        NOTHING if vm.worker_ip == NOWHERE else clean(f"{vm.worker_ip}:{vm.vnc_port}"),
        clean(vm.vnc_secret or "") if vm.status == VMStatus.RUNNING else "",
        clean(f"{vm.devices.user} password {vm.password}") if vm.password and vm.status == VMStatus.RUNNING else "",
        clean(vm.flavor_name or flavor_size(vm.size)),
        clean(f"{vm.status}, lost with {vm.lost_with}" if vm.lost_with else str(vm.status)),
        tuple(_interface_texts(slice_, vm, number, interface) for number, interface in enumerate(vm.interfaces)),
        vm.devices.console == "vnc",
    )


def _interface_texts(slice_: Slice, vm: VM, number: int, interface: Interface) -> InterfaceTexts:
    guest = vm.devices.nic_name(number)
    return InterfaceTexts(
        clean(interface.name),
        clean(guest) if guest != f"eth{number}" else "",
        clean(interface.mac or NOTHING),
        str(interface.vlan_id or NOTHING),
        clean(slice_.address_of(vm, interface) or NOTHING),
        clean(_other_end(slice_, vm, interface)),
    )


def _other_end(slice_: Slice, vm: VM, interface: Interface) -> str:
    link = slice_.link(interface.link_id)
    if link:
        from topology.of_slice import quality_of_link  # noqa: PLC0415 - not needed for the menu's first prompt

        quality = quality_of_link(slice_, link)
        peers = ", ".join(_end_text(slice_, *end) for end in link.peers_of(vm.vm_id))
        return f"-> {peers} ({quality})" if quality else f"-> {peers}"
    return "internet" if interface.vlan_id else NOT_CONNECTED


def _end_text(slice_: Slice, vm_id: int, interface: str) -> str:
    vm = slice_.vm(vm_id)
    return f"{vm.name if vm else f'VM {vm_id}'} {interface}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 link`, `2 links`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
