"""The proof that a slice's VLANs pass between the hosts, before its guests start. Pure: returns steps.

Each host sends a frame on every VLAN that it shares with other hosts. Then it checks that its bridge has learned the
source MACs of the others' frames (ovs-vswitchd(8), fdb/show). The hosts need no listener, and learned MACs expire.
Frames are sent in one stage and again in the next, which checks: a single lost frame fails no deployment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping

from core.inventory import Inventory
from core.underlay import TRUNK
from models import NOWHERE, Slice, internet_interfaces
from remote.plan import Command, Step
from shell.scripts import load

TITLE = "data network"

ARRIVAL_SECONDS = 5
"""Timeout for a frame: its sender may start a moment later."""

_ETHERTYPE = "88b5"  # for local experiments (IEEE 802, 9.2.4): no protocol stack accepts it
_BROADCAST = "ffffffffffff"

SHORTEST, LONGEST = 60, 1518
"""The lengths of frames: the least of Ethernet, and that of a packet of 1,500 bytes with one tag."""

_AWAIT_FRAMES = load("bridge/await-frames")


def spans(inventory: Inventory, slice_: Slice, absent: Collection[str] = ()) -> dict[int, tuple[str, ...]]:
    """Return each VLAN of the slice that several hosts use, with these hosts; `absent` hosts do not count.

    A link that passes no frames has nothing to prove.
    """
    workers = {vm.vm_id: vm.worker_ip for vm in slice_.vms}
    without = {NOWHERE, *absent}
    node = inventory.network_node
    found = {link.vlan_id: [workers[vm_id] for vm_id, _ in link.ends] for link in slice_.links if link.passes}
    for link in slice_.served_links:
        if link.passes:
            found[link.vlan_id].append(node)
    if slice_.uses_internet:
        found[inventory.internet.vlan_id] = [*(vm.worker_ip for vm, _ in internet_interfaces(slice_)), node]
    hosts = {vlan: tuple(host for host in dict.fromkeys(there) if host not in without) for vlan, there in found.items()}
    return {vlan: there for vlan, there in hosts.items() if len(there) > 1}


def send(bridge: str, vlans: Mapping[int, tuple[str, ...]], run: int, length: int = SHORTEST) -> Iterator[Step]:
    """Yield the sending step of each host; the frames are particular to this `run`, and have this `length`."""
    for host in hosts_of(vlans):
        lines = (_packet_out(run, host, vlan, length) for vlan, there in vlans.items() if host in there)
        argv = ("ovs-ofctl", "--timeout=10", "bundle", bridge, "-")
        yield Step(host, TITLE, (Command(argv, "".join(f"{line}\n" for line in lines)),))


def receive(
    bridge: str, vlans: Mapping[int, tuple[str, ...]], run: int, length: int = SHORTEST, underlay: str = TRUNK
) -> Iterator[Step]:
    """Yield for each host the step that sends again and fails where a frame of another host does not arrive.

    Its advice is about the `underlay`.
    """
    for step in send(bridge, vlans, run, length):
        words = [
            word
            for vlan, there in vlans.items()
            for host in there
            if step.host in there and host != step.host
            for word in (host, str(vlan), probe_mac(run, host))
        ]
        arrive = Command(_AWAIT_FRAMES.argv(bridge, str(ARRIVAL_SECONDS), underlay, *words))
        yield Step(step.host, TITLE, (*step.do, arrive))


def probe_mac(run: int, host: str) -> str:
    """Return the source MAC of a host's frames in this run.

    It has our prefix, which no guest's frame may have, and differs from the gateway's and the DHCP server's.
    """
    digest = hashlib.sha256(f"{run} {host}".encode()).digest()
    return f"02:c1:0d:{digest[0] | 0x80:02x}:{digest[1]:02x}:{digest[2]:02x}"


def hosts_of(vlans: Mapping[int, tuple[str, ...]]) -> list[str]:
    """Return the hosts of these VLANs, each once."""
    return list(dict.fromkeys(host for there in vlans.values() for host in there))


def _packet_out(run: int, host: str, vlan: int, length: int) -> str:
    """Return the command for a tagged broadcast frame, switched as from a trunk: it leaves to other hosts."""
    mac = probe_mac(run, host).replace(":", "")
    frame = f"{_BROADCAST}{mac}8100{vlan:04x}{_ETHERTYPE}".ljust(2 * length, "0")
    return f"packet-out in_port=controller packet={frame} actions=NORMAL"
