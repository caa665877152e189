"""Find ways from guests into a host's own IP stack: TAPs, gateway and DHCP ports (network/stack.py). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from inspection.facts import Device, DeviceSettings, Facts, Namespace
from network import stack

_CLOSED = DeviceSettings(ipv6=False, rp_filter=1)


def is_dropped(facts: Facts, slice_id: int, taps: Sequence[str]) -> bool:
    """Return whether all frames from the slice's TAPs are dropped before the host's IP stack.

    Slices of older versions have no TAPs without a link, and their tables do not name such.
    """
    there = [tap for tap in taps if tap in facts.devices]
    return facts.drops.get(slice_id) in {stack.listing(slice_id, taps), stack.listing(slice_id, there)}


def of_tap(tap: Device, facts: Facts) -> Iterator[str]:
    """Yield the ways from a TAP into the host's IP stack."""
    settings = facts.settings.get(tap.name, _CLOSED)
    if tap.arp:
        yield f"the host speaks ARP on {tap.name}"
    yield from _of_ipv6(tap.name, tap.ipv6, on=settings.ipv6)
    if not settings.rp_filter:
        yield f"{tap.name} has no reverse path filter"


def of_gateway(port: Device, facts: Facts) -> Iterator[str]:
    """Yield the ways from a gateway into the host's IP stack, except its IPv4 network."""
    yield from _of_ipv6(port.name, port.ipv6, on=facts.settings.get(port.name, _CLOSED).ipv6)
    yield from (what for what in ways(port.name, facts) if " default " in what)


def of_namespace(namespace: Namespace) -> Iterator[str]:
    """Yield the devices with IPv6 in a namespace of ours."""
    for name in dict.fromkeys([*namespace.ipv6, *(each.name for each in namespace.devices.values() if each.ipv6)]):
        yield f"{name} in {namespace.name} has IPv6"


def ways(device: str, facts: Facts) -> Iterator[str]:
    """Yield the host's routes and neighbours on a device of guests."""
    return (f"the host knows a way by {device}: {way}" for way in facts.ways.get(device, ()))


def _of_ipv6(name: str, addresses: Sequence[str], *, on: bool) -> Iterator[str]:
    if addresses:
        yield f"the host has the IPv6 address {', '.join(addresses)} on {name}"
    elif on:
        yield f"the host has IPv6 on {name}"
