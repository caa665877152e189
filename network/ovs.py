"""Ports of the Open vSwitch bridge br-int: added and read back many at once, for each `ovs-vsctl` takes its time.

A port without a tag carries every VLAN, so a port is never there without one: port, tag and mark are one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from remote.plan import Command
from shell.scripts import load

BRIDGE = "br-int"
OWNER = "cloud-repositorio"

# A port that hangs on a dead ovs-vswitchd would wait for ever.
_VSCTL = ("ovs-vsctl", "--timeout=20")

_CHECK_TAGS = load("bridge/check-tags")
_REMOVE_PORTS = load("bridge/remove-ports")
_CHECK_PORT_NAMES = load("bridge/check-port-names")
_CHECK_FREE_PORTS = load("bridge/check-free-ports")
_CHECK_FLOWS = load("bridge/check-flows")


@dataclass(frozen=True)
class Port:
    """A port on br-int. `internal`: an interface of the host itself; otherwise a device that is there already.

    `protected`: nothing goes from it to another protected port, whatever the switch has learned or forgotten.
    """

    name: str
    tag: int
    marks: tuple[tuple[str, str], ...] = ()
    internal: bool = False
    protected: bool = False


def add_ports(ports: Sequence[Port]) -> Command:
    """Adds the ports in one transaction, unless all of them are there with their tags and nothing else."""
    argv: list[str] = [*_VSCTL]
    for number, port in enumerate(ports):
        argv += ["--"] * (number > 0)
        # `--may-exist` leaves the tag of a port that is there as it is.
        settings = [f"tag={port.tag}", f"protected={_truth(port.protected)}"]
        argv += ["--may-exist", "add-port", BRIDGE, port.name, *settings]
        argv += ["--", "set", "Port", port.name, *settings, "trunks=[]", "vlan_mode=[]"]
        argv += ["--", "set", "Interface", port.name]
        argv += ["type=internal"] * port.internal
        argv += [f"external_ids:{key}={value}" for key, value in (("owner", OWNER), *port.marks)]
    return Command(tuple(argv), unless=carry_tags(ports))


def remove_ports(ports: Sequence[Port]) -> Command:
    """Removes those of the ports that carry our mark, in one transaction; waits until internal ones are gone."""
    how = "" if any(port.internal for port in ports) else "--no-wait"
    return Command(_REMOVE_PORTS.argv(how, *(port.name for port in ports)))


def are_ours(ports: Sequence[Port]) -> tuple[str, ...]:
    """Succeeds when those of the ports that are there carry our mark; otherwise says which does not."""
    return _CHECK_PORT_NAMES.argv(*(port.name for port in ports))


def are_free(ports: Sequence[Port]) -> tuple[str, ...]:
    """Succeeds when none of the ports is there; otherwise says which is."""
    return _CHECK_FREE_PORTS.argv(*(port.name for port in ports))


def add_flows(cookie: str, flows: Sequence[str]) -> Command:
    """Makes these the only flows marked with `cookie`, in one transaction, unless they are (ovs-ofctl(8), --bundle)."""
    lines = "\n".join((f"delete cookie={cookie}/-1", *(f"add {flow}" for flow in _marked(cookie, flows))))
    argv = ("ovs-ofctl", "--timeout=20", "--bundle", "add-flows", BRIDGE, "-")
    return Command(argv, lines, unless=have_flows(cookie, flows))


def remove_flows(cookie: str) -> Command:
    """Removes the flows that are marked with `cookie`."""
    return Command(("ovs-ofctl", "--timeout=20", "del-flows", BRIDGE, f"cookie={cookie}/-1"))


def have_flows(cookie: str, flows: Sequence[str]) -> tuple[str, ...]:
    """Succeeds when these and no others are marked with `cookie`; they are lost when ovs-vswitchd starts anew."""
    return _CHECK_FLOWS.argv(cookie, *_marked(cookie, flows))


def carry_tags(ports: Sequence[Port]) -> tuple[str, ...]:
    """Succeeds when all ports are there with their tags and carry no further VLAN, protected or not; or says which."""
    wanted = (f"{port.name},{port.tag},{_truth(port.protected)}" for port in ports)
    return _CHECK_TAGS.argv(*wanted)


def _marked(cookie: str, flows: Sequence[str]) -> Iterator[str]:
    return (f"cookie={cookie},{flow}" for flow in flows)


def _truth(value: bool) -> str:
    return "true" if value else "false"
