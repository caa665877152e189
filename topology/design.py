"""A design: VMs and links with all defaults filled in, as a slice file, a template or a slice gives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from core.goals import Goal
from core.impairments import KINDS
from core.links import SERVICES
from core.status import LinkState

STATES = tuple(map(str, LinkState))
STARTS = ("auto", "manual")
IMPAIRMENTS = KINDS


@dataclass(frozen=True)
class Seed:
    """First-boot data of a VM (cloud-init): a script, and a mapping that is merged into ours."""

    script: str = ""
    user_data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DesignedVM:
    """A VM. `nics` is the number of its data interfaces, eth1 and up; where its author named none, more are as good."""

    name: str
    flavor: str
    nics: int
    internet: bool = False
    seed: Seed = Seed()
    start: str = "auto"
    nics_named: bool = field(default=True, compare=False)


@dataclass(frozen=True)
class End:
    """An interface of a VM on a link. Where its author did not name the interface, another one is as good."""

    vm: str
    nic: int
    named: bool = field(default=True, compare=False)

    def __str__(self) -> str:
        return f"{self.vm}:eth{self.nic}"


@dataclass(frozen=True)
class DesignedLink:
    """A layer-2 link with two ends, or a LAN with more.

    `name` is empty for the default name. `addresses` are fixed addresses by VM. `impairments` holds, by name of
    `IMPAIRMENTS`, what each VM receives: VM -> value, as it is written in the file.
    """

    ends: tuple[End, ...]
    name: str = ""
    services: str = SERVICES[0]
    cidr: IPv4Network | None = None
    addresses: Mapping[str, IPv4Address] = field(default_factory=dict)
    impairments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    state: str = STATES[0]
    transparent: bool = False

    @property
    def is_lan(self) -> bool:
        """Return whether the link has more than two ends."""
        return len(self.ends) > 2


@dataclass(frozen=True)
class Design:
    """A slice as its author thinks of it: no ids, no MACs, no hosts."""

    name: str
    vms: tuple[DesignedVM, ...]
    links: tuple[DesignedLink, ...] = ()
    description: str = ""
    goals: tuple[Goal, ...] = ()

    def link_names(self) -> list[str]:
        """Return the name of each link: its own, or the default one.

        A link is called `A-B` after its VMs, a second one `A-B.2`; a LAN `lanN` in the order of the file.
        """
        taken = {link.name for link in self.links if link.name}
        names, lans = [], 0
        for link in self.links:
            lans += link.is_lan
            stem = f"lan{lans}" if link.is_lan else "-".join(end.vm for end in link.ends)
            name, number = link.name or stem, 2
            while not link.name and name in taken:
                name, number = f"{stem}.{number}", number + 1
            taken.add(name)
            names.append(name)
        return names
