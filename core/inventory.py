"""The operator's settings: hosts, SSH, hypervisor, internet, login and console.

They are read from `database.yaml` (docs/reference/database.md); each field has its documented default. Pure values.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.errors import INVALID, UNUSABLE
from core.formats import network_of, seconds_of

ADMIN_SLICES = 20
"""The number of slices that an admin may have at a time, unless `login: slices` is larger."""

INTERNET_VLAN = 400
"""VLAN of the shared way to the internet (docs/spec/networking.md); never given to a link."""


@dataclass(frozen=True)
class Timeouts:
    """Seconds to wait for a host; `ssh: timeouts` in `database.yaml`.

    `connect` bounds each stage of a connection, `silence` a host that is only read, `change` a host that is changed.
    """

    connect: float = 5.0
    silence: float = 10.0
    change: float = 60.0

    @property
    def read_only(self) -> float:
        """Return the bound of a read-only batch: `silence`, and at least twice `connect`."""
        return max(self.silence, 2 * self.connect)


@dataclass(frozen=True)
class SSHSettings:
    """The settings of the SSH connections.

    `host_keys`: `accept-new` remembers an unknown key, `strict` refuses it.
    """

    user: str = "ubuntu"
    port: int = 22
    key_file: str = "~/.ssh/id_ed25519"
    known_hosts: str = "~/.ssh/known_hosts"
    host_keys: str = "accept-new"
    timeouts: Timeouts = field(default_factory=Timeouts)


@dataclass(frozen=True)
class HypervisorSettings:
    """The settings of guests on a worker.

    `accel` is `auto`, `kvm` or `tcg`. `images_dir` is absolute or begins with `~/`, the SSH user's home.
    `cpu_overcommit` is the number of guest cores per core of a worker; memory and disk are never overcommitted.
    `spread` is the number of workers that a slice uses before it fills them; 0 means all.
    """

    accel: str = "auto"
    images_dir: str = "~/vm_images"
    cpu_overcommit: float = 16.0
    spread: int = 4

    @property
    def images_path(self) -> str:
        """Return `images_dir` for commands on the worker: absolute, or relative to the SSH user's home."""
        return self.images_dir.removeprefix("~/").rstrip("/")


@dataclass(frozen=True)
class InternetSettings:
    """The shared network for `eth0` with internet access, and the network node's uplink.

    `allow` lists networks of the site that guests may reach although they are special-purpose addresses.
    """

    vlan_id: int = INTERNET_VLAN
    cidr: str = "10.60.7.0/24"
    gateway: str = "10.60.7.1"
    uplink: str = "ens3"
    dns: str = "8.8.8.8"
    allow: tuple[str, ...] = ()

    @property
    def network(self) -> ipaddress.IPv4Network:
        """Return `cidr` as a network; it has at least a /24, so that .2 and .10 to .250 exist."""
        return network_of(self.cidr)


@dataclass(frozen=True)
class LoginSettings:
    """The bounds of users.

    `shipped_passwords`: `change` asks for a new password at the first login, `keep` does not (a lab). `slices`: the
    maximum number of slices of a student, unless the user has a value of their own. `sessions`: the maximum number of
    open sessions of an account. `idle`: the time without input after which a session ends, such as 30m.
    """

    shipped_passwords: str = "change"
    slices: int = 4
    sessions: int = 8
    idle: str = "30m"

    @property
    def idle_seconds(self) -> float:
        """Return `idle` in seconds."""
        return seconds_of(self.idle)


@dataclass(frozen=True)
class ConsoleSettings:
    """The settings of guests' consoles.

    `exits` are the key sequences that leave a console: `ctrl-]` is that control character, `~.` these two after Enter.
    """

    exits: tuple[str, ...] = ("ctrl-]", "~.")


@dataclass(frozen=True)
class ImportSettings:
    """How nodes of other tools become flavors: `kinds` names the flavor of a kind, `default` that of all others."""

    default: str = "cirros"
    kinds: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Worker:
    """A worker as discovery last measured it: its capacity, and the share promised to VMs. Memory and disk in GiB.

    `up` is False while the worker gets no VMs; `problem` says why, and may be set for a worker that is up. `forgotten`:
    the worker was written off and gets no VMs until the doctor has cleared it. `measured`: the time of the measurement
    in seconds since 1970; 0 in files without it.
    """

    max_cores: int = 0
    max_ram_gb: float = 0.0
    max_disk_gb: float = 0.0
    used_cores: int = 0
    used_ram_gb: float = 0.0
    used_disk_gb: float = 0.0
    up: bool = True
    problem: str = ""
    forgotten: bool = False
    measured: float = 0.0

    @property
    def state(self) -> str:
        """Return the state in two or three words."""
        if self.forgotten:
            return "written off"
        if self.up:
            return "up"
        return next((state for state in (UNUSABLE, INVALID) if self.problem.startswith(state)), "does not answer")


@dataclass(frozen=True)
class Inventory:
    """The hosts and the settings, as one value for making plans.

    `data_ports`: host -> its port of br-int that leads to the other hosts; needed where several ports could.
    """

    workers_list: tuple[str, ...] = ("10.0.10.1", "10.0.10.2")
    network_node: str = "10.0.10.3"
    ssh: SSHSettings = field(default_factory=SSHSettings)
    hypervisor: HypervisorSettings = field(default_factory=HypervisorSettings)
    internet: InternetSettings = field(default_factory=InternetSettings)
    login: LoginSettings = field(default_factory=LoginSettings)
    console: ConsoleSettings = field(default_factory=ConsoleSettings)
    data_ports: Mapping[str, str] = field(default_factory=dict)
    imports: ImportSettings = field(default_factory=ImportSettings)

    @property
    def in_use(self) -> dict[str, str | int]:
        """Return the settings that slices depend on, as the section `in_use` of the file has them."""
        return {
            "network_node": self.network_node,
            "ssh_user": self.ssh.user,
            "images_dir": self.hypervisor.images_dir,
            "vlan_id": self.internet.vlan_id,
            "cidr": self.internet.cidr,
            "gateway": self.internet.gateway,
            "uplink": self.internet.uplink,
        }

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return every host once, workers first."""
        return tuple(dict.fromkeys((*self.workers_list, self.network_node)))
