"""A whole lab: its hosts, its switch and its managers, started, entered and removed together."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import daemons, guest, manager, paths, postgres, switch, topology
from lab.entry import LabEntry
from lab.errors import LabError, wait_until
from lab.node import Node
from lab.topology import RELAY, SWITCH, LabHost, Role

HOST_NAMESPACES = ("--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child")
HOLD_SECONDS = 10.0
BOOT_SECONDS = 60.0


@dataclass(frozen=True)
class NodeStatus:
    """A line of `status`; the switch has no address."""

    name: str
    address: str
    pid: int | None
    ready: bool


class Lab(LabEntry):
    """One lab by name; creating the object starts nothing.

    Its flavor `debian` is there where the Debian guest has been built, unless `has_debian` is false. `underlay`: what
    the data network of a new lab carries, VLANs (`trunk`) or IP packets only (`tunnel`).
    The methods that use namespaces and mounts need root.
    """

    def __init__(
        self,
        name: str = "default",
        workers: int = 2,
        report: Callable[[str], None] = lambda _line: None,
        *,
        managers: int = 1,
        has_debian: bool = True,
        underlay: str = topology.TRUNK,
    ) -> None:
        super().__init__(paths.lab_folder(name))
        self._wanted_underlay = underlay
        self.workers = workers
        self.managers = managers
        self.report = report
        self.has_debian = has_debian
        self.files = manager.ManagerFiles(self.folder)

    @property
    def database(self) -> Path:
        """Return the database.yaml that describes this lab."""
        return self.files.database

    @property
    def key_file(self) -> Path:
        """Return the manager's private key; every worker and the network node accept its public half."""
        return self.files.key

    @property
    def image(self) -> Path:
        """Return the guest image; build it first if the present recipe has none."""
        return guest.image(self.report)

    @property
    def hosts(self) -> list[LabHost]:
        """Return the requested hosts and those left from an `up` with more workers or managers."""
        counts = {"worker": self.workers, "manager": self.managers}
        workers, managers = (max(n, len(list(self.nodes_folder.glob(f"{name}*")))) for name, n in counts.items())
        return topology.hosts(workers, managers)

    @property
    def underlay(self) -> str:
        """Return what the data network carries; that of a lab never changes."""
        kept = self.folder / "underlay"
        return kept.read_text() if kept.exists() else self._wanted_underlay

    def status(self) -> list[NodeStatus]:
        """Return the status of every part of the lab, the switch first."""
        parts = [(SWITCH, ""), *((host.name, host.address) for host in self.hosts)]
        nodes = [(self.node(name), address) for name, address in parts]
        return [NodeStatus(node.name, address, node.pid, node.ready) for node, address in nodes]

    def up(self) -> None:
        """Start every part that is down; running hosts stay untouched, whatever state a crash left the rest in."""
        caller, hosts = paths.caller(), self.hosts
        if any(host.role is Role.DATABASE for host in hosts):
            postgres.require_installed()
        with self._locked():
            image = self.image
            accel = guest.accel(image, self.report)
            self.folder.mkdir(exist_ok=True)
            # The product writes its database here, with its lock and its previous version.
            caller.own(self.folder)
            (self.folder / "underlay").write_text(self.underlay)
            self.nodes_folder.mkdir(mode=0o700, exist_ok=True)
            self.files.make_key(caller)
            self._boot(hosts)
            self._make_homes(caller)
            debian = guest.debian_if_built() if self.has_debian else None
            self.files.write_database(caller, hosts, image, accel, debian, self.underlay)

    def down(self) -> None:
        """End every process of the lab and delete its files; a lab that does not exist is no error."""
        with self._locked():
            nodes = [Node(folder) for folder in self.nodes_folder.glob("*")]
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda node: node.kill(gently=True), nodes))
            if self.folder.exists():
                shutil.rmtree(self.folder)

    def stop_host(self, name: str) -> None:
        """Power a host off at once; all its processes have ended when this returns."""
        self.node(self._machine(name).name).kill()

    def start_host(self, name: str) -> None:
        """Boot a host again with its present disk; a running host stays untouched."""
        with self._locked():
            self._boot([self._machine(name)])

    def cut(self, name: str) -> None:
        """Set the host's management link down at the switch: no packet is answered, not even with a refusal."""
        switch.set_management_link(self.node(SWITCH), self._host(name), "down")

    def reconnect(self, name: str) -> None:
        """Set the link up again."""
        switch.set_management_link(self.node(SWITCH), self._host(name), "up")

    def set_round_trip(self, milliseconds: float) -> None:
        """Set the round trip time between the manager and every host; 0 removes it. Bandwidth stays unlimited."""
        bridges, relay = self.node(SWITCH), self.node(RELAY)
        switch.shorten(bridges, relay)
        if milliseconds:
            switch.lengthen(bridges, relay, milliseconds / 2000)
            _wait(relay, lambda: relay.ready, HOLD_SECONDS, "starts")

    def _boot(self, hosts: list[LabHost]) -> None:
        """Boot the hosts that are down; try again when a part that had just been killed still seemed to run."""
        alive = [node for node in map(self.node, [SWITCH, *(host.name for host in hosts)]) if node.pid]
        try:
            self._boot_once(hosts)
        except LabError:
            if all(node.pid for node in alive):
                raise
            self._boot(hosts)

    def _boot_once(self, hosts: list[LabHost]) -> None:
        """Start the hosts that are down, all at once, and plug all of them in."""
        bridges = self.node(SWITCH)
        if bridges.pid is None:
            switch.start(bridges)
        dead = [host for host in hosts if self.node(host.name).pid is None]
        for host in dead:
            self.report(f"starting {host.name} ({host.address})")
            self._start(host)
        _wait(bridges, lambda: bridges.ready, HOLD_SECONDS, "starts")
        for host in hosts:
            self._plug_in(host, is_new=host in dead)
        for host in hosts:
            self._wait_for_boot(self.node(host.name))

    def _start(self, host: LabHost) -> None:
        node = self.node(host.name)
        if host.role is Role.MANAGER:
            node.start(["--net"], ["lab.hold", str(node.folder)])
            return
        host_key = node.folder / "ssh_host_ed25519_key"
        if host.is_node and not host_key.exists():
            node.folder.mkdir(exist_ok=True)
            manager.make_key(host_key, host.name)
        node.start(HOST_NAMESPACES, ["lab.init", str(node.folder), host.name, self.underlay])

    def _plug_in(self, host: LabHost, *, is_new: bool) -> None:
        node, bridges = self.node(host.name), self.node(SWITCH)
        if is_new:
            _wait(node, lambda: node.pid is not None, HOLD_SECONDS, "starts")
        if is_new or not switch.is_plugged(bridges, host):
            switch.plug(bridges, host, node, self.underlay)
            if node.ready and host.is_node:
                for command in daemons.renew_data_port(self.underlay):
                    self.exec(host.name, command)
        switch.set_management_link(bridges, host, "up")

    def _wait_for_boot(self, node: Node) -> None:
        _wait(node, lambda: node.ready or node.pid is None, BOOT_SECONDS, "comes up")
        if not node.ready:
            raise LabError(f"{node.name} ended while it booted, after it said:\n{node.last_words()}")

    def _make_homes(self, caller: paths.Caller) -> None:
        """Make a home for each manager where there are several: its files are its own."""
        if self.database_url:
            for number, _ in enumerate((host for host in self.hosts if host.role is Role.MANAGER), start=1):
                self.home(number).mkdir(mode=0o700, parents=True, exist_ok=True)
                caller.own(self.home(number), self.home(number).parent)

    def _machine(self, name: str) -> LabHost:
        """Return a host that has processes of its own, which a manager has not."""
        host = self._host(name)
        if host.role is Role.MANAGER:
            raise LabError(f"{name} is a network only, which cannot be powered off")
        return host

    def _host(self, name: str) -> LabHost:
        for host in self.hosts:
            if host.name == name:
                return host
        raise LabError(f"no host {name} in this lab")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of all changes; it is on the folder of all labs, because a lab's own folder comes and goes."""
        if os.geteuid() != 0:
            raise LabError("namespaces and mounts need root")
        with paths.locked(paths.lab_dir()):
            yield


def _wait(node: Node, condition: Callable[[], bool], seconds: float, what: str) -> None:
    try:
        wait_until(condition, seconds, f"{node.name} {what}")
    except LabError as error:
        raise LabError(f"{error}; it said:\n{node.last_words()}") from error
