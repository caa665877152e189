"""The documented design as a contender: OpenSSH's client with its default settings, one process per command in turn."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench.documented import CommandLine, DocumentedDesign
from bench.samples import BenchError, Facts
from bench.work import Work
from core.inventory import SSHSettings
from database import Database

COMMAND_SECONDS = 60.0


class OneSSHPerCommand:
    """One slice, because the pages describe no slices that share the internet VLAN."""

    def __init__(self, work: Work, database: Path, image: Path) -> None:
        inventory = Database(database).load().inventory
        (slice_,) = work.slices(inventory, image)
        self._ssh = inventory.ssh
        self._lines = DocumentedDesign(slice_, inventory)

    def design(self) -> Facts:
        """Create an overlay for each VM."""
        return self._run(self._lines.design())

    def deploy(self) -> Facts:
        """Create VLANs and VMs."""
        return self._run(self._lines.deploy())

    def delete(self) -> Facts:
        """Remove VMs, VLANs and overlays."""
        return self._run(self._lines.delete())

    def _run(self, lines: list[CommandLine]) -> Facts:
        for line in lines:
            done = subprocess.run(
                ssh_argv(self._ssh, line.host, line.text), capture_output=True, text=True, timeout=COMMAND_SECONDS,
                check=False, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            if done.returncode:
                raise BenchError(f"{line.host}: {line.text}: {done.stderr.strip() or done.returncode}")
        return {"commands": len(lines)}


def ssh_options(settings: SSHSettings) -> list[str]:
    """Return the options for key, known_hosts and no questions; no other setting of the machine is read."""
    options = [f"UserKnownHostsFile={settings.known_hosts}", "IdentitiesOnly=yes", "BatchMode=yes"]
    options.append("StrictHostKeyChecking=accept-new")
    return ["-F", "none", *(word for option in options for word in ("-o", option)), "-i", settings.key_file]


def ssh_argv(settings: SSHSettings, host: str, text: str) -> list[str]:
    """Return the argv of `ssh` for one command line."""
    return ["ssh", *ssh_options(settings), "-p", str(settings.port), f"{settings.user}@{host}", text]
