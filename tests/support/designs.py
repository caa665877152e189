"""Slices for the tests, as data: links, and VMs with internet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from allocation.taken import taken_by
from core.inventory import Inventory, Worker
from core.links import DHCP, DHCP_GATEWAY, NONE
from core.status import VMStart, VMStatus
from deployment import DeploymentAPI
from models import Flavor, Slice

IMAGE = "/tmp/vm_images/cirros.img"
FLAVOR = {"cores": 1, "ram_gb": 0.5, "disk_gb": 1, "image": IMAGE}


@dataclass(frozen=True)
class Join:
    """A link of these VMs by their `eth1`, with other services or addresses than usual."""

    vms: tuple[int, ...]
    services: str = DHCP_GATEWAY
    cidr: str = ""
    addresses: Mapping[int, str] = field(default_factory=dict)
    nic: str = "eth1"


@dataclass(frozen=True)
class SketchedSlice:
    """A design; `nics` is the number of data interfaces of each VM, a link is (VM, interface, VM, interface).

    `internet` and `manual` are the VMs with internet, and those that a deployment does not start.
    """

    nics: tuple[int, ...]
    links: tuple[tuple[int, str, int, str], ...] = ()
    internet: tuple[int, ...] = ()
    slice_id: int = 1000
    joins: tuple[Join, ...] = ()
    manual: tuple[int, ...] = ()
    devices: Mapping[str, object] = field(default_factory=dict)


DESIGNS = {
    "single": SketchedSlice(nics=(0,)),
    "internet": SketchedSlice(nics=(0,), internet=(0,)),
    "line": SketchedSlice(nics=(1, 2, 1), links=((0, "eth1", 1, "eth1"), (1, "eth2", 2, "eth1")), internet=(0,)),
    "ring": SketchedSlice(
        nics=(2, 2, 2, 2),
        links=tuple((i, "eth1", (i + 1) % 4, "eth2") for i in range(4)),
        internet=(0, 1, 2, 3),
        slice_id=2015,
    ),
    "unconnected": SketchedSlice(nics=(2, 2)),
    "lans": SketchedSlice(
        nics=(3, 3, 3),
        joins=(
            Join((0, 1, 2), cidr="10.1.0.0/16", addresses={1: "10.1.0.10"}),
            Join((0, 1, 2), DHCP, nic="eth2"),
            Join((1, 2), NONE, nic="eth3"),
        ),
        internet=(0,),
    ),
    "manual": SketchedSlice(nics=(1, 1, 0), links=((0, "eth1", 1, "eth1"),), manual=(1, 2)),
    "devices": SketchedSlice(
        nics=(1, 1),
        links=((0, "eth1", 1, "eth1"),),
        devices={
            "nic_model": "e1000",
            "disk_bus": "sata",
            "machine": "q35",
            "firmware": "uefi",
            "cdrom": "/tmp/vm_images/installer.qcow2",
            "disk2_gb": 2,
            "kvm": "required",
        },
    ),
}


def design(name: str, inventory: Inventory | None = None) -> Slice:
    """Return the slice of that name, in design, with fixed ids, secrets and disks."""
    return _made(DESIGNS[name], inventory or Inventory())


def _made(wanted: SketchedSlice, inventory: Inventory) -> Slice:
    deployment = DeploymentAPI(inventory)
    workers = {address: Worker(100, 640.0, 5000.0) for address in inventory.workers_list}
    slice_ = Slice(wanted.slice_id, "student")
    for number, nics in enumerate(wanted.nics):
        vm = deployment.create_vm_with_qcow(
            slice_,
            wanted.slice_id + 1 + number,
            f"vm{number + 1}",
            "cirros",
            Flavor.from_dict(FLAVOR | {**wanted.devices}),
            nics,
            number in wanted.internet,
            workers,
            taken_by([slice_]),
        )
        if number in wanted.manual:
            vm.start = VMStart.MANUAL
        vm.status, vm.vnc_secret, vm.disk_id = VMStatus.DESIGN, f"secret{number}", f"{number + 1:016x}"
    for first, eth_a, second, eth_b in wanted.links:
        slice_.connect(slice_.vms[first].vm_id, eth_a, slice_.vms[second].vm_id, eth_b)
    for join in wanted.joins:
        ids = [slice_.vms[place].vm_id for place in join.vms]
        fixed = {slice_.vms[place].vm_id: address for place, address in join.addresses.items()}
        ends = [(vm_id, join.nic) for vm_id in ids]
        slice_.join(ends, services=join.services, cidr=join.cidr, addresses=fixed)
    return slice_


def ring_of(vms: int, inventory: Inventory | None = None) -> Slice:
    """Return a ring of `vms` VMs in design, all with internet."""
    links = tuple((number, "eth1", (number + 1) % vms, "eth2") for number in range(vms))
    return _made(SketchedSlice((2,) * vms, links, tuple(range(vms))), inventory or Inventory())
