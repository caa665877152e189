"""The TAPs of a slice's VMs on one worker: each interface has one, and those with a link are ports.

An interface gets a link later by its port, its TAP and QMP only: QEMU cannot give it another back end while it runs. A
TAP without a link is down, and no port: a port without a tag would carry every VLAN. Returns commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from core.names import BRIDGE, tap_name
from models import VM, Interface, Slice
from network import ovs
from remote.plan import Command, Part, about
from shell.scripts import load

BEFORE = "TAPs"
"""The name of the answer about the TAPs that exist before a change, and about those of them that are up."""

_TAPS_ARE_MADE = load("taps/taps-are-made")
_TAPS_ARE_UP = load("taps/taps-are-up")
_CHECK_TAPS = load("taps/check-taps")
_MAKE_TAPS = load("taps/make-taps")
_RAISE_TAPS = load("taps/raise-taps")
_LOWER_TAPS = load("taps/lower-taps")
_RAISE_TAPS_AGAIN = load("taps/raise-taps-again")
_REMOVE_TAPS = load("taps/remove-taps")
_CHECK_TAP_NAMES = load("taps/check-tap-names")


@dataclass(frozen=True)
class Taps:
    """The `names` of all TAPs in the order of the interfaces, and the `ports` of those that have a link.

    TAP and port have the same name.
    """

    names: tuple[str, ...]
    ports: tuple[ovs.Port, ...]

    @classmethod
    def of(cls, slice_: Slice, vms: Iterable[VM], shared: int, bridge: str = BRIDGE) -> Taps:
        """Return the TAPs of these VMs; `shared` is the internet VLAN, on which ports are protected."""
        nics = [(vm, nic) for vm in vms for nic in vm.interfaces]
        ports = (_port(slice_, vm, nic, shared, bridge) for vm, nic in nics)
        return cls(tuple(tap_name(vm.vm_id, nic.name) for vm, nic in nics), tuple(filter(None, ports)))

    @property
    def linked(self) -> tuple[str, ...]:
        """Return the names of the TAPs that have a link."""
        return ovs.names(self.ports)

    @property
    def loose(self) -> tuple[str, ...]:
        """Return the names of the TAPs that have no link."""
        linked = frozenset(self.linked)
        return tuple(name for name in self.names if name not in linked)

    def check_names(self) -> Command:
        """List, read-only, the TAPs that exist; fail where a device that is not ours has the name of one."""
        return Command(_CHECK_TAP_NAMES.argv(ovs.OWNER, *self.names), name=BEFORE)

    def make(self, user: str) -> Command:
        """Create the TAPs, which `user` may open and on which the worker itself is not; they are down."""
        words = tuple(self._states())
        return Command(_MAKE_TAPS.argv(ovs.OWNER, user, *words), unless=_TAPS_ARE_MADE.argv(ovs.OWNER, *words))

    def join(self) -> Command:
        """Make the TAPs with a link ports of their bridge, and no others."""
        return ovs.join_taps(self.ports, self.loose)

    def bring_up(self) -> Command:
        """Bring the TAPs with a link up, when their ports and the flows around them are there."""
        return Command(_RAISE_TAPS.argv(*self.linked), unless=_TAPS_ARE_UP.argv(*self.linked))

    def lower(self) -> Command:
        """Bring the TAPs with a link down, but for those that were up before the run."""
        lower = Command(_LOWER_TAPS.argv(ovs.OWNER), before=BEFORE)
        return about(lower, (Part(f"{name} up", (name,)) for name in self.linked))

    def check(self) -> Command:
        """Check, read-only, that each TAP is up if it has a link, down if not, and silent."""
        return Command(_CHECK_TAPS.argv(ovs.OWNER, *self._states()))

    def _states(self) -> Iterator[str]:
        """Yield the words that scripts know TAPs by: a state and a name."""
        linked = frozenset(self.linked)
        for name in self.names:
            yield from ("up" if name in linked else "down", name)


def raise_again() -> Command:
    """Bring the TAPs up again that were up before the run, when their ports and flows are as they were."""
    return Command(_RAISE_TAPS_AGAIN.argv(), before=BEFORE)


def remove_taps(names: Sequence[str], group: str) -> Command:
    """Remove those of the TAPs that carry our mark, all at once, as a separate group of devices."""
    remove = Command(_REMOVE_TAPS.argv(ovs.OWNER, group), before=BEFORE)
    return about(remove, (Part(name, (name,)) for name in names))


def _port(slice_: Slice, vm: VM, nic: Interface, shared: int, bridge: str) -> ovs.Port | None:
    if nic.vlan_id is None:
        return None
    marks = (("slice", str(slice_.slice_id)), ("vm", str(vm.vm_id)))
    link = slice_.link(nic.link_id)
    tunnel, protected = link is not None and link.transparent, nic.vlan_id == shared
    return ovs.Port(tap_name(vm.vm_id, nic.name), nic.vlan_id, marks, protected=protected, tunnel=tunnel, bridge=bridge)
