"""A student at the manager: commands, a key of their own, and ssh as the menu's blocks for ssh_config set it up."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

from lab import Lab, paths
from lab.manager import make_key
from tests.support.lab.visitor import SeenVM, seen_vms
from tests.support.paths import ROOT

POLL_SECONDS = 2.0
CONNECT_SECONDS = 60.0


class Student:
    """The user `student` with the slice `lab`; files of theirs, ssh's among them, are in `home`."""

    def __init__(self, lab: Lab, home: Path) -> None:
        self.lab, self.home = lab, home
        self.key = home / "id_ed25519"
        make_key(self.key, "student")
        paths.caller().own(self.key, self.key.with_suffix(".pub"))

    def argv(self, *words: str) -> list[str]:
        program = [sys.executable, str(ROOT / "cli.py"), "--database", str(self.lab.database), "--as", "student"]
        return [*program, *words]

    def cli(self, *words: str, text: str | None = None, timeout: float = 120) -> str:
        """Return the output of a command that succeeds."""
        return self.lab.run(self.argv(*words), input=text, timeout=timeout).stdout

    def add_key(self) -> None:
        self.cli("keys", "add", "-", text=self.key.with_suffix(".pub").read_text())

    def create(self, slice_file: str) -> int:
        """Create the slice and return its id."""
        return int(self.cli("create", "-", text=slice_file).rpartition(" ")[2])

    def deploy(self, slice_file: str) -> None:
        """Create the slice, deploy it, and set up ssh for it."""
        self.create(slice_file)
        self.cli("deploy", "lab")
        self.set_up_ssh()

    def vms(self) -> dict[str, SeenVM]:
        """Return the VMs of the slice by name, as the menu shows them."""
        return seen_vms(self.cli("show", "lab"))

    def set_up_ssh(self) -> None:
        """Write ssh's files again: a VM with a new disk has a new host key."""
        (self.home / "config").write_text(self.cli("ssh-config", "lab"), encoding="utf-8")
        (self.home / "known_hosts").write_text(self.cli("ssh-config", "lab", "--known-hosts"), encoding="utf-8")

    def ssh_argv(self, vm: str, command: str) -> list[str]:
        """Return the words of `ssh lab-VM COMMAND`, with the student's files instead of those in ~/.ssh."""
        return ["ssh", *self._options, f"lab-{vm}", command]

    @property
    def _options(self) -> list[str]:
        options = [f"UserKnownHostsFile={self.home}/known_hosts", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes"]
        options += ["BatchMode=yes", "LogLevel=ERROR", f"ConnectTimeout={CONNECT_SECONDS:g}"]
        words = [word for option in options for word in ("-o", option)]
        return ["-F", str(self.home / "config"), "-i", str(self.key), *words]

    def ssh(self, vm: str, command: str) -> str:
        """Return the output of a command that succeeds in the VM."""
        return self.lab.run(self.ssh_argv(vm, command), timeout=2 * CONNECT_SECONDS).stdout

    def scp(self, vm: str, source: str, target: str) -> None:
        """Copy a file from the VM to the student's folder by scp."""
        self.lab.run(["scp", *self._options, f"lab-{vm}:{source}", str(self.home / target)], timeout=CONNECT_SECONDS)

    def wait_for_ssh(self, vm: str, seconds: float) -> None:
        """Wait until the VM lets the student in."""
        self.wait_for(vm, "true", "", seconds)

    def wait_for(self, vm: str, command: str, expected: str, seconds: float) -> str:
        """Return the output of a command in the VM as soon as it succeeds and contains the text."""
        deadline = time.monotonic() + seconds
        while True:
            done = self.lab.run(self.ssh_argv(vm, command), check=False, timeout=2 * CONNECT_SECONDS)
            if done.returncode == 0 and expected in done.stdout:
                return done.stdout
            said = (done.stdout + done.stderr)[-500:]
            assert time.monotonic() < deadline, f"{vm}: no {expected!r} from {command!r} in {seconds:g} s: {said}"
            time.sleep(POLL_SECONDS)

    def addresses_in(self, vm: str) -> dict[str, str]:
        """Return interface -> IPv4 address, as configured in the VM."""
        return dict(re.findall(r"(eth\d+) +inet ([\d.]+)/", self.ssh(vm, "ip -4 -o addr")))

    def delete_slice(self) -> None:
        self.lab.run(self.argv("delete", "lab", "--yes"), check=False, timeout=CONNECT_SECONDS)
