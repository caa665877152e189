"""Parse the answers of Open vSwitch: ports and flows. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

from core.errors import BadAnswer
from inspection import checked
from inspection.facts import BridgeSettings, Flow, SeenPort, tunnel_key
from network import ovs

UNOPENED = -1
"""The number of a port that ovs-vswitchd has not opened."""

_MARKS = ("owner", "slice", "vm", "tunnel")
"""The keys that we write; other keys belong to other programs."""

_OPTIONS = ("key", "local_ip", "peer", "remote_ip")

_COOKIE = (1 << 64) - 1
_NOTHING = ["set", []]
_TUNNEL = "dot1q-tunnel"
"""An empty column of Open vSwitch's database."""

_MOST_VLAN = 4095
_PRIORITY = re.compile(r"priority=[0-9]{1,5}").fullmatch
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}").fullmatch
_HEX = re.compile(r"\b0x[0-9a-f]+\b")
_FIRST_TABLE = {"table=0"}
_LONGEST_OF_TUNNEL = 1 << 15
"""The characters of a flow that names the ports to 1,400 hosts."""

_FLOWS_KNOWN = 1 << 13
"""The flows of some 300 VMs: most flows of a collection were parsed in the one before."""


@lru_cache(_FLOWS_KNOWN)
def parse_flow(text: str) -> Flow:
    """Parse a flow as `ovs-ofctl dump-flows --names` shows it, or as `add-flows` takes it."""
    return _parsed(checked.line(text))


def parse_tunnel_flow(text: str) -> Flow:
    """Parse a flow of the tunnel's bridge. One of them is long: it names the ports to all other hosts."""
    return parse_flow(text) if len(text) <= checked.LONGEST_LINE else _parsed(checked.line(text, _LONGEST_OF_TUNNEL))


def _parsed(text: str) -> Flow:
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


def parse_flows(text: str) -> dict[str, Any]:
    """Parse the flows of br-int. Some versions write a heading before them."""
    return {"flows": tuple(map(parse_flow, _lines(text)))}


def parse_tunnel(text: str) -> dict[str, Any]:
    """Parse the flows of the tunnel's bridge."""
    return {"tunnel_flows": tuple(map(parse_tunnel_flow, _lines(text)))}


def _lines(text: str) -> Iterator[str]:
    return (line for line in text.splitlines() if " reply (" not in line)


def parse_ports(text: str) -> dict[str, Any]:
    """Parse the four tables of `ovs-vsctl`. Their values are those of the OVSDB protocol (RFC 7047, 5.1)."""
    bridges, ports, interfaces, qualities = (_table(line) for line in text.splitlines() if line)
    of_port = {port: row["name"] for row in bridges for port in _ids(row["ports"])}
    by_id = {_ids(row["_uuid"])[0]: row for row in interfaces}
    found = {}
    for row in ports:
        interface = by_id[_ids(row["interfaces"])[0]]
        tag, number, kind = row["tag"], interface["ofport"], interface["type"]
        _, marks = interface["external_ids"]
        found[row["name"]] = SeenPort(
            checked.name(row["name"]),
            of_port.get(_ids(row["_uuid"])[0], ""),
            tag if type(tag) is int else None,
            checked.name(kind),
            number if type(number) is int else UNOPENED,
            {key: checked.name(value) for key, value in marks if key in _MARKS},
            options=_map(interface, "options", _OPTIONS),
            trunks=row["trunks"] != _NOTHING or row["vlan_mode"] not in (_NOTHING, "access", _TUNNEL),
            tunnel=row["vlan_mode"] == _TUNNEL,
            protected=row["protected"] is True,
            mode=checked.name(row["vlan_mode"]) if isinstance(row["vlan_mode"], str) else "",
            vlans=frozenset(_vlans(row["trunks"])),
        )
    marks_of_queues = (dict(row["external_ids"][1]) for row in qualities)
    queues = {
        checked.name(marks["tap"]): checked.name(marks["queue"])
        for marks in marks_of_queues
        if marks.get("owner") == ovs.OWNER
    }
    settings = {checked.name(row["name"]): _settings(row) for row in bridges}
    return {"ports": found, "bridges": frozenset(settings), "bridge_settings": settings, "queues": queues}


def _settings(bridge: Mapping[str, Any]) -> BridgeSettings:
    marks = _map(bridge, "external_ids", _MARKS)
    tunnel = tunnel_key(marks)
    passes = _map(bridge, "other_config", ("forward-bpdu",)).get("forward-bpdu") == "true"
    return BridgeSettings(tunnel, bridge["fail_mode"] == "secure", passes)


def _map(row: Mapping[str, Any], column: str, keys: Collection[str]) -> dict[str, str]:
    """Return the entries of a column that have these keys."""
    _, entries = row[column]
    return {key: checked.name(value) for key, value in entries if key in keys}


def parse_learned(text: str) -> dict[str, Any]:
    """Parse `fdb/show`: below a heading port, VLAN, MAC and age of each MAC that the bridge has seen."""
    rows = (line.split() for line in text.splitlines()[1:])
    return {"learned": frozenset((checked.number(vlan, _MOST_VLAN), _mac(mac)) for _, vlan, mac, _ in rows)}


def _mac(text: str) -> str:
    if not _MAC(text):
        raise BadAnswer("a MAC")
    return text


def _table(line: str) -> list[dict[str, Any]]:
    table = json.loads(line)
    return [dict(zip(table["headings"], row, strict=True)) for row in table["data"]]


def _ids(value: Any) -> list[str]:
    """Return the ids of the rows that a column refers to: one, or a set."""
    kind, content = value
    return [each for _, each in content] if kind == "set" else [content]


def _vlans(value: Any) -> list[int]:
    """Return the VLANs of a column: one, or a set."""
    found = value[1] if isinstance(value, list) else [value]
    if not all(type(vlan) is int and 0 <= vlan <= _MOST_VLAN for vlan in found):
        raise BadAnswer("VLANs")
    return found
