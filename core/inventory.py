"""The operator's settings: hosts, SSH, hypervisor, internet, login and console.

A class is a section of `database.yaml` (docs/reference/database.md), and one line of it is one key (core/records.py).
Pure values.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import Any

from core import formats
from core.errors import INVALID, UNUSABLE
from core.formats import network_of, seconds_of
from core.impairments import BUILT_IN, Profile
from core.names import BRIDGE, DHCP_LAST_HOST, MAIN
from core.records import Recorded, entries, key, records_by_name, section, sequence, value
from core.rule import FLAG, list_of, number, one_of, or_nothing, some_of, whole
from core.underlay import MAIN_KEY, TRUNK, TUNNEL, Tunnel

ADMIN_SLICES = 20
"""The number of slices that an admin may have at a time, unless `login: slices` is larger."""

MAX_SLICES = 100
"""The highest limit of slices for a user: each slice holds one of the pools of VLANs."""

MAX_SESSIONS = 100
"""The highest limit of sessions for an account."""

MAX_ALLOWED = 32
"""The most entries of `internet: allow`: each packet of a guest is compared with all of them."""

INTERNET_VLAN = 400
"""VLAN of the shared way to the internet (docs/spec/networking.md); never given to a link."""

CORES = whole(0, 1_000_000)
GIB = number(0, 1_000_000_000)
SECONDS_SINCE_1970 = number(0, 1_000_000_000_000)


@value
class Timeouts(Recorded):
    """Seconds to wait for a host; `ssh: timeouts` in `database.yaml`.

    `connect` bounds each stage of a connection, `silence` a host that is only read, `change` a host that is changed.
    """

    connect: float = key(number(1, 120), default=5.0, brief=True)
    silence: float = key(number(2, 600), default=10.0, brief=True)
    change: float = key(number(10, 3600), default=60.0, brief=True)

    @property
    def read_only(self) -> float:
        """Return the bound of a read-only batch: `silence`, and at least twice `connect`."""
        return max(self.silence, 2 * self.connect)


@value
class SSHSettings(Recorded):
    """The settings of the SSH connections.

    `host_keys`: `accept-new` remembers an unknown key, `strict` refuses it.
    """

    user: str = key(formats.SSH_USER, default="ubuntu")
    port: int = key(whole(1, 65_535), default=22)
    key_file: str = key(formats.LOCAL_PATH, default="~/.ssh/id_ed25519")
    known_hosts: str = key(formats.LOCAL_PATH, default="~/.ssh/known_hosts")
    host_keys: str = key(one_of("accept-new", "strict"), default="accept-new")
    timeouts: Timeouts = section(Timeouts, brief=True)


@value
class HypervisorSettings(Recorded):
    """The settings of guests on a worker.

    `accel` is `auto`, `kvm` or `tcg`. `images_dir` is absolute or begins with `~/`, the SSH user's home.
    `cpu_overcommit` is the number of guest cores per core of a worker; memory and disk are never overcommitted.
    `spread` is the number of workers that a slice uses before it fills them; 0 means all.
    """

    accel: str = key(one_of("auto", "kvm", "tcg"), default="auto")
    images_dir: str = key(formats.IMAGES_DIR, default="~/vm_images")
    cpu_overcommit: float = key(number(0.1, 1000), default=16.0)
    spread: int = key(whole(0, 10_000), default=4)

    @property
    def images_path(self) -> str:
        """Return `images_dir` for commands on the worker: absolute, or relative to the SSH user's home."""
        return self.images_dir.removeprefix("~/").rstrip("/")


@value
class InternetSettings(Recorded):
    """The shared network for `eth0` with internet access, and the network node's uplink.

    `allow` lists networks of the site that guests may reach although they are special-purpose addresses.
    """

    vlan_id: int = key(formats.VLAN, default=INTERNET_VLAN)
    cidr: str = key(formats.SUBNET, default="10.60.7.0/24")
    gateway: str = key(formats.ADDRESS, default="10.60.7.1")
    uplink: str = key(formats.UPLINK, default="ens3")
    dns: str = key(formats.ADDRESS, default="8.8.8.8")
    allow: tuple[str, ...] = sequence(list_of(formats.DESTINATION, MAX_ALLOWED), default=(), brief=True)

    @property
    def network(self) -> ipaddress.IPv4Network:
        """Return `cidr` as a network; it has at least a /24, so that .2 and .10 to .250 exist."""
        return network_of(self.cidr)

    @property
    def last_host(self) -> int:
        """Return the number of the last host that a guest can be: 250 in a /24; the next five are never given."""
        return self.network.num_addresses - (256 - DHCP_LAST_HOST)


@value
class LoginSettings(Recorded):
    """The bounds of users.

    `shipped_passwords`: `change` asks for a new password at the first login, `keep` does not (a lab). `slices`: the
    maximum number of slices of a student, unless the user has a value of their own. `sessions`: the maximum number of
    open sessions of an account. `idle`: the time without input after which a session ends, such as 30m. `commands`:
    whether a restricted session carries out commands. `address`: the manager as users write it after `ssh`.
    """

    shipped_passwords: str = key(one_of("change", "keep"), default="change")
    slices: int = key(whole(0, MAX_SLICES), default=4)
    sessions: int = key(whole(1, MAX_SESSIONS), default=8)
    idle: str = key(formats.IDLE, default="30m")
    commands: bool = key(FLAG, default=True, brief=True)
    address: str | None = key(or_nothing(formats.MANAGER), default=None, brief=True)

    @property
    def idle_seconds(self) -> float:
        """Return `idle` in seconds."""
        return seconds_of(self.idle)


@value
class ConsoleSettings(Recorded):
    """The settings of guests' consoles.

    `exits` are the key sequences that leave a console: `ctrl-]` is that control character, `~.` these two after Enter.
    """

    exits: tuple[str, ...] = sequence(some_of(formats.CONSOLE_EXIT, 1, 4), default=("ctrl-]", "~."))


@value
class ImportSettings(Recorded):
    """How nodes of other tools become flavors: `kinds` names the flavor of a kind, `default` that of all others."""

    default: str = key(formats.FLAVOR_NAME, default="cirros")
    kinds: Mapping[str, str] = entries(formats.IMPORT_KIND, formats.FLAVOR_NAME)


@value
class ImageSettings(Recorded):
    """The manager's folder of base images, and the size of the largest file in it, in GiB, once unpacked."""

    folder: str = key(formats.LOCAL_FOLDER, default="/tmp/vm_images")
    largest_gb: float = key(number(0.001, 16_384), default=64.0)


@dataclass
class Worker(Recorded):
    """A worker as discovery last measured it: its capacity, and the share promised to VMs. Memory and disk in GiB.

    `up` is False while the worker gets no VMs; `problem` says why, and may be set for a worker that is up. `forgotten`:
    the worker was written off and gets no VMs until the doctor has cleared it. `measured`: the time of the measurement
    in seconds since 1970; 0 in files without it.
    """

    max_cores: int = key(CORES, default=0)
    max_ram_gb: float = key(GIB, default=0.0)
    max_disk_gb: float = key(GIB, default=0.0)
    used_cores: int = key(CORES, default=0)
    used_ram_gb: float = key(GIB, default=0.0)
    used_disk_gb: float = key(GIB, default=0.0)
    up: bool = key(FLAG, default=True)
    problem: str = key(formats.REMARK, default="")
    forgotten: bool = key(FLAG, default=False)
    measured: float = key(SECONDS_SINCE_1970, default=0.0)

    @property
    def state(self) -> str:
        """Return the state in two or three words."""
        if self.forgotten:
            return "written off"
        if self.up:
            return "up"
        return next((state for state in (UNUSABLE, INVALID) if self.problem.startswith(state)), "does not answer")


IN_USE = {
    "network_node": "network_node",
    "ssh_user": "ssh.user",
    "images_dir": "hypervisor.images_dir",
    **{name: f"internet.{name}" for name in ("vlan_id", "cidr", "gateway", "uplink")},
    "underlay": "underlay",
}
"""The keys of the section `in_use`, and the settings that they keep: slices depend on these."""

EARLIER: Mapping[str, str] = {"underlay": TRUNK}
"""The settings of slices where the section says nothing: earlier versions had no other."""


@value
class Realm(Recorded):
    """A realm beside that of the keys at the top of the file, whose keys mean the same there.

    `bridge` is the bridge of its hosts: a worker of two realms has one for each. `tunnel_key` marks the packets of its
    tunnel, where it has one.
    """

    network_node: str = key(formats.ADDRESS)
    workers_list: tuple[str, ...] = sequence(list_of(formats.ADDRESS))
    bridge: str = key(formats.BRIDGE, default=BRIDGE)
    internet: InternetSettings = section(InternetSettings)
    data_ports: Mapping[str, str] = entries(formats.ADDRESS, formats.DATA_PORT)
    underlay: str = key(one_of(TRUNK, TUNNEL), default=TRUNK)
    data_addresses: Mapping[str, str] = entries(formats.ADDRESS, formats.ADDRESS)
    tunnel_key: int = key(whole(2, 999), default=2)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return every host of the realm once, workers first."""
        return tuple(dict.fromkeys((*self.workers_list, self.network_node)))


IN_USE_OF_REALM = {
    name: setting
    for name, setting in IN_USE.items()
    if setting.partition(".")[0] in {"network_node", "internet", "underlay"}
} | {"bridge": "bridge", "tunnel_key": "tunnel_key"}
"""The same of a realm."""


@value
class Inventory(Recorded):
    """The hosts of a realm and the settings, as one value for making plans.

    `data_ports`: host -> its port of br-int that leads to the other hosts; needed where several ports could.
    `underlay`: `trunk` means that these ports carry the VLANs, `tunnel` that a tunnel of ours does. `data_addresses`:
    host -> the address of its end of the tunnel, where it is not the host's own.
    `files_dir`: the manager's folder of slice files that users may choose from. `realms`: the others.
    `unlisted`: by realm, workers that its `workers_list` names no more and that have VMs. No file has it; "" is the
    realm of this inventory.
    """

    workers_list: tuple[str, ...] = sequence(list_of(formats.ADDRESS), default=("10.0.10.1", "10.0.10.2"))
    network_node: str = key(formats.ADDRESS, default="10.0.10.3")
    ssh: SSHSettings = section(SSHSettings)
    hypervisor: HypervisorSettings = section(HypervisorSettings)
    internet: InternetSettings = section(InternetSettings)
    login: LoginSettings = section(LoginSettings)
    console: ConsoleSettings = section(ConsoleSettings)
    data_ports: Mapping[str, str] = entries(formats.ADDRESS, formats.DATA_PORT)
    underlay: str = key(one_of(TRUNK, TUNNEL), default=TRUNK)
    data_addresses: Mapping[str, str] = entries(formats.ADDRESS, formats.ADDRESS)
    images: ImageSettings = section(ImageSettings)
    files_dir: str | None = key(or_nothing(formats.LOCAL_FOLDER), default=None)
    profiles: Mapping[str, Profile] = records_by_name(formats.PROFILE_NAME, Profile)
    realms: Mapping[str, Realm] = records_by_name(formats.REALM, Realm)
    unlisted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def bridge(self) -> str:
        """Return the bridge of each host of the realm."""
        return BRIDGE

    @property
    def all_profiles(self) -> dict[str, Profile]:
        """Return the profiles of links by name: the file adds to the built-in ones, and replaces some."""
        return {**BUILT_IN, **self.profiles}

    @property
    def in_use(self) -> dict[str, Any]:
        """Return the settings that slices depend on, as the section `in_use` of the file has them."""
        all_of_it = {name: attrgetter(setting)(self) for name, setting in IN_USE.items()}
        own = {name: value for name, value in all_of_it.items() if value != EARLIER.get(name)}
        realms = {
            name: {key: attrgetter(setting)(realm) for key, setting in IN_USE_OF_REALM.items()}
            for name, realm in self.realms.items()
        }
        return own | ({"realms": realms} if realms else {})

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return every host of the realm once, workers first."""
        return tuple(dict.fromkeys((*self.workers_list, self.network_node)))

    @property
    def workers(self) -> tuple[str, ...]:
        """Return every worker that may have VMs of the realm, also those that are listed no more."""
        return (*self.workers_list, *self.unlisted.get("", ()))

    @property
    def tunnel(self) -> Tunnel | None:
        """Return the tunnel that carries the VLANs between the hosts, or None where ports of the operator do."""
        hosts = dict.fromkeys((*self.hosts, *self.workers))
        return Tunnel.between(hosts, self.data_addresses) if self.underlay == TUNNEL else None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return all addresses of the hosts by which the cloud reaches them, each once."""
        return tuple(dict.fromkeys((*self.hosts, *self.data_addresses.values())))

    @property
    def all_addresses(self) -> tuple[str, ...]:
        """Return all addresses of the hosts of the cloud, those of this realm first, each once."""
        others = ((*realm.hosts, *realm.data_addresses.values()) for realm in self.realms.values())
        return tuple(dict.fromkeys(chain(self.addresses, *others)))

    @property
    def all_workers(self) -> tuple[str, ...]:
        """Return every worker of the cloud once, those of this realm first."""
        others = (realm.workers_list for realm in self.realms.values())
        return tuple(dict.fromkeys(chain(self.workers_list, *others)))

    @property
    def network_nodes(self) -> tuple[str, ...]:
        """Return the network node of each realm of the cloud."""
        return (self.network_node, *(realm.network_node for realm in self.realms.values()))

    @property
    def all_hosts(self) -> tuple[str, ...]:
        """Return every host of the cloud once, those of this realm first."""
        return tuple(dict.fromkeys(chain(self.hosts, *(realm.hosts for realm in self.realms.values()))))

    @property
    def tunnel_bridges(self) -> dict[str, str]:
        """Return the bridges of the tunnels of all realms by key, as Open vSwitch has them."""
        found = [self.tunnel] if self.tunnel else []
        for name, realm in self.realms.items():
            if realm.underlay == TUNNEL:
                of_main = Tunnel({})
                found.append(of_main if name == MAIN else of_main.of_realm(name, realm.tunnel_key, realm.bridge))
        return {str(tunnel.key): tunnel.bridge for tunnel in found}

    def of_realm(self, name: str) -> Inventory:
        """Return the inventory as the slices of a realm have it; "" is the realm at the top of the file."""
        if not name:
            return self
        own, others = self.realms[name], {each: realm for each, realm in self.realms.items() if each != name}
        main = Realm(
            self.network_node, self.workers_list, BRIDGE, self.internet, self.data_ports,
            self.underlay, self.data_addresses, MAIN_KEY,
        )  # fmt: skip
        here = {"realms": {MAIN: main} | others, "name": name, "unlisted": {"": self.unlisted.get(name, ())}}
        return InventoryOfRealm(**(vars(self) | vars(own) | here))


@dataclass(frozen=True)
class InventoryOfRealm(Inventory):
    """The inventory of a realm with a name. It is made of the file's, and never written."""

    bridge: str = BRIDGE
    tunnel_key: int = MAIN_KEY
    name: str = MAIN

    @property
    def tunnel(self) -> Tunnel | None:
        """Return the tunnel of the realm: its bridge and ports have names of their own."""
        tunnel = super().tunnel
        return tunnel and tunnel.of_realm(self.name, self.tunnel_key, self.bridge)
