"""Goals in slice files: what a file says of them, and the parts of the slice that they name. Pure; nothing is run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from core.formats import is_address, seconds_of
from core.goals import CHECKS, DEFAULT_SECONDS, MOST_SECONDS, OUTSIDE, Goal
from topology.design import Design, DesignedVM
from topology.faults import FoundFaults, shown
from topology.kinds import Held

_PLACES = {"sees": "on", "run": "on", **dict.fromkeys(("ping", "tcp", "http", "dns", "refuses"), "from")}
"""The kinds of goals that are checked from a place, and the key that names it."""

_MEANINGS = {"on": "the interface that `sees` looks at, or the VM in which `run` runs", "from": "the link of the probe"}

_KEYS = {"on": "on", "from": "source", "expect": "expect", "points": "points"}
_KEYS |= {"pass": "when_met", "fail": "when_not_met", "stop": "stop"}
"""Key of the file -> that of `Goal`, where both have the same value."""

_LAST_PORT = 65_535


def read_goals(report: FoundFaults, goals: Iterable[Held], design: Design, *, whole: bool) -> tuple[Goal, ...]:
    """Return the goals of a file for the design of its VMs and links, and report their faults.

    Without `whole` some links of the file are not in the design, so a missing link is no fault of a goal.
    """
    read, parts = [], _Parts(design)
    seen: dict[str, int] = {}
    for line, (values, readable) in goals:
        _check_name(report, values, seen)
        if readable:
            _check_keys(report, line, values)
        if not (goal := _goal(report, values)):
            continue
        read.append(goal)
        for each in parts.missing(goal):
            if whole or each.key != "from":
                held = values[each.key]
                report.add(held.line, f"{each.sentence}{report.guess(each.word, each.known)}")
    return tuple(read)


def written(goal: Goal) -> dict[str, Any]:
    """Return a goal as a slice file has it, without defaults."""
    kept = goal.to_dict()
    target = list(goal.targets) if goal.check == "booted" else goal.targets[0]
    record = {"name": goal.name, goal.check: target}
    record |= {word: kept[_KEYS[word]] for word in ("on", "from", "expect") if _KEYS[word] in kept}
    if goal.within != DEFAULT_SECONDS:
        record["within"] = f"{goal.within}s"
    return record | {word: kept[_KEYS[word]] for word in ("points", "pass", "fail", "stop") if _KEYS[word] in kept}


def missing(design: Design) -> list[str]:
    """Return a sentence for each part that a goal names and the design does not have."""
    parts = _Parts(design)
    return [f"goal {goal.name}: {each.sentence}" for goal in design.goals for each in parts.missing(goal)]


def kept(old: Design, links: Sequence[int], new: Design) -> Design:
    """Return `new` with the goals of `old` that it has all parts for.

    `links` are the places in `old` of the first links of `new`. A link without a name may be called otherwise there.
    """
    before, after = old.link_names(), new.link_names()
    names = dict.fromkeys(before, "") | {before[place]: name for place, name in zip(links, after, strict=False)}
    gone = {vm.name for vm in old.vms} - {vm.name for vm in new.vms}
    found = (_moved(goal, names, gone) for goal in old.goals)
    parts = _Parts(new)
    return replace(new, goals=tuple(goal for goal in found if goal.targets and not any(parts.missing(goal))))


def _moved(goal: Goal, names: Mapping[str, str], gone: set[str]) -> Goal:
    """Return a goal with the new name of its link, and without the VMs that have gone from a list of them."""
    source = names.get(goal.source, goal.source)
    if goal.source and not source:
        return replace(goal, targets=())
    targets = tuple(vm for vm in goal.targets if goal.check != "booted" or vm not in gone)
    return replace(goal, source=source, targets=targets)


# --- reading ----------------------------------------------------------------------------------------------------------


def _check_name(report: FoundFaults, values: Mapping[str, Held], seen: dict[str, int]) -> None:
    if "name" not in values:
        return
    line, name = values["name"]
    if name in seen:
        report.add(line, f"a goal is called {name} in line {seen[name]} already; choose another name")
    seen.setdefault(name, line)


def _check_keys(report: FoundFaults, line: int, values: Mapping[str, Held]) -> None:
    """Report keys that contradict each other, or are missing."""
    checks = [key for key in CHECKS if key in values]
    if len(checks) != 1:
        report.add(line, f"a goal has exactly one of {', '.join(CHECKS)}")
    if "expect" in values and "run" not in values:
        report.add(values["expect"].line, "`expect` belongs to `run`: add the command")
    places = {_PLACES[check] for check in checks if check in _PLACES}
    for key, meaning in _MEANINGS.items():
        if key in places and key not in values:
            report.add(line, f"`{checks[0]}` needs `{key}`: {meaning}")
        elif key in values and checks and key not in places:
            report.add(values[key].line, f"`{key}` does not belong to `{checks[0]}`; remove it")


def _goal(report: FoundFaults, values: Mapping[str, Held]) -> Goal | None:
    """Return the goal of these keys; None where it has no name or no target."""
    check = next((key for key in CHECKS if key in values), "")
    if not check or "name" not in values:
        return None
    line, target = values[check]
    targets = tuple(held.value for held in target) if check == "booted" else (target,)
    if not all(targets) or not targets:
        report.add(line, f"`{check}` names nothing; write what has to be reached, or remove the goal")
        return None
    others = {name: values[key].value for key, name in _KEYS.items() if key in values}
    return Goal(values["name"].value, check, targets, within=_seconds(report, values), **others)


def _seconds(report: FoundFaults, values: Mapping[str, Held]) -> int:
    if "within" not in values:
        return DEFAULT_SECONDS
    line, word = values["within"]
    seconds = int(seconds_of(word))
    if seconds > MOST_SECONDS:
        report.add(line, f"{shown(word)} is too long; a goal is tried for at most {MOST_SECONDS // 60}m")
    return seconds


# --- the parts that goals name ----------------------------------------------------------------------------------------


class _Missing(NamedTuple):
    """A part that does not exist: the key that names it, a sentence, its word, and the words that exist."""

    key: str
    sentence: str
    word: str
    known: Iterable[str] = ()


@dataclass
class _Parts:
    """The VMs, interfaces and links of a design."""

    design: Design

    def __post_init__(self) -> None:
        self._vms = {vm.name: vm for vm in self.design.vms}
        self._links = {*self.design.link_names(), OUTSIDE}
        self._linked = {str(end) for link in self.design.links for end in link.ends}

    def missing(self, goal: Goal) -> Iterator[_Missing]:
        """Yield the parts that a goal names and the design does not have."""
        target = goal.targets[0]
        match goal.check:
            case "booted":
                for name in goal.targets:
                    yield from self._vm("booted", name)
            case "lease":
                yield from self._interface("lease", target)
            case "ping" | "tcp" | "http" | "refuses":
                yield from self._host(goal.check, target)
        if goal.on:
            yield from self._interface("on", goal.on) if goal.check == "sees" else self._vm("on", goal.on)
        if goal.source:
            yield from self._link(goal.source)

    def _vm(self, key: str, name: str) -> Iterator[_Missing]:
        if name not in self._vms:
            yield _Missing(key, f"there is no VM {shown(name)}", name, self._vms)

    def _interface(self, key: str, word: str) -> Iterator[_Missing]:
        name, _, nic = word.partition(":")
        if name not in self._vms:
            yield from self._vm(key, name)
        elif not nic:
            yield _Missing(key, f"name the interface of {name} as well, such as {name}:eth1", "")
        elif nic not in _interfaces(self._vms[name]):
            yield _Missing(key, f"{name} has no {nic}; it has {', '.join(_interfaces(self._vms[name])) or 'none'}", "")

    def _link(self, word: str) -> Iterator[_Missing]:
        if word not in self._links | self._linked:
            yield _Missing("from", f"there is no link {shown(word)}", word, self._links)

    def _host(self, key: str, target: str) -> Iterator[_Missing]:
        """Yield what is wrong with the host and the port of a target such as `tcp srv:22` or `http://srv/`."""
        kind = key
        if key == "refuses":
            kind, _, target = target.partition(" ")
        if kind == "dns":
            return
        host, _, rest = target.removeprefix("http://").removeprefix("https://").partition("/")[0].partition(":")
        if not _is_elsewhere(host):
            yield from self._interface(key, f"{host}:{rest}") if kind == "ping" and rest else self._vm(key, host)
        elif host.replace(".", "").isdigit() and not is_address(host):
            yield _Missing(key, f"{shown(host)} is no IPv4 address", "")
        if kind != "ping" and rest and not 0 < int(rest) <= _LAST_PORT:
            yield _Missing(key, f"there is no port {rest}; the last one is {_LAST_PORT}", "")


def _interfaces(vm: DesignedVM) -> list[str]:
    first = 0 if vm.internet else 1
    return [f"eth{number}" for number in range(first, vm.nics + 1)]


def _is_elsewhere(host: str) -> bool:
    """Return whether a word is an address or the name of a host in DNS, and no VM of the slice."""
    return "." in host
