"""Network scenarios of Kathara: a `lab.conf`. Startup files beside it are never opened."""

from __future__ import annotations

import re

from topology.document import MAX_BYTES
from topology.imports.builder import Builder, ForeignSize

_SETTING = re.compile(r"\s*([A-Za-z0-9_.-]+)\s*\[\s*([A-Za-z0-9_]+)\s*\]\s*=(.*)", re.DOTALL)
_OF_LAB = re.compile(r"\s*LAB_([A-Z]+)\s*=(.*)", re.DOTALL)
_COMMENT = re.compile(r"\s#.*", re.DOTALL)
_QUOTES = "\"'\u201c\u201d"
_TAP = "tap"
_KEPT = {"image", "mem", "cpus", "bridged"}
_MEMORY = {"b": 1 / (1 << 30), "k": 1 / (1 << 20), "m": 1 / 1024, "g": 1.0, "": 1 / 1024}
"""Unit of memory -> GiB; Kathara and Netkit take a number without a unit as MiB."""

Settings = dict[str, list[str]]


def is_it(text: str) -> bool:
    """Return whether the text looks like a `lab.conf`."""
    return any(_setting(line, _SETTING) for line in text[:MAX_BYTES].splitlines())


def _setting(line: str, form: re.Pattern[str]) -> list[str] | None:
    """Return the parts of a line of this form, its value last; None where it is no such line."""
    found = form.fullmatch(line)
    value = _value(found[found.re.groups].strip()) if found else None
    return [*found.groups()[:-1], value] if found and value is not None else None


def _value(written: str) -> str | None:
    """Return a value without its quotes and the comment behind it; None where something else is behind it."""
    quote = written[:1]
    if quote in {'"', "'"} and quote in written[1:]:
        value, _, rest = written[1:].partition(quote)
        return value if not rest.strip() or rest.lstrip().startswith("#") else None
    return _COMMENT.sub("", f" {written}").strip().strip(_QUOTES)


def read(text: str, builder: Builder) -> tuple[str, str]:
    """Add the devices and collision domains of the text; return name and description."""
    devices: dict[str, Settings] = {}
    names: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if found := _setting(line, _SETTING):
            devices.setdefault(found[0], {}).setdefault(found[1], []).append(found[2])
        elif found := _setting(line, _OF_LAB):
            names[found[0]] = found[1]
        elif line.strip() and not line.lstrip().startswith("#"):
            builder.leave_out("lines that are no setting", f"line {number}", line)
    domains: dict[str, list[tuple[str, str]]] = {}
    for name, settings in devices.items():
        _device(builder, name, settings)
        for key in sorted(filter(str.isdecimal, settings), key=lambda key: (len(key), key)):
            domain = settings[key][-1].partition("/")[0]
            domains.setdefault(_outside(builder, name, domain), []).append((name, f"eth{int(key[:6]) + 1}"))
    for domain, ends in domains.items():
        builder.wire([*ends, (_TAP, "")] if domain == _TAP else ends)
    if any(key.isdecimal() for settings in devices.values() for key in settings):
        builder.notice("interfaces count from eth1: eth0 of Kathara is eth1 here")
    builder.notice("startup files beside lab.conf are left out")
    for key in sorted({*names} - {"NAME", "DESCRIPTION"}):
        builder.leave_out(f"`LAB_{key}`", "the file", names[key])
    return names.get("NAME", ""), names.get("DESCRIPTION", "")


def _outside(builder: Builder, name: str, domain: str) -> str:
    """Return the domain; all taps of Netkit, such as `tap,10.0.0.1,10.0.0.2`, are one way out."""
    if not domain.startswith(f"{_TAP},"):
        return domain
    builder.way_out(_TAP)
    builder.leave_out("addresses of taps", name, domain)
    return _TAP


def _device(builder: Builder, name: str, settings: Settings) -> None:
    last = {key: values[-1] for key, values in settings.items()}
    memory = re.fullmatch(r"([0-9]{1,9})([kmgb]?)b?", last.get("mem", "").lower())
    cores = re.fullmatch(r"[0-9]{1,3}(\.[0-9]+)?", last.get("cpus", ""))
    size = ForeignSize(float(cores[0]) if cores else 0.0, float(memory[1]) * _MEMORY[memory[2]] if memory else 0.0)
    builder.node(name, name, last.get("image", ""), size, internet=last.get("bridged", "").lower() == "true")
    for key, values in settings.items():
        for value in values:
            if not key.isdecimal() and key not in _KEPT:
                builder.leave_out(f"`{key}` of devices", name, value)
            elif key.isdecimal() and "/" in value:
                builder.leave_out("MACs of interfaces", name, value)
