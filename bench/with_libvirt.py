"""libvirt as a contender for the VMs alone: `virsh` over `qemu+ssh`, ports on br-int with their VLAN tags.

One `virsh` per worker keeps its connection and gets all commands in turn, workers side by side, which saves a
connection per VM. Overlays and VLANs are outside libvirt's part; they are created and removed separately.
"""

from __future__ import annotations

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shlex import join
from typing import IO, cast
from xml.etree import ElementTree as ET

from bench.one_ssh import ssh_options
from bench.samples import BenchError, Facts
from bench.work import Work
from core.inventory import Inventory
from core.names import BRIDGE, VMFiles, process_name, tap_name
from lab.topology import SSH_USER
from models import VM

_END = "all-done"


class WithLibvirt:
    """The domains of a work: described beforehand, then created all at once, then destroyed."""

    def __init__(self, work: Work, inventory: Inventory, image: Path, folder: Path) -> None:
        self._inventory = inventory
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self._names: dict[str, list[str]] = {}
        for slice_ in work.slices(inventory, image):
            for vm in slice_.vms:
                name = process_name(slice_.slice_id, vm.vm_id)
                self._names.setdefault(vm.worker_ip, []).append(name)
                overlay = VMFiles(inventory.hypervisor.images_path, slice_.slice_id, vm.name).overlay
                text = ET.tostring(domain(vm, name, f"/home/{SSH_USER}/{overlay}", inventory.hypervisor.accel))
                (folder / f"{name}.xml").write_bytes(text)
        self._shells: dict[str, subprocess.Popen[str]] = {}

    def connect(self) -> Facts:
        """Start a `virsh` for every worker."""
        program = self._folder / "ssh"
        command = join(["ssh", *ssh_options(self._inventory.ssh)])
        program.write_text("\n".join(("#!/bin/sh", f'exec {command} "$@"', "")))
        program.chmod(0o755)
        ssh = self._inventory.ssh
        for worker in self._names:
            uri = f"qemu+ssh://{ssh.user}@{worker}:{ssh.port}/system?command={program}"
            self._shells[worker] = subprocess.Popen(
                ["virsh", "--quiet", "--connect", uri], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        return self._send({worker: ["list"] for worker in self._names})

    def deploy(self) -> Facts:
        """Create every domain; its VNC port is open when libvirt reports success."""
        return self._send(
            {worker: [f"create {self._folder}/{n}.xml" for n in names] for worker, names in self._names.items()}
        )

    def delete(self) -> Facts:
        """Destroy every domain; a transient one is then gone."""
        return self._send({worker: [f"destroy {name}" for name in names] for worker, names in self._names.items()})

    def _send(self, lines: dict[str, list[str]]) -> Facts:
        began = time.monotonic()
        with ThreadPoolExecutor(max_workers=len(lines)) as pool:
            took = dict(zip(lines, pool.map(self._one, lines.items()), strict=True))
        return {"stages": {"VMs": took}, "wall_times": {"VMs": time.monotonic() - began}}

    def _one(self, job: tuple[str, list[str]]) -> float:
        worker, lines = job
        began = time.monotonic()
        shell = self._shells[worker]
        source, sink = cast("IO[str]", shell.stdout), cast("IO[str]", shell.stdin)
        sink.write("".join(f"{line}\n" for line in (*lines, f"echo {_END}")))
        sink.flush()
        output = ""
        while not output.endswith(f"{_END}\n"):
            line = source.readline()
            output += line
            if not line or line.startswith("error:"):
                raise BenchError(f"virsh on {worker}: {output.strip()[-500:]}")
        return time.monotonic() - began


def domain(vm: VM, name: str, overlay: str, accel: str) -> ET.Element:
    """Return a machine like ours: one disk, its NICs in order, VNC, a serial console (formatdomain.html)."""
    root = ET.Element("domain", type="kvm" if accel == "kvm" else "qemu")
    ET.SubElement(root, "name").text = name
    ET.SubElement(root, "memory", unit="MiB").text = str(vm.ram_mib)
    ET.SubElement(root, "vcpu").text = str(vm.size.cores)
    system = ET.SubElement(root, "os")
    ET.SubElement(system, "type", arch="x86_64", machine="pc").text = "hvm"
    devices = ET.SubElement(root, "devices")
    ET.SubElement(devices, "emulator").text = "/usr/bin/qemu-system-x86_64"
    disk = ET.SubElement(devices, "disk", type="file", device="disk")
    ET.SubElement(disk, "driver", name="qemu", type="qcow2", discard="unmap")
    ET.SubElement(disk, "source", file=overlay)
    ET.SubElement(disk, "target", dev="vda", bus="virtio")
    for interface in vm.interfaces:
        if interface.vlan_id is None:
            continue
        nic = ET.SubElement(devices, "interface", type="bridge")
        ET.SubElement(nic, "mac", address=interface.mac or "")
        ET.SubElement(nic, "source", bridge=BRIDGE)
        ET.SubElement(nic, "virtualport", type="openvswitch")
        ET.SubElement(ET.SubElement(nic, "vlan"), "tag", id=str(interface.vlan_id))
        ET.SubElement(nic, "target", dev=tap_name(vm.vm_id, interface.name))
        ET.SubElement(nic, "model", type="virtio")
        ET.SubElement(nic, "rom", enabled="no")
    ET.SubElement(devices, "graphics", type="vnc", port=str(vm.vnc_port), autoport="no", listen="0.0.0.0")  # noqa: S104
    ET.SubElement(devices, "serial", type="pty")
    ET.SubElement(ET.SubElement(devices, "video"), "model", type="vga")
    ET.SubElement(devices, "rng", model="virtio").append(_random())
    ET.SubElement(devices, "memballoon", model="none")
    ET.SubElement(devices, "controller", type="usb", model="none")
    return root


def _random() -> ET.Element:
    source = ET.Element("backend", model="random")
    source.text = "/dev/urandom"
    return source
