"""Pictures of a slice: text for a terminal, Mermaid and DOT. Pure.

The text is a wiring diagram: a column for each VM and a line for each link, so that no link crosses another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from models import Slice, internet_interfaces
from topology.of_slice import link_names, quality_of_link

INTERNET = "internet"
WIDTH = 80
WIDEST_COLUMNS = 12
"""VMs that have a wide column; more get narrow ones."""
_ASCII = str.maketrans("\u2500\u25cf\u253c\u2502", "-o+|")
MOST_COLUMNS = 30
"""VMs that fit side by side; above, the links are listed."""


@dataclass(frozen=True)
class PictureEnd:
    """An interface on a link: the place of its VM, its name, and its address where it has one."""

    vm: int
    nic: str
    address: str = ""


@dataclass(frozen=True)
class PictureVM:
    """A VM: name, flavor and state."""

    name: str
    flavor: str
    state: str


@dataclass(frozen=True)
class PictureLink:
    """A link, a LAN, or the internet VLAN: its name, its network, its ends, and what is unusual about it."""

    name: str
    network: str
    ends: tuple[PictureEnd, ...]
    quality: str = ""

    @property
    def title(self) -> str:
        """Return the name, with what is unusual about the link."""
        return f"{self.name} ({self.quality})" if self.quality else self.name


@dataclass(frozen=True)
class Picture:
    """All that a picture shows of a slice."""

    title: str
    vms: tuple[PictureVM, ...]
    links: tuple[PictureLink, ...]


def picture_of(slice_: Slice) -> Picture:
    """Return the picture of a slice."""
    places = {vm.vm_id: place for place, vm in enumerate(slice_.vms)}
    vms = tuple(PictureVM(vm.name, vm.flavor_name or "", str(vm.status)) for vm in slice_.vms)
    links = []
    for link, name in zip(slice_.links, link_names(slice_), strict=True):
        with_addresses = zip(link.ends, slice_.addresses_on(link), strict=True)
        ends = tuple(PictureEnd(places[vm_id], nic, address or "") for (vm_id, nic), address in with_addresses)
        links.append(PictureLink(name, slice_.network_of(link).cidr, ends, quality_of_link(slice_, link)))
    online = [(vm, nic, nic.ip_config) for vm, nic in internet_interfaces(slice_) if nic.ip_config]
    if online:
        ends = tuple(PictureEnd(places[vm.vm_id], nic.name, address.ip) for vm, nic, address in online)
        links.append(PictureLink(INTERNET, online[0][2].cidr, ends))
    name = f": {slice_.name}" if slice_.name else ""
    return Picture(f"Slice {slice_.slice_id}{name} ({slice_.status})", vms, tuple(links))


# --- text -------------------------------------------------------------------------------------------------------------


def as_text(picture: Picture) -> list[str]:
    """Return the lines of the wiring diagram, and the VMs with their addresses; 80 columns for up to 12 VMs."""
    if not picture.vms:
        return [picture.title, "", "no VMs yet"]
    wires = diagram(picture) if len(picture.vms) <= MOST_COLUMNS else []
    return [picture.title, "", *wires, *([""] if wires else []), *_legend(picture)]


def in_ascii(lines: Iterable[str]) -> list[str]:
    """Return the lines of a picture for a terminal that has no other characters."""
    return [line.translate(_ASCII) for line in lines]


def diagram(picture: Picture) -> list[str]:
    """Return the wiring diagram: the numbers of the VMs, and a line for each link with its name."""
    column = 4 if len(picture.vms) <= WIDEST_COLUMNS else 2
    header = "".join(str(number).rjust(column) for number in range(1, len(picture.vms) + 1))
    rows = []
    for link in picture.links:
        wire = _wire(link, len(picture.vms), column)
        rows.append(_cut(f"{wire}   {link.title}"))
    return [header, *rows]


def _wire(link: PictureLink, vms: int, column: int) -> str:
    members = {end.vm for end in link.ends}
    first, last = min(members), max(members)
    drawn = ""
    for place in range(vms):
        inside = first < place <= last
        drawn += ("\u2500" if inside else " ") * (column - 1)
        if place in members:
            drawn += "\u25cf"
        else:
            drawn += "\u253c" if inside else "\u2502"
    return drawn


def _legend(picture: Picture) -> list[str]:
    names = max(len(vm.name) for vm in picture.vms)
    lines = []
    for place, vm in enumerate(picture.vms):
        lines.append(f"{place + 1:>4} {vm.name.ljust(names)}  {vm.state}  {vm.flavor}".rstrip())
        ends = [(link, end) for link in picture.links for end in link.ends if end.vm == place]
        for link, end in sorted(ends, key=lambda each: (len(each[1].nic), each[1].nic)):
            lines.append(f"     {end.nic:<5} {end.address:<15}  {link.name}".rstrip())
    return [_cut(line) for line in lines]


def _cut(line: str) -> str:
    """Return a line that fits; names of links may be longer."""
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."


# --- Mermaid and DOT --------------------------------------------------------------------------------------------------


def as_mermaid(picture: Picture) -> list[str]:
    """Return a flowchart of Mermaid (https://mermaid.js.org/syntax/flowchart.html)."""
    lines = ["---", f"title: {_quoted(picture.title)}", "---", "flowchart LR"]
    lines += [f'    vm{place}["{vm.name}<br/>{vm.state}"]' for place, vm in enumerate(picture.vms)]
    for number, link in enumerate(picture.links):
        if _is_wire(link):
            one, two = link.ends
            label = " ".join(filter(None, (one.nic, link.network, link.quality, two.nic)))
            lines.append(f'    vm{one.vm} ---|"{label}"| vm{two.vm}')
            continue
        lines.append(f'    link{number}{{{{"{link.title}<br/>{link.network}"}}}}')
        lines += [f'    vm{end.vm} ---|"{end.nic}"| link{number}' for end in link.ends]
    return lines


def as_dot(picture: Picture) -> list[str]:
    """Return an undirected graph of DOT (https://graphviz.org/doc/info/lang.html)."""
    lines = ["graph slice {", f"  label={_quoted(picture.title)};", '  node [shape=box, fontname="sans-serif"];']
    lines.append('  edge [fontname="sans-serif", fontsize=10];')
    lines += [f"  vm{place} [label={_quoted(vm.name + chr(10) + vm.state)}];" for place, vm in enumerate(picture.vms)]
    for number, link in enumerate(picture.links):
        if _is_wire(link):
            one, two = link.ends
            label = "\n".join(filter(None, (link.network, link.quality)))
            words = f"label={_quoted(label)}, taillabel={_quoted(one.nic)}, headlabel={_quoted(two.nic)}"
            lines.append(f"  vm{one.vm} -- vm{two.vm} [{words}];")
            continue
        lines.append(f"  link{number} [shape=ellipse, label={_quoted(link.title + chr(10) + link.network)}];")
        lines += [f"  vm{end.vm} -- link{number} [taillabel={_quoted(end.nic)}];" for end in link.ends]
    return [*lines, "}"]


def _is_wire(link: PictureLink) -> bool:
    return len(link.ends) == 2 and link.name != INTERNET


def _quoted(text: str) -> str:
    """Return a string of JSON, which YAML and DOT read as the same text; names have no characters to escape."""
    return '"' + text.replace("\\", "").replace('"', "'").replace("\n", "\\n") + '"'
