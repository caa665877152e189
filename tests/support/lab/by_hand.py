"""A guest started by hand, with the image and the seed of a VM: the measure for how soon the VM answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import Lab
from tests.support.lab.visitor import IMAGES, SeenVM

LOOPBACK = "127.0.0.1"
PORT = 2222
FOLDER = "/tmp/by-hand"
PREPARE = f"mkdir {FOLDER} && cp $1 {FOLDER}/seed && qemu-img create -q -f qcow2 -F qcow2 -b $2 {FOLDER}/disk 2G"
END = 'kill "$(cat "$1/pid")"; rm -r "$1"'
BANNER = """\
import socket, sys, time
address, end = (sys.argv[1], int(sys.argv[2])), time.monotonic() + float(sys.argv[3])
while time.monotonic() < end:
    try:
        with socket.create_connection(address, timeout=2) as connection:
            if connection.recv(4) == b"SSH-":
                sys.exit(0)
    except OSError:
        pass
    time.sleep(0.5)
sys.exit(1)
"""


def seconds_to_ssh(lab: Lab, host: str, address: str, port: int, deadline: float) -> float:
    """Return after how many seconds sshd says its first words at an address, as a host of the lab sees it."""
    began = time.monotonic()
    lab.exec(host, ["python3", "-c", BANNER, address, str(port), f"{deadline:g}"], timeout=deadline + 60)
    return time.monotonic() - began


@contextmanager
def started_by_hand(lab: Lab, slice_id: int, vm: SeenVM, image: Path) -> Iterator[None]:
    """Run QEMU on the VM's worker with a network of its own, where no packet leaves the process but to PORT."""
    seed = f"{IMAGES}/slice-{slice_id}/{vm.name}.seed"
    lab.exec(vm.worker, ["sh", "-c", PREPARE, "sh", seed, f"{IMAGES}/{image.name}"])
    argv = ["qemu-system-x86_64", "-nodefaults", "-machine", "pc", "-accel", "tcg", "-cpu", "qemu64", "-m", "256"]
    argv += ["-drive", f"file={FOLDER}/disk,format=qcow2,if=virtio", "-display", "none", "-vga", "std"]
    argv += ["-drive", f"file={FOLDER}/seed,format=raw,if=virtio,readonly=on", "-device", "virtio-rng-pci"]
    argv += ["-netdev", f"user,id=eth0,restrict=on,hostfwd=tcp:{LOOPBACK}:{PORT}-:22"]
    for number, name in enumerate(name for name in vm.macs if name != "eth0"):  # cloud-init fails where one is missing
        argv += ["-netdev", f"hubport,id={name},hubid={number}"]
    for name, mac in vm.macs.items():
        argv += ["-device", f"virtio-net-pci,netdev={name},mac={mac}"]
    argv += ["-pidfile", f"{FOLDER}/pid", "-daemonize"]
    lab.exec(vm.worker, argv)
    try:
        yield
    finally:
        lab.exec(vm.worker, ["sh", "-c", END, "sh", FOLDER])
