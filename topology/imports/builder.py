"""Build a design from the parts of a foreign topology; note what has no counterpart.

Foreign tools put nothing on a wire of their own, so imported links have `services: none`.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count
from math import isfinite
from typing import Any

from core.errors import Refused
from core.formats import MAX_NAME_LENGTH
from core.names import in_guests
from models import MAX_DATA_INTERFACES
from topology.design import Design, DesignedLink, DesignedVM, End
from topology.fields import DURATION, MAX_LINKS, MAX_VMS, PERCENT, RATE
from topology.kinds import Measure

LONGEST_COMMENT = 200
LONGEST_DESCRIPTION = 500
MOST_COMMENTS = 500

_MEASURES: Mapping[str, tuple[Measure, str, int]] = {
    "rate": (RATE, "kbit", 0),
    "delay": (DURATION, "ms", 6),
    "jitter": (DURATION, "ms", 6),
    "loss": (PERCENT, "%", 6),
}
"""Impairment -> its bound, the unit of foreign files, and the decimals that are kept."""

Attachment = tuple[str, str]
"""A node's key in its file, and the name of its interface there; empty where the file names none."""


@dataclass(frozen=True)
class ForeignSize:
    """The resources of a node: cores, and memory in GiB; 0 where its file does not say."""

    cores: float = 0
    ram_gb: float = 0


@dataclass(frozen=True)
class Flavors:
    """How kinds of nodes become flavors: a table, the sizes of all flavors, and the default."""

    sizes: Mapping[str, ForeignSize]
    kinds: Mapping[str, str] = field(default_factory=dict)
    default: str = "cirros"

    def choose(self, kind: str, wanted: ForeignSize) -> str:
        """Return the flavor of a kind: that of the table, else the smallest that has the size, else the default."""
        if kind in self.kinds:
            return self.kinds[kind]
        if wanted == ForeignSize():
            return self.default
        return min(self._fitting(wanted), default=(0, 0, self.default))[2]

    def lacks(self, kind: str, wanted: ForeignSize) -> bool:
        """Return whether the size of a node decides on its flavor, and no flavor has it."""
        return kind not in self.kinds and wanted != ForeignSize() and not self._fitting(wanted)

    def _fitting(self, wanted: ForeignSize) -> list[tuple[float, float, str]]:
        return [
            (size.ram_gb, size.cores, name)
            for name, size in self.sizes.items()
            if size.ram_gb >= wanted.ram_gb and size.cores >= wanted.cores
        ]


@dataclass
class _Node:
    name: str
    flavor: str
    internet: bool = False
    named: set[int] = field(default_factory=set)
    """The data interfaces that the file names, eth1 to eth10; others are given in order around them."""
    used: set[int] = field(default_factory=set)

    def next_nic(self, interface: str) -> int | None:
        """Return the data interface for one of the file: the same where it is named so, else the next free one."""
        free = [nic for nic in range(1, MAX_DATA_INTERFACES + 1) if nic not in self.used]
        nic = _number(interface)
        if nic not in free:
            nic = next((each for each in free if each not in self.named), free[0] if free else None)
        if nic is not None:
            self.used.add(nic)
        return nic


@dataclass
class Imported:
    """A design, a sentence for each kind of thing that was left out, and a comment for each thing."""

    design: Design
    notices: list[str]
    comments: list[str]


@dataclass
class Builder:
    """Nodes and links as they are found. Segments are switches, hubs, bridges and collision domains."""

    flavors: Flavors
    _nodes: dict[str, _Node] = field(default_factory=dict)
    _segments: dict[str, str] = field(default_factory=dict)
    """Segment -> the segment that it is joined with, or itself."""
    _ways_out: set[str] = field(default_factory=set)
    _wires: list[tuple[list[Attachment], Mapping[str, str], str]] = field(default_factory=list)
    _notices: dict[str, None] = field(default_factory=dict)
    _renamed: bool = False
    _comments: list[str] = field(default_factory=list)
    """A line for each thing that was left out or renamed; `build` cuts them to `MOST_COMMENTS`."""

    # --- what a file has ----------------------------------------------------------------------------------------------

    def node(
        self, key: str, name: str, kind: str, wanted: ForeignSize = ForeignSize(), *, internet: bool = False
    ) -> None:
        """Add a node that becomes a VM."""
        if len(self._nodes) == MAX_VMS:
            raise Refused(f"the file has more than {MAX_VMS} nodes; divide it")
        flavor = self.flavors.choose(kind, wanted)
        if kind and kind not in self.flavors.kinds:
            self.notice(f"nodes of the kind {shown(kind)} get the flavor {flavor}; `import:` can name another")
        if self.flavors.lacks(kind, wanted):
            size = {"cores": f"{wanted.cores:g}", "ram_gb": f"{wanted.ram_gb:g}"}
            self.leave_out("cores and memory that no flavor has", name or key, size)
        self._nodes[key] = _Node(self._name(name or key), flavor, internet)

    def segment(self, key: str) -> None:
        """Add a switch: all that is wired to it is one LAN."""
        self._segments.setdefault(key, key)

    def way_out(self, key: str) -> None:
        """Add a node that leads outside: VMs that are wired to it get eth0 on the internet VLAN."""
        self._ways_out.add(key)

    def wire(self, ends: Iterable[Attachment], impairments: Mapping[str, str] | None = None, state: str = "up") -> None:
        """Add a link between nodes, segments and ways out, by their keys."""
        if len(self._wires) == MAX_LINKS:
            raise Refused(f"the file has more than {MAX_LINKS} links; divide it")
        self._wires.append((list(ends), impairments or {}, state))

    def impairments(self, where: str, **values: Any) -> dict[str, str]:
        """Return rate, delay, jitter and loss of a link with their units; leave out values that no link can have.

        A value that is missing, empty or 0 is no impairment.
        """
        found = {}
        for name, value in values.items():
            measure, unit, decimals = _MEASURES[name]
            rounded = _rounded(value, decimals)
            if 0 < rounded <= measure.most:
                written = f"{rounded:.{decimals}f}"
                found[name] = (written.rstrip("0").rstrip(".") if decimals else written) + unit
            elif value and not _is_zero(value):
                least = f"{10**-decimals:.{decimals}f}"
                self.leave_out(f"`{name}` of links that is not {least} to {measure.most:.0f} {unit}", where, value)
        return found

    def leave_out(self, what: str, where: str, value: Any) -> None:
        """Note something without a counterpart: a sentence once for its kind, a comment for each."""
        what = "".join(each if each.isascii() and each.isprintable() else "?" for each in what[:60])
        self.notice(f"left out: {what}")
        quoted = json.dumps(value, ensure_ascii=True)[:LONGEST_COMMENT]
        self._comments.append(f"left out: {what} of {shown(where)}: {quoted}"[:LONGEST_COMMENT])

    def notice(self, sentence: str) -> None:
        """Note a sentence, once."""
        self._notices[sentence] = None

    # --- the design ---------------------------------------------------------------------------------------------------

    def build(self, name: str, description: str = "") -> Imported:
        """Return the design of all that was found; raise `Refused` where there is no node."""
        if not self._nodes:
            raise Refused("the file has no node that could become a VM")
        self._join_segments()
        self._keep_names()
        links = self._links()
        vms = [self._vm(node, links) for node in self._nodes.values()]
        design = Design(self._slice_name(name), tuple(vms), tuple(links), self._description(description))
        if len(self._comments) > MOST_COMMENTS:
            things = f"{len(self._comments)} things that were left out or renamed"
            self.notice(f"comments name the first {MOST_COMMENTS} of {things}")
        return Imported(design, [*self._notices], self._comments[:MOST_COMMENTS])

    def _links(self) -> list[DesignedLink]:
        lans: dict[str, list[Attachment]] = defaultdict(list)
        links: list[DesignedLink] = []
        for ends, impairments, state in self._wires:
            known = [end for end in ends if end[0] in self._nodes]
            switches = {self._root(key) for key, _ in ends if key in self._segments}
            outside = any(key in self._ways_out for key, _ in ends)
            if outside:
                self._lead_out(known)
                self._ways_out |= switches
            for switch in switches:
                lans[switch] += known
            if not switches:
                links += self._link(known, ends, impairments, state)
            if (switches or outside) and (impairments or state != "up"):
                where = self._nodes[known[0][0]].name if known else ends[0][0]
                what = "delay, loss, rate and state of wires to switches or outside"
                self.leave_out(what, where, {**impairments, "state": state})
        for switch, attached in lans.items():
            ends = attached
            if switch in self._ways_out:
                self._lead_out(attached)
                ends = [*attached, (switch, "")]
            links += self._link(attached, ends, {}, "up")
        return links

    def _vm(self, node: _Node, links: Iterable[DesignedLink]) -> DesignedVM:
        highest = max((end.nic for link in links for end in link.ends if end.vm == node.name), default=0)
        return DesignedVM(node.name, node.flavor, min(highest + 1, MAX_DATA_INTERFACES), internet=node.internet)

    def _lead_out(self, attached: Iterable[Attachment]) -> None:
        for key, _ in attached:
            self._nodes[key].internet = True

    def _keep_names(self) -> None:
        for key, interface in (end for ends, _, _ in self._wires for end in ends):
            if key in self._nodes and (nic := _number(interface)):
                self._nodes[key].named.add(nic)

    def _join_segments(self) -> None:
        for ends, _, _ in self._wires:
            roots = [self._root(key) for key, _ in ends if key in self._segments]
            for root in roots[1:]:
                self._segments[root] = self._root(roots[0])

    def _root(self, key: str) -> str:
        while self._segments[key] != key:
            key = self._segments[key]
        return key

    def _link(
        self, known: list[Attachment], ends: list[Attachment], impairments: Mapping[str, str], state: str
    ) -> list[DesignedLink]:
        """Return a link between the nodes, or none where fewer than two are left."""
        members: dict[str, str] = {}
        for key, interface in known:
            if key in members:
                self.leave_out("second interfaces of a node on one link", self._nodes[key].name, interface)
            members.setdefault(key, interface)
        taken = self._taken(members) if len(members) > 1 else []
        if len(taken) < 2:
            if ends and not any(key in self._ways_out for key, _ in ends):
                named = [[self._nodes[key].name if key in self._nodes else key, interface] for key, interface in ends]
                self.leave_out("links with fewer than two VMs", named[0][0], named)
            return []
        received = {key: dict.fromkeys((end.vm for end in taken), value) for key, value in impairments.items()}
        return [DesignedLink(tuple(taken), services="none", impairments=received, state=state)]

    def _taken(self, members: Mapping[str, str]) -> list[End]:
        """Return an end for each node that has a free data interface."""
        taken = []
        for key, interface in members.items():
            node = self._nodes[key]
            nic = node.next_nic(interface)
            if nic is None:
                self.leave_out(f"interfaces above {MAX_DATA_INTERFACES} of a node", node.name, interface)
                continue
            if interface and interface != f"eth{nic}":
                self.notice("interfaces have other names: they are eth1 to eth10, in the order of the links")
            taken.append(End(node.name, nic))
        return taken

    def _slice_name(self, name: str) -> str:
        clean = _clean(name or "imported")
        if name and clean != name:
            self.notice(f"the slice is called {clean}")
        return clean

    def _name(self, name: str) -> str:
        taken = {in_guests(node.name) for node in self._nodes.values()}
        clean = _clean(name)
        for number in count(2):
            if in_guests(clean) not in taken:
                break
            clean = f"{_clean(name)[: MAX_NAME_LENGTH - 5]}-{number}"
        if clean != name:
            if not self._renamed:
                self.notice(f"names that a VM cannot have are changed, such as {shown(name)} to {clean}")
            self._renamed = True
            self._comments.append(f"the name {shown(name)} is {clean} here")
        return clean

    def _description(self, text: str) -> str:
        line = "".join(each if each.isprintable() else " " for each in text).strip()
        if len(line) > LONGEST_DESCRIPTION:
            self.notice(f"the description is cut to {LONGEST_DESCRIPTION} characters")
        return line[:LONGEST_DESCRIPTION].strip()


def shown(word: str) -> str:
    """Return a word of the file in quotes, escaped and cut."""
    return json.dumps(word)[:60]


def _rounded(value: Any, decimals: int) -> float:
    """Return a text as a rounded number, or 0 where it is no finite number."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return 0.0
    return round(found, decimals) if isfinite(found) else 0.0


def _is_zero(value: Any) -> bool:
    """Return whether a text is a number that is exactly 0."""
    try:
        return float(value) == 0
    except (TypeError, ValueError):
        return False


def _number(interface: str) -> int | None:
    """Return the number of a data interface that is called eth1 to eth10."""
    found = re.fullmatch(r"eth([1-9]|10)", interface)
    return int(found[1]) if found else None


def _clean(name: str) -> str:
    clean = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:MAX_NAME_LENGTH].rstrip("-_")
    return clean if re.match(r"[A-Za-z]", clean) else f"n{clean}"[:MAX_NAME_LENGTH]
