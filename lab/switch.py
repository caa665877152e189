"""The two Linux bridges of a lab, in their own network namespace, and the cables from hosts to them.

A cable is a veth pair. Both ends are created in their namespaces, so the machine's own namespace never has one.
"""

from __future__ import annotations

from collections.abc import Iterable

from lab.command import run
from lab.node import Node
from lab.topology import (
    DATA,
    DATA_PORT,
    MANAGER,
    MGMT,
    MGMT_PORT,
    MGMT_PREFIX,
    TUNNEL,
    UNDERLAY_MTU,
    LabHost,
    switch_port,
)

# A slow cable ends in the first port; the second is its end in the bridge.
RELAY_PORTS = ("relay-cable", "relay-bridge")
MANAGER_PORT = switch_port(MANAGER, MGMT)


def start(node: Node) -> None:
    """Start the namespace that holds the bridges; a plain Linux bridge passes tagged frames."""
    node.start(["--net"], ["lab.hold", str(node.folder), MGMT, DATA])


def _ip(node: Node, lines: Iterable[str]) -> str:
    return run([*node.enter("--net"), "ip", "-oneline", "-batch", "-"], stdin="\n".join(lines) + "\n")


def is_plugged(switch: Node, host: LabHost) -> bool:
    """Return whether all cables of the host are in their bridges, which is the last act of `plug`."""
    ports = _ip(switch, (f"link show master {bridge}" for bridge in (MGMT, DATA)))
    return all(f" {switch_port(host.name, bridge)}@" in ports for bridge in host.cables.values())


def plug(switch: Node, host: LabHost, node: Node, underlay: str) -> None:
    """Replace the host's cables and give its management port the address and the default route."""
    ports = {port: switch_port(host.name, bridge) for port, bridge in host.cables.items()}
    # Remains of a dead host or switch may still exist: the kernel removes namespaces with a delay.
    for port, end in ports.items():
        run([*switch.enter("--net"), "ip", "link", "del", end], check=False)
        run([*node.enter("--net"), "ip", "link", "del", port], check=False)
    _ip(
        switch,
        (
            f"link add {end} type veth peer name {port} address {host.mac(port)} netns {node.pid}"
            for port, end in ports.items()
        ),
    )
    wide = [DATA_PORT] if underlay == TUNNEL and host.is_node else []
    lines = [*(f"link set {port} mtu {UNDERLAY_MTU}" for port in wide), *(f"link set {port} up" for port in ports)]
    lines.append(f"address add {host.address}/{MGMT_PREFIX} dev {MGMT_PORT}")
    if host.gateway:
        lines.append(f"route add default via {host.gateway} dev {MGMT_PORT}")
    _ip(node, lines)
    _ip(
        switch,
        (
            *(f"link set {ports[port]} mtu {UNDERLAY_MTU}" for port in wide),
            *(f"link set {end} up master {host.cables[port]}" for port, end in ports.items()),
        ),
    )


def set_management_link(switch: Node, host: LabHost, state: str) -> None:
    """Set the switch's end of the management cable `up` or `down`."""
    _ip(switch, [f"link set {switch_port(host.name, MGMT)} {state}"])


def lengthen(switch: Node, relay: Node, seconds: float) -> None:
    """Put a relay into the manager's cable that delays every frame by this time, in either direction."""
    cable, bridge = RELAY_PORTS
    _ip(
        switch,
        (
            f"link add {cable} type veth peer name {bridge}",
            f"link set {MANAGER_PORT} nomaster",
            f"link set {cable} up",
            f"link set {bridge} up master {MGMT}",
        ),
    )
    relay.start(["--net"], ["lab.relay", str(relay.folder), f"{seconds:g}", MANAGER_PORT, cable], inside=switch)


def shorten(switch: Node, relay: Node) -> None:
    """Remove the relay; do nothing where there is none."""
    relay.kill()
    run([*switch.enter("--net"), "ip", "link", "del", RELAY_PORTS[0]], check=False)
    _ip(switch, [f"link set {MANAGER_PORT} master {MGMT}"])
