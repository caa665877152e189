"""The facts of one host, as immutable values. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from core.names import slice_of_cookie
from network import ovs


@dataclass(frozen=True)
class SeenPort:
    """A port of Open vSwitch.

    `tag`: None if the port carries every VLAN. `number`: negative while no frame passes. `mode`, `vlans` and `options`:
    the columns vlan_mode, trunks and options (ovs-vswitchd.conf.db(5)).
    """

    name: str
    bridge: str
    tag: int | None
    kind: str
    number: int
    marks: Mapping[str, str]
    trunks: bool = False
    protected: bool = False
    tunnel: bool = False
    mode: str = ""
    vlans: frozenset[int] = frozenset()
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Return whether the port carries our mark."""
        return self.marks.get("owner") == ovs.OWNER

    @property
    def tunnel_key(self) -> str:
        """Return the key of the tunnel that the port is a part of; an empty string for other ports."""
        return tunnel_key(self.marks)


def tunnel_key(marks: Mapping[str, str]) -> str:
    """Return the key of our tunnel by the marks of a port or bridge; an empty string where it is no part of one."""
    key = marks.get("tunnel", "") if marks.get("owner") == ovs.OWNER else ""
    return key if re.fullmatch(r"[0-9]{1,8}", key) else ""


class BridgeSettings(NamedTuple):
    """The settings of a bridge. `tunnel`: the key of the tunnel that we made it for, if any.

    `secure`: without flows it passes no frame. `passes_bpdus`: also STP and LLDP, which bridges keep to themselves.
    """

    tunnel: str = ""
    secure: bool = False
    passes_bpdus: bool = False


@dataclass(frozen=True)
class Device:
    """A network interface. `carrier` of a TAP: a process holds it. `arp`: the host speaks ARP on it.

    `qdisc`: the kind of its queue (tc(8)). `mtu`: 0 if it is unknown.
    """

    name: str
    mac: str
    up: bool
    carrier: bool
    alias: str
    kind: str
    addresses: tuple[str, ...]
    arp: bool = True
    ipv6: tuple[str, ...] = ()
    qdisc: str = ""
    mtu: int = 0

    @property
    def is_ours(self) -> bool:
        """Return whether the device is a TAP of ours."""
        return self.alias == ovs.OWNER


class DeviceSettings(NamedTuple):
    """The settings of the host's IP stack for a device. `rp_filter`: 0 to 2, as in the kernel's ip-sysctl."""

    ipv6: bool
    rp_filter: int


class Route(NamedTuple):
    """A route of the host. `is_link`: the host is connected to this network and needs no gateway."""

    network: str
    device: str
    is_link: bool


class Flow(NamedTuple):
    """A flow of br-int. The order of `actions` matters, the order of `match` does not."""

    cookie: int
    match: frozenset[str]
    actions: tuple[str, ...]


@dataclass(frozen=True)
class Process:
    """A QEMU, a dnsmasq, or a process whose command line carries our mark."""

    pid: int
    argv: tuple[str, ...]

    @property
    def is_qemu(self) -> bool:
        """Return whether the process is a virtual machine."""
        return bool(self.argv) and re.search(r"(^|/)qemu-(system-\w+|kvm)$", self.argv[0]) is not None

    @property
    def name(self) -> str:
        """Return the word after QEMU's `-name`, or an empty string."""
        words = iter(self.argv)
        return next((next(words, "") for word in words if word == "-name"), "")

    @property
    def macs(self) -> tuple[str, ...]:
        """Return the MACs of the guest's interfaces."""
        return tuple(mac.lower() for word in self.argv for mac in re.findall(r"\bmac=([0-9A-Fa-f:]{17})\b", word))


@dataclass(frozen=True)
class Namespace:
    """A network namespace.

    `serves`: its DHCP server listens on an existing interface. `routes`: it forwards. `ipv6`: its devices with IPv6.
    /proc shows no MACs, and `routes` of routers only.
    """

    name: str
    routes: bool
    devices: Mapping[str, Device]
    serves: bool
    ipv6: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """The facts of one host. A part without a usable answer is named in `unread` and keeps its default."""

    host: str
    asked: frozenset[str] = frozenset()
    unread: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()  # those of `unread` with an answer that makes no sense
    clock: float | None = None  # seconds since the epoch
    programs: Mapping[str, str | None] = field(default_factory=dict)  # program -> version; None: not installed
    memory_mib: int | None = None  # free

    bridges: frozenset[str] = frozenset()
    bridge_settings: Mapping[str, BridgeSettings] = field(default_factory=dict)
    ports: Mapping[str, SeenPort] = field(default_factory=dict)
    queues: Mapping[str, str] = field(default_factory=dict)  # TAP -> words of tc(8) in our row of its QoS
    flows: tuple[Flow, ...] = ()
    tunnel_flows: tuple[Flow, ...] = ()  # those of the tunnel's bridge, without the learned ones
    learned: frozenset[tuple[int, str]] = frozenset()  # VLAN and MAC of frames that the bridge has seen
    devices: Mapping[str, Device] = field(default_factory=dict)
    processes: Mapping[int, Process] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)  # QMP socket -> state of QEMU; empty: no answer
    disks: Mapping[int, frozenset[str]] = field(default_factory=dict)  # pid -> open files
    held: Mapping[int, frozenset[str]] = field(default_factory=dict)  # pid -> TAPs

    disk_mib: int | None = None  # free
    files: Mapping[str, int] = field(default_factory=dict)  # path below the folder of images -> bytes
    folders: frozenset[str] = frozenset()
    images: Mapping[str, str] = field(default_factory=dict)  # file -> its size and time
    fingerprints: Mapping[str, str] = field(default_factory=dict)  # base image -> size and time under its first disk
    pid_files: Mapping[str, int] = field(default_factory=dict)
    endings: Mapping[str, int] = field(default_factory=dict)  # file of QEMU's messages -> the last reason of its end
    snapshots: Mapping[str, frozenset[str]] = field(default_factory=dict)  # path of a disk -> tags in it
    open_seeds: frozenset[str] = frozenset()  # seeds that others on the host could read

    marked: frozenset[str] = frozenset()  # namespaces with our folder in /run
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # file of a DHCP server -> reservations
    namespaces: Mapping[str, Namespace] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    dhcp_filter: tuple[str, ...] = ()  # chains and rules before the shared DHCP server, in small letters
    forwards: bool = False
    routes: tuple[Route, ...] = ()
    barriers: tuple[str, ...] = ()  # chains of other firewalls that drop guests' packets to the internet
    peers: tuple[str, ...] = ()  # addresses of the guests' network that are connected to this host by SSH
    logs: Mapping[int, bool] = field(default_factory=dict)  # VLAN -> whether the documented place of its log is ours
    bounds: Mapping[str, str] = field(default_factory=dict)  # namespace -> listing of nftables
    most_neighbours: int = 0  # room in the kernel's table; 0: unknown
    most_connections: int = 0  # room in the kernel's table; 0: unknown
    closed_seconds: int = 0  # life of a closed connection in that table

    settings: Mapping[str, DeviceSettings] = field(default_factory=dict)
    ways: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # device -> neighbours and routes
    drops: Mapping[int, str] = field(default_factory=dict)  # slice -> our table of nftables
    sockets: Mapping[int, frozenset[str]] = field(default_factory=dict)  # pid -> addresses it listens on

    def was_asked(self, *parts: str) -> bool:
        """Return whether the host was asked for all these parts, and all could be read."""
        return self.asked.issuperset(parts) and self.knows(*parts)

    def process_of(self, pid_file: str, mark: str) -> Process | None:
        """Return the process that the pid file names, if its command line carries the mark."""
        process = self.processes.get(self.pid_files.get(pid_file, 0))
        return process if process and mark in process.argv else None

    def linked_networks(self, device: str) -> list[str]:
        """Return the networks that the device is connected to."""
        return [route.network for route in self.routes if route.device == device and route.is_link]

    def knows(self, *parts: str) -> bool:
        """Return whether all these parts could be read."""
        return not any(part in self.unread for part in parts)

    @cached_property
    def flows_by_slice(self) -> Mapping[int, frozenset[Flow]]:
        """Return the flows of slices by slice id."""
        found: defaultdict[int, set[Flow]] = defaultdict(set)
        for each in self.flows:
            if (slice_id := slice_of_cookie(each.cookie)) is not None:
                found[slice_id].add(each)
        return {slice_id: frozenset(flows) for slice_id, flows in found.items()}
