"""Ports of a bridge of Open vSwitch, mostly br-int, added and read back in groups, because each `ovs-vsctl` takes time.

A port without a tag carries every VLAN. Therefore port, tag and mark are set in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from core.names import BRIDGE
from remote.plan import Command, Part, about
from shell.scripts import load

OWNER = "cloud-repositorio"

PORTS, FLOWS = "ports", "flows"
"""The names of the answers before a change: existing ports, and the slice's flows."""

# Without a timeout ovs-vsctl waits for ever for a dead ovs-vswitchd.
_VSCTL = ("ovs-vsctl", "--timeout=20")

# A guest's own tag stays inside ours (IEEE 802.1ad); both have the type of 802.1Q, which every switch passes.
_ACCESS, _TUNNEL = ("vlan_mode=[]",), ("vlan_mode=dot1q-tunnel", "other_config:qinq-ethtype=802.1q")

_JOIN_TAPS = load("bridge/join-taps")
_CHECK_TAGS = load("bridge/check-tags")
_REMOVE_PORTS = load("bridge/remove-ports")
_CHECK_PORT_NAMES = load("bridge/check-port-names")
_CHECK_FREE_PORTS = load("bridge/check-free-ports")
_CHECK_FLOWS = load("bridge/check-flows")
_LIST_FLOWS = load("bridge/list-flows")
_PUT_BACK_FLOWS = load("bridge/put-back-flows")


@dataclass(frozen=True)
class Port:
    """A port on a bridge.

    `internal`: an interface of the host itself; otherwise an existing device. `protected`: no frame passes from it to
    another protected port, whatever the switch has learned or forgotten. `tunnel`: frames with tags of their own pass
    inside the tag of the port.
    """

    name: str
    tag: int
    marks: tuple[tuple[str, str], ...] = ()
    internal: bool = False
    protected: bool = False
    tunnel: bool = False
    bridge: str = BRIDGE


def names(ports: Iterable[Port]) -> tuple[str, ...]:
    """Return the names of the ports."""
    return tuple(port.name for port in ports)


def add_ports(ports: Sequence[Port]) -> Command:
    """Add the ports in one transaction, unless all exist with exactly their tags."""
    return Command((*_VSCTL, *_setting(ports)), unless=check_tags(ports))


def join_taps(ports: Sequence[Port], loose: Sequence[str]) -> Command:
    """Add the ports of TAPs with their tags, and remove those of `loose` TAPs, which have no link, in one transaction.

    A TAP without its port, or with a wrong one, goes down before: it comes up when the flows around it are there.
    """
    remove = (word for name in loose for word in ("--", "--if-exists", "del-port", name))
    wanted = _wanted(ports, loose)
    words = (*_setting(ports), *remove)
    transaction = words if ports else words[1:]
    return Command(_JOIN_TAPS.argv(str(len(wanted)), *wanted, *transaction), unless=check_tags(ports, loose))


def _setting(ports: Sequence[Port]) -> tuple[str, ...]:
    """Return the words of the transaction that adds the ports."""
    argv: list[str] = []
    for number, port in enumerate(ports):
        argv += ["--"] * (number > 0)
        # `--may-exist` does not change the tag of an existing port.
        settings = [f"tag={port.tag}", f"protected={_truth(port.protected)}"]
        argv += ["--may-exist", "add-port", port.bridge, port.name, *settings]
        argv += ["--", "set", "Port", port.name, *settings, "trunks=[]", *(_TUNNEL if port.tunnel else _ACCESS)]
        argv += ["--", "set", "Interface", port.name]
        argv += ["type=internal"] * port.internal
        argv += [f"external_ids:{key}={value}" for key, value in (("owner", OWNER), *port.marks)]
    return tuple(argv)


def remove_ports(names: Sequence[str], *, internal: bool = False) -> Command:
    """Remove those of the ports that carry our mark, in one transaction; wait until internal ones are gone."""
    remove = Command(_REMOVE_PORTS.argv("" if internal else "--no-wait"), before=PORTS)
    return about(remove, (Part(name, (name,)) for name in names))


def check_port_names(names: Iterable[str]) -> Command:
    """List, read-only, the existing ports of these names; fail with the name of one without our mark."""
    return Command(_CHECK_PORT_NAMES.argv(*names), name=PORTS)


def check_free_ports(names: Iterable[str]) -> tuple[str, ...]:
    """Check, read-only, that none of the ports exists; fail with the name of one that does."""
    return _CHECK_FREE_PORTS.argv(*names)


def replace_flows(bridge: str, cookie: str, flows: Sequence[str]) -> Command:
    """Replace the flows marked with `cookie` in one transaction (ovs-ofctl(8), --bundle), unless they are equal."""
    lines = "\n".join((f"delete cookie={cookie}/-1", *(f"add {flow}" for flow in _marked(cookie, flows))))
    argv = ("ovs-ofctl", "--timeout=20", "--bundle", "add-flows", bridge, "-")
    return Command(argv, lines, unless=check_flows(bridge, cookie, flows))


def undo_flows(bridge: str, cookie: str) -> Command:
    """Remove the flows with the mark `cookie`, or put back those that were replaced."""
    return Command(_PUT_BACK_FLOWS.argv(bridge, cookie), before=FLOWS)


def list_flows(bridge: str, cookie: str) -> Command:
    """List, read-only, the flows with the mark `cookie`, as `add-flows` reads them."""
    return Command(_LIST_FLOWS.argv(bridge, cookie), name=FLOWS)


def check_flows(bridge: str, cookie: str, flows: Sequence[str]) -> tuple[str, ...]:
    """Check, read-only, that exactly these flows have the mark `cookie`; a restart of ovs-vswitchd loses them."""
    return _CHECK_FLOWS.argv(bridge, cookie, *_marked(cookie, flows))


def check_tags(ports: Sequence[Port], loose: Sequence[str] = ()) -> tuple[str, ...]:
    """Check, read-only, that all ports have exactly their tags and protection; fail with the name of another.

    The `loose` TAPs must be no ports.
    """
    return _CHECK_TAGS.argv(*_wanted(ports, loose))


def _wanted(ports: Sequence[Port], loose: Sequence[str]) -> list[str]:
    """Return the words by which scripts know the ports; one without a tag must not be there."""
    set_ = [
        f"{port.name},{port.tag},{_truth(port.protected)}{',[],dot1q-tunnel' if port.tunnel else ''}" for port in ports
    ]
    return [*set_, *(f"{name},-" for name in loose)]


def _marked(cookie: str, flows: Sequence[str]) -> Iterator[str]:
    return (f"cookie={cookie},{flow}" for flow in flows)


def _truth(value: bool) -> str:
    return "true" if value else "false"
