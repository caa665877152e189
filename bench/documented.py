"""The documented design (docs/spec/): the command lines that a manager sends to the hosts, one after the other. Pure.

A gap in the pages is filled with the fewest commands. So a process that has to be ended by its pid gets a pid file.
VLAN 400 and its rules go with the last slice, as in the other contender.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from core.inventory import Inventory
from core.names import dhcp_namespace, dhcp_port, gateway_port, tap_name, vlan_cidr
from models import VM, Interface, Slice

_BRIDGE = "br-int"


@dataclass(frozen=True)
class CommandLine:
    """A command line for the login shell of `host`."""

    host: str
    text: str


class DocumentedDesign:
    """One slice, designed, deployed and deleted as the pages say."""

    def __init__(self, slice_: Slice, inventory: Inventory) -> None:
        self._slice = slice_
        self._node = inventory.network_node
        self._internet = inventory.internet
        self._hypervisor = inventory.hypervisor

    # --- the phases ---------------------------------------------------------------------------------------------------

    def design(self) -> list[CommandLine]:
        """Return the lines of `create_backing_image` of every VM (docs/spec/flavors.md)."""
        return [self._overlay(vm) for vm in self._slice.vms]

    def deploy(self) -> list[CommandLine]:
        """Return the lines for VLANs, then for VMs (docs/spec/slices.md, docs/spec/networking.md)."""
        lines = [line for vlan in self._links for line in self._vlan(vlan, vlan_cidr(vlan).partition("/")[0])]
        if self._slice.uses_internet:
            lines += self._vlan(self._internet.vlan_id, str(self._internet.network[0]))
            lines.append(self._on_node("sudo sysctl -w net.ipv4.ip_forward=1"))
            lines += [self._on_node(f"sudo iptables {rule.format(verb='-A')}") for rule in self._rules]
        return lines + [line for vm in self._slice.vms for line in (*self._plug_in(vm), self._start(vm))]

    def delete(self) -> list[CommandLine]:
        """Return the lines that kill VMs by pid and remove TAPs, VLANs and overlays (docs/spec/slices.md, Deleting)."""
        lines = [line for vm in self._slice.vms for line in (self._kill(vm), *self._unplug(vm))]
        lines += [line for vlan in self._links for line in self._no_vlan(vlan)]
        if self._slice.uses_internet:
            lines += self._no_vlan(self._internet.vlan_id)
            lines += [self._on_node(f"sudo iptables {rule.format(verb='-D')}") for rule in self._rules]
        return lines + [self._remove_files(vm) for vm in self._slice.vms]

    # --- VMs ----------------------------------------------------------------------------------------------------------

    def _overlay(self, vm: VM) -> CommandLine:
        base = PurePosixPath(vm.image or "").name
        return CommandLine(
            vm.worker_ip,
            f"cd {self._hypervisor.images_path} && qemu-img create -f qcow2 -b {base} -F qcow2 {_disk(vm)}",
        )

    def _plug_in(self, vm: VM) -> Iterator[CommandLine]:
        for interface in _wired(vm):
            tap = tap_name(vm.vm_id, interface.name)
            yield CommandLine(vm.worker_ip, f"sudo ip tuntap add mode tap name {tap}")
            yield CommandLine(vm.worker_ip, f"sudo ip link set dev {tap} up")
            yield CommandLine(
                vm.worker_ip, f"sudo ovs-vsctl --may-exist add-port {_BRIDGE} {tap} tag={interface.vlan_id}"
            )

    def _unplug(self, vm: VM) -> Iterator[CommandLine]:
        for interface in _wired(vm):
            tap = tap_name(vm.vm_id, interface.name)
            yield CommandLine(vm.worker_ip, f"sudo ovs-vsctl --if-exists del-port {_BRIDGE} {tap}")
            yield CommandLine(vm.worker_ip, f"sudo ip link del {tap}")

    def _start(self, vm: VM) -> CommandLine:
        argv = ["sudo", "qemu-system-x86_64", "-name", f"vm{vm.vm_id}", "-machine", "pc", "-cpu", "max"]
        argv += ["-nodefaults", "-vga", "std", "-smp", str(vm.size.cores), "-m", str(vm.ram_mib)]
        for accel in ("kvm", "tcg") if self._hypervisor.accel == "auto" else (self._hypervisor.accel,):
            argv += ["-accel", accel]
        argv += ["-drive", f"file={self._path(_disk(vm))},format=qcow2,if=virtio"]
        for index, interface in enumerate(_wired(vm)):
            tap = tap_name(vm.vm_id, interface.name)
            argv += ["-netdev", f"tap,id=nic{index},ifname={tap},script=no,downscript=no"]
            argv += ["-device", f"virtio-net-pci,netdev=nic{index},mac={interface.mac},romfile="]
        argv += ["-vnc", f":{vm.vnc_port - 5900}", "-daemonize", "-pidfile", self._path(_pid(vm))]
        return CommandLine(vm.worker_ip, shlex.join(argv))

    def _kill(self, vm: VM) -> CommandLine:
        return CommandLine(vm.worker_ip, f"sudo kill -KILL $(sudo cat {self._path(_pid(vm))})")

    def _remove_files(self, vm: VM) -> CommandLine:
        return CommandLine(vm.worker_ip, f"rm -f {self._path(_disk(vm))} {self._path(_pid(vm))}")

    def _path(self, name: str) -> str:
        return f"{self._hypervisor.images_path}/{name}"

    # --- VLANs --------------------------------------------------------------------------------------------------------

    @property
    def _links(self) -> list[int]:
        return [link.vlan_id for link in self._slice.links]

    @property
    def _rules(self) -> tuple[str, ...]:
        inside, uplink = gateway_port(self._internet.vlan_id), self._internet.uplink
        return (
            f"-t nat {{verb}} POSTROUTING -s {self._internet.cidr} -o {uplink} -j MASQUERADE",
            f"{{verb}} FORWARD -i {inside} -o {uplink} -j ACCEPT",
            "{verb} FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        )

    def _vlan(self, vlan: int, network: str) -> Iterator[CommandLine]:
        gateway, port, namespace, prefix = gateway_port(vlan), dhcp_port(vlan), dhcp_namespace(vlan), network[:-1]
        inside = f"sudo ip netns exec {namespace}"
        yield self._add_internal(gateway, vlan)
        yield self._on_node(f"sudo ip addr add {prefix}1/24 dev {gateway}")
        yield self._on_node(f"sudo ip link set dev {gateway} up")
        yield self._on_node(f"sudo ip netns add {namespace}")
        yield self._add_internal(port, vlan)
        yield self._on_node(f"sudo ip link set {port} netns {namespace}")
        yield self._on_node(f"{inside} ip addr add {prefix}2/24 dev {port}")
        yield self._on_node(f"{inside} ip link set dev {port} up")
        yield self._on_node(
            f"{inside} dnsmasq --interface={port} --bind-interfaces --dhcp-range={prefix}10,{prefix}250,24h "
            f"--dhcp-option=3,{prefix}1 --dhcp-option=6,{self._internet.dns} --log-dhcp "
            f"--log-facility={_log(vlan)}"
        )

    def _no_vlan(self, vlan: int) -> Iterator[CommandLine]:
        gateway, port, namespace = gateway_port(vlan), dhcp_port(vlan), dhcp_namespace(vlan)
        # The log belongs to dnsmasq's own user: with fs.protected_regular not even root could open it again.
        yield self._on_node(f"sudo kill $(sudo ip netns pids {namespace}) && sudo rm -f {_log(vlan)}")
        yield self._on_node(f"sudo ip netns del {namespace}")
        yield self._on_node(f"sudo ovs-vsctl --if-exists del-port {_BRIDGE} {gateway}")
        yield self._on_node(f"sudo ovs-vsctl --if-exists del-port {_BRIDGE} {port}")

    def _add_internal(self, port: str, vlan: int) -> CommandLine:
        return self._on_node(
            f"sudo ovs-vsctl --may-exist add-port {_BRIDGE} {port} tag={vlan} -- set interface {port} type=internal"
        )

    def _on_node(self, text: str) -> CommandLine:
        return CommandLine(self._node, text)


def _wired(vm: VM) -> list[Interface]:
    return [interface for interface in vm.interfaces if interface.vlan_id is not None]


def _disk(vm: VM) -> str:
    return f"{vm.name}_img.qcow2"


def _pid(vm: VM) -> str:
    return f"{vm.name}.pid"


def _log(vlan: int) -> str:
    return f"/tmp/dnsmasq_vlan{vlan}.log"  # noqa: S108 - the documented place
