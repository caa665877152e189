"""The two that are measured: this project, and the documented design with one `ssh` process per command."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any, Protocol

from bench.documented import DocumentedDesign, Line
from bench.ring import FLAVOR, OWNER, Ring, flavor
from database import Database
from inventory import SSHSettings
from orchestrator import OrchestratorAPI, Result
from remote.events import Event, StageStarted, StepDone
from remote.ssh import Connections

COMMAND_SECONDS = 60.0

Facts = dict[str, Any]
"""What a contender has to say about a phase besides its duration."""


class Contender(Protocol):
    """Brings one ring through its life; each phase is run once, in this order."""

    def design(self) -> Facts:
        """The ring exists as a design, its VMs have their overlays; nothing runs."""

    def deploy(self) -> Facts:
        """The ring runs."""

    def delete(self) -> Facts:
        """Nothing is left of it."""


class Ours:
    """This project, through its use-cases; connections are made when they are first needed, as in the menu."""

    def __init__(self, ring: Ring, database: Path, image: Path) -> None:
        self._ring = ring
        store = Database(database)
        with store.transaction() as state:
            state.flavors[FLAVOR] = flavor(image)
            state.users[OWNER].quota_vms = ring.vms
        self._inventory = store.load().inventory
        self._connections = Connections(self._inventory.ssh)
        self._api = OrchestratorAPI(store, self._connections.host)
        self._slice_id = 0

    def design(self) -> Facts:
        """Discovery, an empty slice, its VMs with their overlays, its links."""
        _value(self._api.discover_workers())
        self._slice_id = _value(self._api.create_slice(OWNER, "ring")).slice_id
        ids = [
            _value(self._api.add_vm_to_slice(OWNER, self._slice_id, name, FLAVOR, 2, internet_enabled=True)).vm_id
            for name in self._ring.names
        ]
        for first, eth_a, second, eth_b in self._ring.links:
            _value(self._api.create_link(OWNER, self._slice_id, ids[first], eth_a, ids[second], eth_b))
        return {}

    def deploy(self) -> Facts:
        """`deploy_slice`, from the preflight to what was read back."""
        before, clock = self._round_trips(), StageClock()
        _value(self._api.deploy_slice(OWNER, self._slice_id, clock))
        return {"round_trips": _since(before, self._round_trips()), "stages": clock.seconds}

    def delete(self) -> Facts:
        """`delete_slice`."""
        before, clock = self._round_trips(), StageClock()
        _value(self._api.delete_slice(OWNER, self._slice_id, clock))
        return {"round_trips": _since(before, self._round_trips()), "stages": clock.seconds}

    def _round_trips(self) -> dict[str, int]:
        return {address: self._connections.host(address).round_trips for address in self._inventory.hosts}


class OneSSHPerCommand:
    """The documented design, in sequence, by OpenSSH's client with its default settings."""

    def __init__(self, ring: Ring, database: Path, image: Path) -> None:
        inventory = Database(database).load().inventory
        self._ssh = inventory.ssh
        self._lines = DocumentedDesign(ring.slice(inventory, image), inventory)

    def design(self) -> Facts:
        """An overlay for each VM."""
        return self._run(self._lines.design())

    def deploy(self) -> Facts:
        """VLANs and VMs."""
        return self._run(self._lines.deploy())

    def delete(self) -> Facts:
        """VMs, VLANs and overlays go."""
        return self._run(self._lines.delete())

    def _run(self, lines: list[Line]) -> Facts:
        for line in lines:
            done = subprocess.run(
                ssh_argv(self._ssh, line), capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
            if done.returncode:
                raise RuntimeError(f"{line.host}: {line.text}: {done.stderr.strip() or done.returncode}")
        return {"commands": len(lines)}


class StageClock:
    """A listener that notes, for each stage and host, after how many seconds its last step was done."""

    def __init__(self) -> None:
        self.seconds: dict[str, dict[str, float]] = {}
        self._began = 0.0

    def __call__(self, event: Event) -> None:
        """Note what `event` says of the time."""
        if isinstance(event, StageStarted):
            self._began = time.monotonic()
        elif isinstance(event, StepDone):
            self.seconds.setdefault(event.stage.title, {})[event.step.host] = time.monotonic() - self._began


def ssh_argv(settings: SSHSettings, line: Line) -> list[str]:
    """The `ssh` process for one command line: no settings but whose key, which known_hosts and no questions."""
    options = [f"UserKnownHostsFile={settings.known_hosts}", "IdentitiesOnly=yes", "BatchMode=yes"]
    options.append("StrictHostKeyChecking=accept-new")
    words = [word for option in options for word in ("-o", option)]
    target = ["-p", str(settings.port), "-i", settings.key_file, f"{settings.user}@{line.host}"]
    return ["ssh", "-F", "none", *words, *target, line.text]


def of(name: str, ring: Ring, database: Path, image: Path) -> Contender:
    """The contender of that name, ready to begin."""
    makers: dict[str, type[Ours | OneSSHPerCommand]] = {"ours": Ours, "ssh": OneSSHPerCommand}
    return makers[name](ring, database, image)


def _value(answer: Result[Any]) -> Any:
    if not answer[0]:
        raise RuntimeError(answer[1])
    return answer[1]


def _since(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {address: after[address] - count for address, count in before.items()}
