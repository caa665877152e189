"""What the operator owns and decides: hosts, how to reach them, how guests run, the way to the internet.

Read from `database.yaml` (DESIGN 6); each field has its documented default. Pure values: nothing here talks to a host.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.errors import INVALID, UNUSABLE

ADMIN_SLICES = 20
"""How many slices an admin may have at a time, where `login: slices` is not more."""

INTERNET_VLAN = 400
"""VLAN of the shared way to the internet (spec/networking.txt); never given to a link."""


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_of(duration: str) -> float:
    """Return a duration such as 90s, 30m or 2h in seconds; `ValueError` for another text."""
    number, unit = duration[:-1], duration[-1:]
    if unit not in _UNITS or not (number.isascii() and number.isdigit() and len(number) <= 6):
        raise ValueError(f"{duration!r} is no duration")
    return int(number) * _UNITS[unit]


@functools.lru_cache(256)
def network_of(cidr: str) -> ipaddress.IPv4Network:
    """`cidr` as a network; the same few come again and again, and reading one takes longer than asking it."""
    return ipaddress.IPv4Network(cidr)


@dataclass(frozen=True)
class Timeouts:
    """Seconds to wait for a host; `ssh: timeouts` in `database.yaml`.

    `connect` is for each stage of connecting; `silence` for a host that is only read; `change` for one that is changed.
    """

    connect: float = 5.0
    silence: float = 10.0
    change: float = 60.0

    @property
    def look(self) -> float:
        """All that a look may take: the silence that is endured, and never less than connecting takes."""
        return max(self.silence, 2 * self.connect)


@dataclass(frozen=True)
class SSHSettings:
    """How the manager reaches a host. `host_keys`: `accept-new` remembers an unknown key, `strict` refuses it."""

    user: str = "ubuntu"
    port: int = 22
    key_file: str = "~/.ssh/id_ed25519"
    known_hosts: str = "~/.ssh/known_hosts"
    host_keys: str = "accept-new"
    timeouts: Timeouts = field(default_factory=Timeouts)


@dataclass(frozen=True)
class HypervisorSettings:
    """How guests run on a worker.

    `accel` is `auto`, `kvm` or `tcg`. `images_dir` is absolute or begins with `~/`, the SSH user's home.
    `cpu_overcommit` is how many guest cores one core of a worker may promise; memory and disk are never overcommitted.
    `spread` is how many workers a slice uses before it fills those that it has; 0 is all.
    """

    accel: str = "auto"
    images_dir: str = "~/vm_images"
    cpu_overcommit: float = 16.0
    spread: int = 4

    @property
    def images_path(self) -> str:
        """`images_dir` as commands on the worker name it: absolute, or relative to the SSH user's home."""
        return self.images_dir.removeprefix("~/").rstrip("/")


@dataclass(frozen=True)
class InternetSettings:
    """The shared network for `eth0` with internet access, and the network node's interface that leads out.

    `allow`: networks of the site that guests reach all the same; the internet is what is not special-purpose.
    """

    vlan_id: int = INTERNET_VLAN
    cidr: str = "10.60.7.0/24"
    gateway: str = "10.60.7.1"
    uplink: str = "ens3"
    dns: str = "8.8.8.8"
    allow: tuple[str, ...] = ()

    @property
    def network(self) -> ipaddress.IPv4Network:
        """`cidr` as a network; at least a /24, so that .2 and .10 to .250 exist."""
        return network_of(self.cidr)


@dataclass(frozen=True)
class LoginSettings:
    """The bounds of users.

    `shipped_passwords`: `change` asks for a new one at the first login, `keep` does not (a lab). `slices`: how many a
    student may have at a time; a value of the user's own comes first. `sessions`: how many an account may have open.
    `idle`: the time without input after which a session ends, such as 30m.
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
    """How a guest's console is used.

    `exits` are the keys that lead out: `ctrl-]` is that control character, `~.` these two behind Enter.
    """

    exits: tuple[str, ...] = ("ctrl-]", "~.")


@dataclass
class Worker:
    """A worker as discovery last saw it: what it has, and what its VMs were promised. Memory and disk in GiB.

    `up` is False when it gets no VMs at present, and `problem` says why; one that is up can have a problem as well.
    `forgotten`: it was written off, and gets no VMs before the doctor has cleared it.
    `measured` is when that was seen, in seconds since 1970; 0 in files that do not say it.
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
        """The state in two or three words."""
        if self.forgotten:
            return "written off"
        if self.up:
            return "up"
        return next((what for what in (UNUSABLE, INVALID) if self.problem.startswith(what)), "does not answer")


@dataclass(frozen=True)
class Inventory:
    """The hosts and the settings, as one value that plans are made from.

    `data_ports`: host -> the port of br-int that leads to the other hosts, where it is not the only one that could.
    """

    workers_list: tuple[str, ...] = ("10.0.10.1", "10.0.10.2")
    network_node: str = "10.0.10.3"
    ssh: SSHSettings = field(default_factory=SSHSettings)
    hypervisor: HypervisorSettings = field(default_factory=HypervisorSettings)
    internet: InternetSettings = field(default_factory=InternetSettings)
    login: LoginSettings = field(default_factory=LoginSettings)
    console: ConsoleSettings = field(default_factory=ConsoleSettings)
    data_ports: Mapping[str, str] = field(default_factory=dict)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host once, workers first."""
        return tuple(dict.fromkeys((*self.workers_list, self.network_node)))
