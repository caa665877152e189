"""What a look found, as values: the programs' own output in, frozen dataclasses out. Pure.

Whatever a host answers, also nonsense, becomes a `Sight`; what could not be read is named in its `unread`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from remote import ovs

UNWIRED = -1
"""The number of a port that ovs-vswitchd has not opened."""


@dataclass(frozen=True)
class Port:
    """A port of Open vSwitch; `tag` None carries every VLAN, `number` is negative while nothing passes through it."""

    name: str
    bridge: str
    tag: int | None
    kind: str
    number: int
    marks: Mapping[str, str]
    trunks: bool = False
    protected: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether it carries our mark."""
        return self.marks.get("owner") == ovs.OWNER


@dataclass(frozen=True)
class Device:
    """A network interface; `carrier` of a TAP: some process holds it."""

    name: str
    mac: str
    up: bool
    carrier: bool
    alias: str
    kind: str
    addresses: tuple[str, ...]

    @property
    def is_ours(self) -> bool:
        """Whether it is a TAP of ours."""
        return self.alias == ovs.OWNER


@dataclass(frozen=True)
class Flow:
    """A flow of br-int; `match` and `actions` in no order that matters, but for that of the actions."""

    cookie: int
    match: frozenset[str]
    actions: tuple[str, ...]


@dataclass(frozen=True)
class Process:
    """A process that is a QEMU or a dnsmasq, or says on its command line that it is one of ours."""

    pid: int
    argv: tuple[str, ...]
    disks: frozenset[str] = frozenset()

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
    """A network namespace; `bound` to are the DHCP sockets in it: `if9` is an interface that is gone."""

    name: str
    routes: bool
    devices: Mapping[str, Device]
    bound: frozenset[str]

    @property
    def is_deaf(self) -> bool:
        """Whether a server in it listens on an interface that is there no more."""
        return any(name.startswith("if") and name[2:].isdigit() and name not in self.devices for name in self.bound)


@dataclass(frozen=True)
class Sight:
    """What a host has. Paths of `files` are relative to the folder of images; sizes in bytes, room in MiB.

    `images` are size and time of files, `seals` what these were of base images when disks were first built on them.
    `heard`: whom the DHCP server that slices share hears, chains and rules in small letters.
    """

    host: str
    clock: float | None = None
    switch: bool = False
    bridges: frozenset[str] = frozenset()
    ports: Mapping[str, Port] = field(default_factory=dict)
    flows: tuple[Flow, ...] = ()
    devices: Mapping[str, Device] = field(default_factory=dict)
    processes: Mapping[int, Process] = field(default_factory=dict)
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
    near: tuple[str, ...] = ()
    disk_mib: int | None = None
    memory_mib: int | None = None
    tools: Mapping[str, str | None] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    def has_process(self, pid_file: str, mark: str) -> Process | None:
        """The process that both the pid file and its own command line call ours."""
        process = self.processes.get(self.pid_files.get(pid_file, 0))
        return process if process and mark in process.argv else None


def read(host: str, answers: Mapping[str, str]) -> Sight:
    """The sight of a host from what the commands of `look.commands` wrote, by their names."""
    found: dict[str, Any] = {}
    unread = []
    for name, answer in answers.items():
        try:
            found |= _merged(found, _READERS[name](answer))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            unread.append(name)
    known = {each.name for each in fields(Sight)}
    return Sight(host, unread=tuple(unread), **{name: value for name, value in found.items() if name in known})


def _merged(found: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """`more`, with pid files added to those of another command."""
    pids = {**found.get("pid_files", {}), **more.get("pid_files", {})}
    return {**more, **({"pid_files": pids} if pids else {})}


def flow(text: str) -> Flow:
    """A flow as `ovs-ofctl dump-flows --names` shows it, or as `add-flows` takes it."""
    plain = (
        re.sub(r"\b0x([0-9a-f]+)\b", lambda number: str(int(number[1], 16)), text.strip())
        .replace('"', "")
        .replace(" actions=", ",actions=")
        .replace(", ", ",")
    )
    match, _, actions = plain.partition("actions=")
    words = [word for word in match.split(",") if word]
    cookie = next((int(word[7:], 0) for word in words if word.startswith("cookie=")), 0)
    dropped = ("cookie=", "table=0")
    return Flow(cookie, frozenset(w for w in words if not w.startswith(dropped)), tuple(actions.split(",")))


def _clock(text: str) -> dict[str, Any]:
    return {"clock": float(text)}


def _switch(text: str) -> dict[str, Any]:
    return {"switch": "ovs-vswitchd" in text}


def _ports(text: str) -> dict[str, Any]:
    bridges, ports, interfaces = (_table(line) for line in text.splitlines() if line)
    of_port = {port: row["name"] for row in bridges for port in _several(row["ports"])}
    by_id = {row["_uuid"]: row for row in interfaces}
    found = {}
    for row in ports:
        interface = by_id[_several(row["interfaces"])[0]]
        tag, number = row["tag"], interface["ofport"]
        found[row["name"]] = Port(
            row["name"],
            of_port.get(row["_uuid"], ""),
            tag if isinstance(tag, int) else None,
            interface["type"],
            number if isinstance(number, int) else UNWIRED,
            dict(interface["external_ids"] or ()),
            trunks=bool(row["trunks"]) or row["vlan_mode"] not in ([], "access"),
            protected=row["protected"] is True,
        )
    return {"ports": found, "bridges": frozenset(row["name"] for row in bridges)}


def _table(line: str) -> list[dict[str, Any]]:
    table = json.loads(line)
    return [dict(zip(table["headings"], map(_value, row), strict=True)) for row in table["data"]]


def _value(value: Any) -> Any:
    """A value of the OVSDB protocol (RFC 7047, 5.1) as a plain one."""
    match value:
        case ["uuid", name]:
            return name
        case ["set", items]:
            return [_value(item) for item in items]
        case ["map", pairs]:
            return {_value(key): _value(item) for key, item in pairs}
    return value


def _several(value: Any) -> list[Any]:
    """A column that holds one value or a set of them."""
    return value if isinstance(value, list) else [value]


def _flows(text: str) -> dict[str, Any]:
    return {"flows": tuple(flow(line) for line in text.splitlines() if "actions=" in line)}


def _devices(text: str) -> dict[str, Any]:
    return {"devices": _device_table(text)}


def _device_table(text: str) -> dict[str, Device]:
    return {
        found["ifname"]: Device(
            found["ifname"],
            found.get("address", ""),
            "UP" in found["flags"],
            "LOWER_UP" in found["flags"],
            found.get("ifalias", ""),
            found.get("linkinfo", {}).get("info_kind", ""),
            tuple(a["local"] for a in found.get("addr_info", ()) if a.get("family") == "inet" and "local" in a),
        )
        for found in json.loads(text)
        if found
    }


def _processes(text: str) -> dict[str, Any]:
    lines, _, disks = text.partition("\n\n")
    argvs: dict[int, list[str]] = {}
    for line in lines.splitlines():
        place, _, word = line.partition(":")
        argvs.setdefault(int(place.split("/")[2]), []).append(word)
    held: dict[int, set[str]] = {}
    for line in disks.splitlines():
        place, _, path = line.partition(" ")
        held.setdefault(int(place.split("/")[2]), set()).add(path)
    found = {pid: Process(pid, tuple(words), frozenset(held.get(pid, ()))) for pid, words in argvs.items()}
    return {"processes": found}


def _files(text: str) -> dict[str, Any]:
    lines, _, pids = text.partition("\n\n")
    entries = [line.split(" ", 3) for line in lines.splitlines() if line]
    seals = (line.rpartition(":")[::2] for line in pids.splitlines() if ".seal:" in line)
    return {
        "files": {path: int(size) for kind, size, _, path in entries if kind != "d"},
        "folders": frozenset(path for kind, _, _, path in entries if kind == "d"),
        "images": {p: f"{size} {changed.partition('.')[0]}" for kind, size, changed, p in entries if kind == "f"},
        "seals": {path.rpartition("/.")[2].removesuffix(".seal"): said for path, said in seals},
        "pid_files": _pids(pids),
    }


def _pids(text: str) -> dict[str, int]:
    pairs = (line.rpartition(":")[::2] for line in text.splitlines())
    return {path: int(pid) for path, pid in pairs if pid.strip().isdigit()}


def _marks(text: str) -> dict[str, Any]:
    folders, _, contents = text.partition("\n\n") if not text.startswith("\n") else ("", "", text[1:])
    hosts: dict[str, list[str]] = {}
    pids = []
    for line in contents.splitlines():
        path, _, word = line.partition(":")
        if path.endswith("/pid"):
            pids.append(line)
        else:
            hosts.setdefault(path, []).append(word)
    return {
        "marked": frozenset(path.rpartition("/")[2] for path in folders.splitlines()),
        "hosts": {path: tuple(lines) for path, lines in hosts.items()},
        "pid_files": _pids("\n".join(pids)),
    }


def _namespaces(text: str) -> dict[str, Any]:
    parts = re.split(r"^namespace (\S+)\n", text, flags=re.MULTILINE)[1:]
    return {"namespaces": {name: _namespace(name, body) for name, body in zip(parts[::2], parts[1::2], strict=True)}}


def _namespace(name: str, body: str) -> Namespace:
    routes, devices, *sockets = body.split("\n")
    bound = frozenset(re.findall(r"%(\S+):67\b", "\n".join(sockets)))
    return Namespace(name, routes == "1", _device_table(devices), bound)


def _rules(text: str) -> dict[str, Any]:
    return {"rules": tuple(_rule_lines(text))}


def _rule_lines(text: str) -> Iterator[str]:
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith("-A "):
            yield f"{table} {line.strip()}".replace('"', "")


def _heard(text: str) -> dict[str, Any]:
    """Without counters and quotes; some versions write MACs in capitals."""
    lines = (line.partition(" [")[0].replace('"', "").strip() for line in text.splitlines())
    return {"heard": tuple(line.lower() for line in lines if line.startswith((":", "-A ")))}


def _forwarding(text: str) -> dict[str, Any]:
    return {"forwards": text.strip() == "1"}


def _near(text: str) -> dict[str, Any]:
    networks = (line.split()[0] for line in text.splitlines() if line.strip())
    return {"near": tuple(net if "/" in net else f"{net}/32" for net in networks if net != "default")}


def _room(text: str) -> dict[str, Any]:
    disk, memory = (int(line) // 1024 for line in text.split())
    return {"disk_mib": disk, "memory_mib": memory}


def _tools(text: str) -> dict[str, Any]:
    """Program -> the line about its version, None where it is not installed."""
    lines = (line.partition(" ")[::2] for line in text.splitlines())
    return {"tools": {name: said or None for name, said in lines}}


_READERS: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "clock": _clock,
    "switch": _switch,
    "ports": _ports,
    "flows": _flows,
    "devices": _devices,
    "processes": _processes,
    "files": _files,
    "marks": _marks,
    "namespaces": _namespaces,
    "rules": _rules,
    "heard": _heard,
    "forwarding": _forwarding,
    "near": _near,
    "room": _room,
    "tools": _tools,
}
