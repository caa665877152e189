"""From the programs' own output to a `Sight`. Pure.

Whatever a host answers, also nonsense, becomes one; what could not be read is named in its `unread`, and in its
`invalid` as well where the host gave an answer. A host may lie: each figure has a range, each name a length, and the
time that reading takes grows as the answer does.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from core.errors import BadAnswer, figure
from inspection import shared, ways
from inspection.facts import Device, DeviceSettings, Flow, Namespace, Port, Process, Sight
from network import stack

UNWIRED = -1
"""The number of a port that ovs-vswitchd has not opened."""

_MARKS = ("owner", "slice", "vm")
"""Those of our ports; what others write there is theirs."""

_COOKIE = (1 << 64) - 1
_NOTHING = ["set", []]
"""A column of Open vSwitch's database without a value."""

LONGEST_ANSWER = 4 << 20
"""Characters of an answer to one command: `ip -j -d addr` takes some 1,400 for a TAP."""

LONGEST_LINE = 4096
"""Characters of a line that a pattern looks through, or that is kept: no flow and no rule comes near."""

_MOST_PID = 1 << 31
_MOST_NETWORKS = 256
_MOST_VLAN = 4095
_MOST_TOOLS = 64
_MOST_SIZE = 1 << 63
_MOST_MIB = 1 << 40

_PRIORITY = re.compile(r"priority=[0-9]{1,5}").fullmatch
_HEX = re.compile(r"\b0x[0-9a-f]+\b")
_FIRST_TABLE = {"table=0"}
_FLOWS_KNOWN = 1 << 13
"""Those around some 300 VMs: the next look finds most of them again, also where a few others have come."""

_last: dict[tuple[str, str], tuple[str, Mapping[str, Any]]] = {}
"""What a host answered last to a command, and what that tells: while nothing happens there, it says the same again."""


def read(host: str, answers: Mapping[str, str | None]) -> Sight:
    """The sight of a host from what the commands of `look.commands` wrote, by their names; None: it failed."""
    found: dict[str, Any] = {}
    unread, invalid = [], []
    for name, answer in answers.items():
        try:
            found |= {} if answer is None else _merged(found, _part(host, name, answer))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            unread.append(name)
            if answer and answer.strip():
                invalid.append(name)
    unread += (name for name, answer in answers.items() if answer is None)
    known = {each.name for each in fields(Sight)}
    parts = {name: value for name, value in found.items() if name in known}
    return Sight(host, asked=frozenset(answers), unread=tuple(unread), invalid=tuple(invalid), **parts)


def _part(host: str, name: str, answer: str) -> Mapping[str, Any]:
    """What an answer tells: parts of a `Sight`, by their names, which nobody changes."""
    if len(answer) > LONGEST_ANSWER:
        raise BadAnswer(name)
    last = _last.get((host, name))
    if last is None or last[0] != answer:
        last = _last[host, name] = answer, _READERS[name](answer)
    return last[1]


def _merged(found: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """`more`, with pid files added to those of another command."""
    pids = {**found.get("pid_files", {}), **more.get("pid_files", {})}
    return {**more, **({"pid_files": pids} if pids else {})}


@lru_cache(_FLOWS_KNOWN)
def flow(text: str) -> Flow:
    """A flow as `ovs-ofctl dump-flows --names` shows it, or as `add-flows` takes it."""
    _short(text)
    cookie, text = 0, text.strip().replace('"', "")
    if text.startswith("cookie="):
        first, _, text = text.removeprefix("cookie=").partition(",")
        cookie = int(first, 0) & _COOKIE
    if "0x" in text:
        text = _HEX.sub(lambda number: str(int(number[0], 16)), text)
    match, actions = text.split("actions=")
    words = frozenset(match.replace(",", " ").split())
    if any(word.startswith("priority=") and not _PRIORITY(word) for word in words):
        raise BadAnswer("a priority")
    return Flow(cookie, words - _FIRST_TABLE, tuple(actions.split(",")))


def _short(text: str) -> str:
    """`text`, which is no longer than a line can be."""
    if len(text) > LONGEST_LINE:
        raise BadAnswer(text[:40])
    return text


def _name(value: Any, longest: int = 255) -> str:
    """`value`, which is a text that can be shown."""
    if not isinstance(value, str) or len(value) > longest or not value.isprintable():
        raise BadAnswer("a name")
    return value


def _number(text: str, highest: int) -> int:
    return figure(text, "is out of range", 0, highest)


def _clock(text: str) -> dict[str, Any]:
    if not re.fullmatch(r"[0-9]{1,11}(\.[0-9]{1,9})?\n?", text):
        raise BadAnswer("clock")
    return {"clock": float(text)}


def _ports(text: str) -> dict[str, Any]:
    """Values are those of the OVSDB protocol (RFC 7047, 5.1): only what is looked at is made plain."""
    bridges, ports, interfaces = (_table(line) for line in text.splitlines() if line)
    of_port = {port: row["name"] for row in bridges for port in _ids(row["ports"])}
    by_id = {_ids(row["_uuid"])[0]: row for row in interfaces}
    found = {}
    for row in ports:
        interface = by_id[_ids(row["interfaces"])[0]]
        tag, number, kind = row["tag"], interface["ofport"], interface["type"]
        _, marks = interface["external_ids"]
        found[row["name"]] = Port(
            _name(row["name"]),
            of_port.get(_ids(row["_uuid"])[0], ""),
            tag if type(tag) is int else None,
            _name(kind),
            number if type(number) is int else UNWIRED,
            {key: _name(value) for key, value in marks if key in _MARKS},
            trunks=row["trunks"] != _NOTHING or row["vlan_mode"] not in (_NOTHING, "access"),
            protected=row["protected"] is True,
            mode=_name(row["vlan_mode"]) if isinstance(row["vlan_mode"], str) else "",
            vlans=frozenset(_vlans(row["trunks"])),
        )
    return {"ports": found, "bridges": frozenset(_name(row["name"]) for row in bridges)}


def _table(line: str) -> list[dict[str, Any]]:
    table = json.loads(line)
    return [dict(zip(table["headings"], row, strict=True)) for row in table["data"]]


def _ids(value: Any) -> list[str]:
    """The rows that a column refers to: one, or a set of them."""
    kind, content = value
    return [each for _, each in content] if kind == "set" else [content]


def _vlans(value: Any) -> list[int]:
    """A column of VLANs: one, or a set of them."""
    found = value[1] if isinstance(value, list) else [value]
    if not all(type(vlan) is int and 0 <= vlan <= _MOST_VLAN for vlan in found):
        raise BadAnswer("VLANs")
    return found


def _flows(text: str) -> dict[str, Any]:
    """Some versions write a heading."""
    return {"flows": tuple(flow(line) for line in text.splitlines() if " reply (" not in line)}


def _devices(text: str) -> dict[str, Any]:
    return {"devices": _device_table(text)}


def _device_table(text: str) -> dict[str, Device]:
    return {
        found["ifname"]: Device(
            _name(found["ifname"]),
            _name(found.get("address", "")),
            "UP" in found["flags"],
            "LOWER_UP" in found["flags"],
            found.get("ifalias", ""),
            _name(found.get("linkinfo", {}).get("info_kind", "")),
            tuple(str(IPv4Address(local)) for local in _addresses(found, "inet")),
            "NOARP" not in found["flags"],
            tuple(str(IPv6Address(local)) for local in _addresses(found, "inet6")),
        )
        for found in json.loads(text)
        if found
    }


def _addresses(device: Mapping[str, Any], family: str) -> Iterator[str]:
    for each in device.get("addr_info", ()):
        if each.get("family") == family and "local" in each:
            yield str(each["local"])


def _processes(text: str) -> dict[str, Any]:
    """A word with an end of line in it makes two lines of one process."""
    lines: defaultdict[int, list[str]] = defaultdict(list)
    for line in filter(None, text.split("\n")):
        place, _, words = line.partition(":")
        lines[_number(place.split("/")[2], _MOST_PID)].append(words)
    argvs = {pid: tuple("\n".join(parts).removesuffix("\x1f").split("\x1f")) for pid, parts in lines.items()}
    return {"processes": {pid: Process(pid, argv) for pid, argv in argvs.items()}}


def _disks(text: str) -> dict[str, Any]:
    held: defaultdict[int, set[str]] = defaultdict(set)
    for line in text.splitlines():
        place, _, path = line.partition(" ")
        held[_number(place.split("/")[2], _MOST_PID)].add(path)
    return {"disks": {pid: frozenset(paths) for pid, paths in held.items()}}


def _files(text: str) -> dict[str, Any]:
    lines, _, pids = text.partition("\n\n")
    entries = [line.split(" ", 3) for line in lines.splitlines() if line]
    seals = (line.rpartition(":")[::2] for line in pids.splitlines() if ".seal:" in line)
    return {
        "files": {path: _number(size, _MOST_SIZE) for kind, size, _, path in entries if kind != "d"},
        "folders": frozenset(path for kind, _, _, path in entries if kind == "d"),
        "images": {p: f"{size} {changed.partition('.')[0]}" for kind, size, changed, p in entries if kind == "f"},
        "seals": {path.rpartition("/.")[2].removesuffix(".seal"): said for path, said in seals},
        "pid_files": _pids(pids),
    }


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
    """Those that were entered, and what /proc shows of others: lines that begin with `in` and their name."""
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
    # A socket that is bound to an interface that is gone is shown with its number: %if9.
    bound = [found[1] for line in sockets if (found := re.search(r"(?:%(\S+))?:67\b", _short(line)))]
    serves = bool(bound) and not any(re.fullmatch(r"if\d+", port or "") and port not in devices for port in bound)
    return Namespace(name, routes == "1", devices, serves, tuple(ipv6))


def _shown(name: str, facts: list[list[str]]) -> Namespace:
    """From the tables in /proc/pid/net: an address is that of the interface with the network that it is in.

    The kernel takes both away while the interface is down. Numbers in the table of networks are in the host's order of
    bytes, the lowest first.
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
    for line in map(_short, text.splitlines()):
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith("-A "):
            yield f"{table} {line.strip()}".replace('"', "")
        elif not line.startswith(("#", ":", "COMMIT")):
            raise ValueError(line)


def _filter(text: str) -> dict[str, Any]:
    """Without counters and quotes; some versions write MACs in capitals."""
    lines = (_short(line).partition(" [")[0].replace('"', "").strip() for line in text.splitlines())
    return {"heard": tuple(line.lower() for line in lines if line.startswith((":", "-A ")))}


def _forwarding(text: str) -> dict[str, Any]:
    on, *barriers = text.splitlines()
    if len(barriers) > _MOST_NETWORKS:
        raise BadAnswer("barriers")
    return {"forwards": bool(_number(on, 9)), "barriers": tuple(map(_name, barriers))}


def _stack(text: str) -> dict[str, Any]:
    """Lines of devices, of ways, which are routes and neighbours, and of sockets."""
    settings: dict[str, DeviceSettings] = {}
    ways: defaultdict[str, list[str]] = defaultdict(list)
    sockets: defaultdict[int, set[str]] = defaultdict(set)
    for line in map(_short, text.splitlines()):
        kind, _, rest = line.partition(" ")
        if kind == "device":
            name, off, rp_filter = rest.split()
            settings[name] = DeviceSettings(off != "1", _number(rp_filter, 2))
        elif kind == "way" and (device := re.search(r"\bdev (\S+)", rest)):
            ways[device[1]].append(" ".join(rest.split()))
        elif kind == "socket":
            for pid in re.findall(r"\bpid=([0-9]{1,10})\b", rest):
                sockets[int(pid)].add(_name(rest.split()[3]))
    return {
        "settings": settings,
        "ways": {device: tuple(found) for device, found in ways.items()},
        "sockets": {pid: frozenset(found) for pid, found in sockets.items()},
    }


def _drops(text: str) -> dict[str, Any]:
    """Our tables as nft(8) lists them; a table begins at the start of a line, and its content is indented."""
    tables = (table for table in re.split(r"^(?=table )", text, flags=re.MULTILINE) if table)
    by_slice = ((stack.slice_of_table(table.split()[2]), " ".join(table.split())) for table in tables)
    return {"drops": {slice_id: listing for slice_id, listing in by_slice if slice_id is not None}}


def _room(text: str) -> dict[str, Any]:
    disk, memory = (_number(line, _MOST_MIB << 10) >> 10 for line in text.split())
    return {"disk_mib": disk, "memory_mib": memory}


def _logs(text: str) -> dict[str, Any]:
    """Read `ours` or `foreign`, and the name of a log."""
    found = [re.fullmatch(r"(ours|foreign) dnsmasq_vlan(\d{1,4})\.log", line) for line in text.splitlines()]
    if not all(found):
        raise BadAnswer("logs")
    return {"logs": {int(each[2]): each[1] == "ours" for each in found if each}}


def _tools(text: str) -> dict[str, Any]:
    """Program -> the line about its version, None where it is not installed."""
    lines = [_short(line).partition(" ")[::2] for line in text.splitlines()]
    if len(lines) > _MOST_TOOLS:
        raise BadAnswer("tools")
    return {"tools": {name: said or None for name, said in lines}}


_READERS: Mapping[str, Callable[[str], dict[str, Any]]] = {
    "ports": _ports,
    "flows": _flows,
    "devices": _devices,
    "processes": _processes,
    "files": _files,
    "marks": _marks,
    "namespaces": _namespaces,
    "rules": _rules,
    "filter": _filter,
    "forwarding": _forwarding,
    "routes": ways.routes,
    "peers": ways.peers,
    "clock": _clock,
    "disks": _disks,
    "logs": _logs,
    "bounds": shared.read_bounds,
    "limits": shared.read_limits,
    "room": _room,
    "drops": _drops,
    "stack": _stack,
    "tools": _tools,
}
