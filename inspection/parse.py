"""Parse the answers of a host to `collect.commands` into `Facts`. Pure.

Any answer gives facts, nonsense too: an answer that makes no sense is named in `unread` and `invalid`. A host may lie,
so every number has a range and every name a length. The time for parsing is linear in the length of the answer.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from allocation.measuring import RESOURCES, parse_resources
from core.errors import BadAnswer
from inspection import checked, shared
from inspection.facts import Device, DeviceSettings, Facts, Namespace, Process
from inspection.parse_routes import parse_peers, parse_routes
from inspection.parse_switch import parse_flows, parse_learned, parse_ports, parse_tunnel
from machines.qemu import END_EVENT
from network import stack

LONGEST_ANSWER = 4 << 20
"""Characters of the answer to one command: `ip -j -d addr` writes some 1,400 for a TAP."""

_MOST_MTU = 1 << 31
_MOST_PID = 1 << 31
_MOST_NETWORKS = 256
_MOST_PROGRAMS = 64
_MOST_SIZE = 1 << 63
_MOST_MIB = 1 << 40

_last: dict[tuple[str, str], tuple[str, Mapping[str, Any]]] = {}
"""(host, command) -> last answer and its facts. A host on which nothing changes gives the same answer again."""


def parse_answers(host: str, answers: Mapping[str, str | None]) -> Facts:
    """Return the facts of a host. `answers`: name of the command -> its output, None if it failed."""
    found: dict[str, Any] = {}
    unread, invalid = [], []
    for name, answer in answers.items():
        try:
            found |= {} if answer is None else _merged(found, _parse(host, name, answer))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            unread.append(name)
            if answer and answer.strip():
                invalid.append(name)
    unread += (name for name, answer in answers.items() if answer is None)
    known = {each.name for each in fields(Facts)}
    parts = {name: value for name, value in found.items() if name in known}
    return Facts(host, asked=frozenset(answers), unread=tuple(unread), invalid=tuple(invalid), **parts)


def _parse(host: str, name: str, answer: str) -> Mapping[str, Any]:
    """Return the parts of `Facts` that an answer gives. The result is shared with later calls: do not change it."""
    if len(answer) > LONGEST_ANSWER:
        raise BadAnswer(name)
    last = _last.get((host, name))
    if last is None or last[0] != answer:
        last = _last[host, name] = answer, _PARSERS[name](answer)
    return last[1]


def _merged(found: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return `more`, with the pid files of both. Two commands list pid files."""
    pids = {**found.get("pid_files", {}), **more.get("pid_files", {})}
    return {**more, **({"pid_files": pids} if pids else {})}


def _devices(text: str) -> dict[str, Any]:
    return {"devices": _device_table(text)}


def _device_table(text: str) -> dict[str, Device]:
    return {
        found["ifname"]: Device(
            checked.name(found["ifname"]),
            checked.name(found.get("address", "")),
            "UP" in found["flags"],
            "LOWER_UP" in found["flags"],
            found.get("ifalias", ""),
            checked.name(found.get("linkinfo", {}).get("info_kind", "")),
            tuple(str(IPv4Address(local)) for local in _addresses(found, "inet")),
            "NOARP" not in found["flags"],
            tuple(str(IPv6Address(local)) for local in _addresses(found, "inet6")),
            checked.name(found.get("qdisc", "")),
            checked.number(str(found.get("mtu", 0)), _MOST_MTU),
        )
        for found in json.loads(text)
        if found
    }


def _addresses(device: Mapping[str, Any], family: str) -> Iterator[str]:
    for each in device.get("addr_info", ()):
        if each.get("family") == family and "local" in each:
            yield str(each["local"])


def _processes(text: str) -> dict[str, Any]:
    """Parse command lines. A word that contains a line feed makes two lines of one process."""
    lines: defaultdict[int, list[str]] = defaultdict(list)
    for line in filter(None, text.split("\n")):
        place, _, words = line.partition(":")
        lines[checked.number(place.split("/")[2], _MOST_PID)].append(words)
    argvs = {pid: tuple("\n".join(parts).removesuffix("\x1f").split("\x1f")) for pid, parts in lines.items()}
    return {"processes": {pid: Process(pid, argv) for pid, argv in argvs.items()}}


def _disks(text: str) -> dict[str, Any]:
    """Parse lines of a process and a file that it has open, or a TAP that it holds."""
    held: dict[str, defaultdict[int, set[str]]] = {"disks": defaultdict(set), "held": defaultdict(set)}
    for line in text.splitlines():
        place, tap, path = line.partition(":iff:\t") if "/fdinfo/" in line else line.partition(" ")
        kind = "held" if tap.strip() else "disks"
        held[kind][checked.number(place.split("/")[2], _MOST_PID)].add(path)
    return {kind: {pid: frozenset(names) for pid, names in found.items()} for kind, found in held.items()}


def _states(text: str) -> dict[str, Any]:
    """Parse lines of a QMP socket and the answer to query-status; without an answer the state is empty."""
    states: dict[str, str] = {}
    for line in map(checked.line, text.splitlines()):
        socket, found, answer = line.partition(".qmp ")
        if not found:
            raise BadAnswer("states")
        said = {} if answer == "closed" else json.loads(answer).get("return", {})
        states.setdefault(f"{socket}.qmp", checked.name(said.get("status", "")))
    return {"states": states}


def _files(text: str) -> dict[str, Any]:
    lines, _, pids = text.partition("\n\n")
    entries = [line.split(" ", 3) for line in lines.splitlines() if line]
    fingerprints = (line.rpartition(":")[::2] for line in pids.splitlines() if ".seal:" in line)
    return {
        "files": {path: checked.number(size, _MOST_SIZE) for kind, size, _, path in entries if kind != "d"},
        "folders": frozenset(path for kind, _, _, path in entries if kind == "d"),
        "images": {p: f"{size} {changed.partition('.')[0]}" for kind, size, changed, p in entries if kind == "f"},
        "fingerprints": {path.rpartition("/.")[2].removesuffix(".seal"): said for path, said in fingerprints},
        "pid_files": _pids(pids),
        "endings": _endings(pids),
        "open_seeds": frozenset(
            line.removesuffix(":open") for line in pids.splitlines() if line.endswith(".seed:open")
        ),
    }


def _endings(text: str) -> dict[str, int]:
    """Parse the reasons why QEMUs ended, by the files of their messages."""
    ended = re.findall(rf"^(.+\.qemu):{END_EVENT} reason=([0-9]{{1,3}})$", text, re.MULTILINE)
    return {path: int(reason) for path, reason in ended}


def _snapshots(text: str) -> dict[str, Any]:
    """Parse lines of a disk's path and the tag of a snapshot in it."""
    held: defaultdict[str, set[str]] = defaultdict(set)
    for line in map(checked.line, text.splitlines()):
        path, _, tag = line.partition(" ")
        held[checked.name(path)].add(checked.name(tag))
    return {"snapshots": {path: frozenset(tags) for path, tags in held.items()}}


def _pids(text: str) -> dict[str, int]:
    pairs = (line.rpartition(":")[::2] for line in text.splitlines())
    return {path: int(pid) for path, pid in pairs if re.fullmatch(r" *[0-9]{1,10} *", pid)}


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
    """Parse namespaces: those that were entered, and lines from /proc that begin with `in` and the name."""
    shown: defaultdict[str, list[list[str]]] = defaultdict(list)
    for name, facts in re.findall(r"^in (\S+) (.+)$", text, re.MULTILINE):
        shown[name].append(facts.split())
    parts = re.split(r"^namespace (\S+)\n", re.sub(r"^in .+\n", "", text, flags=re.MULTILINE), flags=re.MULTILINE)
    entered = (_entered(name, body) for name, body in zip(parts[1::2], parts[2::2], strict=True))
    return {"namespaces": {each.name: each for each in (*entered, *(_shown(*each) for each in shown.items()))}}


def _entered(name: str, body: str) -> Namespace:
    first, table, *sockets = body.splitlines()
    routes, *ipv6 = first.split()
    devices = _device_table(table)
    # ss(8) shows the number of an interface that is gone: %if9.
    bound = [found[1] for line in sockets if (found := re.search(r"(?:%(\S+))?:67\b", checked.line(line)))]
    serves = bool(bound) and not any(re.fullmatch(r"if\d+", port or "") and port not in devices for port in bound)
    return Namespace(name, routes == "1", devices, serves, tuple(ipv6))


def _shown(name: str, facts: list[list[str]]) -> Namespace:
    """Return a namespace from the tables in /proc/pid/net. An address belongs to the interface of its network.

    The kernel shows neither while the interface is down. Numbers in the table of networks are little endian.
    """
    addresses = dict.fromkeys(words[1] for words in facts if words[0] == "address")
    networks = [(int(words[1], 16), int(words[2], 16), words[3]) for words in facts if words[0] == "network"]
    if max(len(addresses), len(networks)) > _MOST_NETWORKS:
        raise BadAnswer(name)
    held: defaultdict[str, list[str]] = defaultdict(list)
    for address in addresses:
        number = int.from_bytes(map(int, address.split(".")), "little")
        for network, mask, device in networks:
            if number & mask == network:
                held[device].append(address)
    up = {device for *_, device in networks}
    names = dict.fromkeys([*(words[1] for words in facts if words[0] == "device"), *(name for *_, name in networks)])
    devices = {each: Device(each, "", each in up, each in up, "", "", tuple(held[each])) for each in names}
    return Namespace(name, ["routes"] in facts, devices, serves=True)


def _rules(text: str) -> dict[str, Any]:
    return {"rules": tuple(_rule_lines(text))}


def _rule_lines(text: str) -> Iterator[str]:
    table = ""
    for line in map(checked.line, text.splitlines()):
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith("-A "):
            yield f"{table} {line.strip()}".replace('"', "")
        elif not line.startswith(("#", ":", "COMMIT")):
            raise ValueError(line)


def _filter(text: str) -> dict[str, Any]:
    """Parse the rules before the shared DHCP server, without counters and quotes, in small letters.

    Some versions write MACs in capitals.
    """
    lines = (checked.line(line).partition(" [")[0].replace('"', "").strip() for line in text.splitlines())
    return {"dhcp_filter": tuple(line.lower() for line in lines if line.startswith((":", "-A ")))}


def _forwarding(text: str) -> dict[str, Any]:
    on, *barriers = text.splitlines()
    if len(barriers) > _MOST_NETWORKS:
        raise BadAnswer("barriers")
    return {"forwards": bool(checked.number(on, 9)), "barriers": tuple(map(checked.name, barriers))}


def _stack(text: str) -> dict[str, Any]:
    """Parse lines of devices, of ways (routes and neighbours) and of sockets."""
    settings: dict[str, DeviceSettings] = {}
    ways: defaultdict[str, list[str]] = defaultdict(list)
    sockets: defaultdict[int, set[str]] = defaultdict(set)
    for line in map(checked.line, text.splitlines()):
        kind, _, rest = line.partition(" ")
        if kind == "device":
            name, off, rp_filter = rest.split()
            settings[name] = DeviceSettings(off != "1", checked.number(rp_filter, 2))
        elif kind == "way" and (device := re.search(r"\bdev (\S+)", rest)):
            ways[device[1]].append(" ".join(rest.split()))
        elif kind == "socket":
            for pid in re.findall(r"\bpid=([0-9]{1,10})\b", rest):
                sockets[int(pid)].add(checked.name(rest.split()[3]))
    return {
        "settings": settings,
        "ways": {device: tuple(found) for device, found in ways.items()},
        "sockets": {pid: frozenset(found) for pid, found in sockets.items()},
    }


def _drops(text: str) -> dict[str, Any]:
    """Parse our tables from a listing of nft(8). Only the first line of a table is not indented."""
    tables = (table for table in re.split(r"^(?=table )", text, flags=re.MULTILINE) if table)
    by_slice = ((stack.slice_of_table(table.split()[2]), " ".join(table.split())) for table in tables)
    return {"drops": {slice_id: listing for slice_id, listing in by_slice if slice_id is not None}}


def _resources(text: str) -> dict[str, Any]:
    seen = parse_resources(text)
    return {"clock": float(seen.clock), "disk_mib": seen.disk >> 10, "memory_mib": seen.available >> 10}


def _logs(text: str) -> dict[str, Any]:
    """Parse lines of `ours` or `foreign` and the name of a log."""
    found = [re.fullmatch(r"(ours|foreign) dnsmasq_vlan(\d{1,4})\.log", line) for line in text.splitlines()]
    if not all(found):
        raise BadAnswer("logs")
    return {"logs": {int(each[2]): each[1] == "ours" for each in found if each}}


def _programs(text: str) -> dict[str, Any]:
    """Parse lines of a program and its version. A program without a version is not installed."""
    lines = [checked.line(line).partition(" ")[::2] for line in text.splitlines()]
    if len(lines) > _MOST_PROGRAMS:
        raise BadAnswer("programs")
    return {"programs": {name: said or None for name, said in lines}}


_PARSERS: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "ports": parse_ports,
    "flows": parse_flows,
    "tunnel": parse_tunnel,
    "learned": parse_learned,
    "devices": _devices,
    "processes": _processes,
    "files": _files,
    "states": _states,
    "snapshots": _snapshots,
    "marks": _marks,
    "namespaces": _namespaces,
    "rules": _rules,
    "filter": _filter,
    "forwarding": _forwarding,
    "routes": parse_routes,
    "peers": parse_peers,
    "disks": _disks,
    "logs": _logs,
    "bounds": shared.parse_bounds,
    "limits": shared.parse_limits,
    RESOURCES: _resources,
    "drops": _drops,
    "stack": _stack,
    "programs": _programs,
}
