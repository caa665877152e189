"""A host as a look found it: immutable values. Pure."""

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
class Port:
    """A port of Open vSwitch; `tag` None carries every VLAN, `number` is negative while nothing passes through it.

    `mode` and `vlans` are the columns vlan_mode and trunks (ovs-vswitchd.conf.db(5)).
    """

    name: str
    bridge: str
    tag: int | None
    kind: str
    number: int
    marks: Mapping[str, str]
    trunks: bool = False
    protected: bool = False
    mode: str = ""
    vlans: frozenset[int] = frozenset()

    @property
    def is_ours(self) -> bool:
        """Whether it carries our mark."""
        return self.marks.get("owner") == ovs.OWNER


@dataclass(frozen=True)
class Device:
    """A network interface; `carrier` of a TAP: some process holds it. `arp`: the host answers and asks by it."""

    name: str
    mac: str
    up: bool
    carrier: bool
    alias: str
    kind: str
    addresses: tuple[str, ...]
    arp: bool = True
    ipv6: tuple[str, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Whether it is a TAP of ours."""
        return self.alias == ovs.OWNER


class DeviceSettings(NamedTuple):
    """Settings of the host's IP stack for a device: IPv6, and reverse path filtering as ip-sysctl counts it."""

    ipv6: bool
    rp_filter: int


class Route(NamedTuple):
    """A route of the host itself: `is_link` without a gateway, to a network that it is connected to."""

    network: str
    device: str
    is_link: bool


class Flow(NamedTuple):
    """A flow of br-int; `match` and `actions` in no order that matters, but for that of the actions."""

    cookie: int
    match: frozenset[str]
    actions: tuple[str, ...]


@dataclass(frozen=True)
class Process:
    """A process that is a QEMU or a dnsmasq, or says on its command line that it is one of ours."""

    pid: int
    argv: tuple[str, ...]

    @property
    def is_qemu(self) -> bool:
        """Whether it is a virtual machine."""
        return bool(self.argv) and re.search(r"(^|/)qemu-(system-\w+|kvm)$", self.argv[0]) is not None

    @property
    def name(self) -> str:
        """QEMU's `-name`."""
        words = iter(self.argv)
        return next((next(words, "") for word in words if word == "-name"), "")

    @property
    def macs(self) -> tuple[str, ...]:
        """The MACs of its guest's interfaces."""
        return tuple(mac.lower() for word in self.argv for mac in re.findall(r"\bmac=([0-9A-Fa-f:]{17})\b", word))


@dataclass(frozen=True)
class Namespace:
    """A network namespace; `serves`: a DHCP server in it listens, and on an interface that is there.

    Of one that was not entered neither MACs are known, nor `routes`, but of a router. `ipv6`: the devices that have it.
    """

    name: str
    routes: bool
    devices: Mapping[str, Device]
    serves: bool
    ipv6: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sight:
    """What a host has. Paths of `files` are relative to the folder of images; sizes in bytes, room in MiB.

    `images` are size and time of files, `seals` what these were of base images when disks were first built on them.
    `barriers`: chains of other firewalls that drop what guests send to the internet. `peers`: addresses of the guests'
    network that are connected by SSH. `heard`: whom the DHCP server that slices share hears, chains and rules in small
    letters. `disks`: the files that a process has open, by its pid. `logs`: VLANs whose log has something at its
    documented place, and whether that is ours. `bounds`: what nftables lists in each namespace. `most_neighbours`,
    `most_connections`: for how many the kernel has room, 0 where that is not known. `settings`, `ways` (neighbours and
    routes) are by device; `drops` are our tables of nftables by slice, `sockets` the addresses on which a process
    listens, by its pid. `asked`: all parts that were asked for, `unread`: those that could not be read, `invalid`:
    those whose answer makes no sense.
    """

    host: str
    clock: float | None = None
    bridges: frozenset[str] = frozenset()
    ports: Mapping[str, Port] = field(default_factory=dict)
    flows: tuple[Flow, ...] = ()
    devices: Mapping[str, Device] = field(default_factory=dict)
    processes: Mapping[int, Process] = field(default_factory=dict)
    disks: Mapping[int, frozenset[str]] = field(default_factory=dict)
    files: Mapping[str, int] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()
    images: Mapping[str, str] = field(default_factory=dict)
    seals: Mapping[str, str] = field(default_factory=dict)
    pid_files: Mapping[str, int] = field(default_factory=dict)
    marked: frozenset[str] = frozenset()
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    namespaces: Mapping[str, Namespace] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()
    forwards: bool = False
    settings: Mapping[str, DeviceSettings] = field(default_factory=dict)
    ways: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    drops: Mapping[int, str] = field(default_factory=dict)
    sockets: Mapping[int, frozenset[str]] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    barriers: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    disk_mib: int | None = None
    memory_mib: int | None = None
    logs: Mapping[int, bool] = field(default_factory=dict)
    bounds: Mapping[str, str] = field(default_factory=dict)
    most_neighbours: int = 0
    most_connections: int = 0
    closed_seconds: int = 0
    tools: Mapping[str, str | None] = field(default_factory=dict)
    asked: frozenset[str] = frozenset()
    unread: tuple[str, ...] = ()
    invalid: tuple[str, ...] = ()

    def was_asked(self, *parts: str) -> bool:
        """Return whether the host was asked for all these parts, and all could be read."""
        return self.asked.issuperset(parts) and self.knows(*parts)

    def has_process(self, pid_file: str, mark: str) -> Process | None:
        """The process that both the pid file and its own command line call ours."""
        process = self.processes.get(self.pid_files.get(pid_file, 0))
        return process if process and mark in process.argv else None

    def near(self, device: str) -> list[str]:
        """Return the networks that the device is connected to."""
        return [route.network for route in self.routes if route.device == device and route.is_link]

    def knows(self, *parts: str) -> bool:
        """Whether all these parts could be read."""
        return not any(part in self.unread for part in parts)

    @cached_property
    def walls(self) -> Mapping[int, frozenset[Flow]]:
        """The flows of slices, by the slice's id."""
        found: defaultdict[int, set[Flow]] = defaultdict(set)
        for each in self.flows:
            if (slice_id := slice_of_cookie(each.cookie)) is not None:
                found[slice_id].add(each)
        return {slice_id: frozenset(flows) for slice_id, flows in found.items()}
