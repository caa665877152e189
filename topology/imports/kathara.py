"""Network scenarios of Kathara: a `lab.conf`. Startup files beside it are never opened."""

from __future__ import annotations

import re

from topology.document import MAX_BYTES
from topology.imports.builder import Builder, ForeignSize

_SETTING = re.compile(
    r"""\s*([A-Za-z0-9_.-]+)\s*\[\s*([A-Za-z0-9_]+)\s*\]\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s#]*))\s*(?:#.*)?"""
)
_OF_LAB = re.compile(r"""\s*LAB_([A-Z]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^#]*?))\s*(?:#.*)?""")
_MEMORY = {"k": 1 / (1 << 20), "m": 1 / 1024, "g": 1.0}


def is_it(text: str) -> bool:
    """Return whether the text looks like a `lab.conf`."""
    return any(_SETTING.fullmatch(line) for line in text[:MAX_BYTES].splitlines())


def read(text: str, builder: Builder) -> tuple[str, str]:
    """Add the devices and collision domains of the text; return name and description."""
    devices: dict[str, dict[str, str]] = {}
    names: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if found := _SETTING.fullmatch(line):
            devices.setdefault(found[1], {})[found[2]] = found[3] or found[4] or found[5] or ""
        elif found := _OF_LAB.fullmatch(line):
            names[found[1]] = found[2] or found[3] or found[4] or ""
        elif line.strip() and not line.lstrip().startswith("#"):
            builder.leave_out("lines that are no setting", f"line {number}", line)
    domains: dict[str, list[tuple[str, str]]] = {}
    for name, settings in devices.items():
        _device(builder, name, settings)
        for key in sorted(filter(str.isdecimal, settings), key=lambda key: (len(key), key)):
            domain = settings[key].partition("/")[0]
            domains.setdefault(domain, []).append((name, f"eth{int(key[:6]) + 1}"))
    for ends in domains.values():
        builder.wire(ends)
    if any(key.isdecimal() for settings in devices.values() for key in settings):
        builder.notice("interfaces count from eth1: eth0 of Kathara is eth1 here")
    builder.notice("startup files beside lab.conf are left out")
    for key in sorted({*names} - {"NAME", "DESCRIPTION"}):
        builder.leave_out(f"`LAB_{key}`", "the file", names[key])
    return names.get("NAME", ""), names.get("DESCRIPTION", "")


def _device(builder: Builder, name: str, settings: dict[str, str]) -> None:
    memory = re.fullmatch(r"([0-9]{1,9})([kmg]?)b?", settings.get("mem", "").lower())
    cores = re.fullmatch(r"[0-9]{1,3}(\.[0-9]+)?", settings.get("cpus", ""))
    ram = float(memory[1]) * _MEMORY.get(memory[2], 1 / (1 << 30)) if memory else 0.0
    outside = settings.get("bridged", "").lower() == "true"
    builder.node(
        name, name, settings.get("image", ""), ForeignSize(float(cores[0]) if cores else 0.0, ram), internet=outside
    )
    for key, value in settings.items():
        if not key.isdecimal() and key not in {"image", "mem", "cpus", "bridged"}:
            builder.leave_out(f"`{key}` of devices", name, value)
        elif key.isdecimal() and "/" in value:
            builder.leave_out("MACs of interfaces", name, value)
