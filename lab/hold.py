"""`python -m lab.hold FOLDER [BRIDGE...]`: keeps one network namespace open, with these bridges in it.

The switch and the manager are such namespaces; all but the network is the machine's own.
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
    """Set up loopback and bridges in a new network namespace.

    Hosts have IPv6 as in Debian; the switch, which holds the bridges, takes no part in it.
    """
    if bridges and NO_IPV6.exists():
        NO_IPV6.write_text("1")
    lines = ["link set lo up"]
    for bridge in bridges:
        # Snooping would hold multicast back until it has seen a querier, and there is none.
        lines += [f"link add {bridge} type bridge mcast_snooping 0", f"link set {bridge} up"]
    run(["ip", "-batch", "-"], stdin="\n".join(lines) + "\n")


def main() -> None:
    """Hold the namespace until killed."""
    folder, *bridges = sys.argv[1:]
    prepare_network(bridges)
    state = node.claim(Path(folder))
    node.announce_ready(state)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
