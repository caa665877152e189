"""A slice of two VMs on the lab whose power and disks are changed by commands."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from database import open_store
from lab import Lab
from models import VM, Slice
from storage.location import Location
from tests.support.lab.visitor import HOSTS, IMAGES, Guest, Menu, empty_database
from tests.support.paths import ROOT

PATTERN, OTHER = 171, 205
"""Bytes that tests write into disks."""

_PLACE = "500m 64k"
"""A place of the disk behind the base image, where the guest has nothing."""


class PowerDesk:
    """A database of its own with the slice `lab` of student, deployed: a and b, linked, on two workers."""

    def __init__(self, lab: Lab, home: Path) -> None:
        self.lab = lab
        self._guests: dict[str, Guest] = {}
        self.own = home / "own"
        self.database = empty_database(lab, home / "database.yaml")
        self.location: Location = self.database
        menu = Menu(lab, "student", self.database)
        self.slice_id = menu.create_pair("lab")
        menu.close()
        self.run("deploy", "lab")

    def run(self, *words: str) -> tuple[str, float]:
        """Return the output of a command that succeeds, and its seconds."""
        began = time.monotonic()
        status, output, errors = self.ended(*words)
        assert status == 0, errors
        return output, time.monotonic() - began

    def ended(self, *words: str) -> tuple[int, str, str]:
        """Return status, output and errors of a command."""
        settings = ["env", f"HOME={self.own}"]
        argv = [*settings, sys.executable, str(ROOT / "cli.py"), "--database", str(self.location), *words]
        process = self.lab.popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        output, errors = process.communicate(timeout=240)
        return process.returncode, output, errors

    @property
    def slice(self) -> Slice:
        return open_store(self.location).load().slices[self.slice_id]

    def vm(self, name: str) -> VM:
        return next(vm for vm in self.slice.vms if vm.name == name)

    def guest(self, name: str) -> Guest:
        """Return a shell in a guest; the one before it is closed, because a console has one client."""
        if before := self._guests.get(name):
            before.console.close()
        menu = Menu(self.lab, "student", self.database)
        seen = menu.topology(self.slice_id)[name]
        menu.close()
        self._guests[name] = Guest(self.lab, self.slice_id, seen)
        return self._guests[name]

    def on_worker(self, vm: VM, *argv: str) -> str:
        return self.lab.exec(HOSTS[vm.worker_ip], list(argv)).stdout

    def disk(self, vm: VM) -> str:
        return f"{IMAGES}/slice-{self.slice_id}/{vm.name}_img.qcow2"

    def processes(self, vm: VM) -> list[str]:
        """Return the pids of QEMUs of a VM, found by their command lines."""
        mark = f"^qemu-system-x86_64 -name slice{self.slice_id}-vm{vm.vm_id} "
        return self.on_worker(vm, "sh", "-c", 'pgrep -f -- "$0" || :', mark).split()

    def write(self, vm: VM, pattern: int) -> None:
        """Write a pattern to the disk of a VM that is stopped."""
        self.on_worker(vm, "qemu-io", "-c", f"write -P {pattern} {_PLACE}", self.disk(vm))

    def has(self, vm: VM, pattern: int) -> bool:
        """Return whether the disk of a VM has the pattern."""
        read = f"qemu-io -U -r -c 'read -P {pattern} {_PLACE}' {self.disk(vm)} 2>&1 || :"
        return "verification failed" not in self.on_worker(vm, "sh", "-c", read)
