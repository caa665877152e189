"""`python -m lab.hold FOLDER [BRIDGE...]`: keeps one network namespace open, with these bridges in it.

The switch and the manager are such namespaces; everything but the network is the machine's own.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from lab import node
from lab.command import run

NO_IPV6 = Path("/proc/sys/net/ipv6/conf/default/disable_ipv6")


def prepare_network(bridges: Sequence[str] = ()) -> None:
    """Give a fresh network namespace its loopback and bridges.

    Hosts have IPv6 as Debian has it; the switch, which holds the bridges, does not take part.
    """
    if bridges and NO_IPV6.exists():
        NO_IPV6.write_text("1")
    lines = ["link set lo up"]
    for bridge in bridges:
        # No snooping: it would hold multicast back until it has seen a querier, and there is none.
        lines += [f"link add {bridge} type bridge mcast_snooping 0", f"link set {bridge} up"]
    run(["ip", "-batch", "-"], stdin="\n".join(lines) + "\n")


def main() -> None:
    """Hold until killed."""
    folder, *bridges = sys.argv[1:]
    prepare_network(bridges)
    state = node.claim(Path(folder))
    node.announce_ready(state)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
