"""The wire between the hosts: a slice's VLANs are proven to pass before its guests start. Pure: returns steps.

Each host sends a frame on every VLAN that it shares with others, and looks whether its own br-int has learned where the
others' frames come from (ovs-vswitchd(8), fdb/show). Nothing has to be set up to be heard: what was learned ages out.
Frames are sent in one stage and again in the next, which looks for them: one that is lost costs no deployment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping

from core.inventory import Inventory
from models import NOWHERE, Slice, internet_interfaces
from network import ovs
from remote.plan import Command, Step
from shell.scripts import load

TITLE = "data network"

HEAR_SECONDS = 5
"""How long a frame is waited for that is not there at once: the host that sends it may begin a moment later."""

_ETHERTYPE = "88b5"  # for local experiments (IEEE 802, 9.2.4): no protocol stack takes it
_EVERYBODY = "ffffffffffff"
_SHORTEST = 60

_AWAIT_FRAMES = load("bridge/await-frames")


def spans(inventory: Inventory, slice_: Slice, absent: Collection[str] = ()) -> dict[int, tuple[str, ...]]:
    """Return the hosts of each VLAN of the slice that has several, without those that are `absent`."""
    workers = {vm.vm_id: vm.worker_ip for vm in slice_.vms}
    without = {NOWHERE, *absent}
    found = {link.vlan_id: [workers[vm_id] for vm_id, _ in link.ends] for link in slice_.links}
    if slice_.uses_internet:
        found[inventory.internet.vlan_id] = [vm.worker_ip for vm, _ in internet_interfaces(slice_)]
    hosts = {
        vlan: tuple(host for host in dict.fromkeys((*ends, inventory.network_node)) if host not in without)
        for vlan, ends in found.items()
    }
    return {vlan: there for vlan, there in hosts.items() if len(there) > 1}


def send(vlans: Mapping[int, tuple[str, ...]], run: int) -> Iterator[Step]:
    """Yield for each host the step that sends its frames; `run` makes them frames of this run."""
    for host in _hosts(vlans):
        lines = (_packet_out(run, host, vlan) for vlan, there in vlans.items() if host in there)
        argv = ("ovs-ofctl", "--timeout=10", "bundle", ovs.BRIDGE, "-")
        yield Step(host, TITLE, (Command(argv, "".join(f"{line}\n" for line in lines)),))


def hear(vlans: Mapping[int, tuple[str, ...]], run: int) -> Iterator[Step]:
    """Yield for each host the step that sends once more and fails where a frame of another host does not arrive."""
    for step in send(vlans, run):
        words = [
            word
            for vlan, there in vlans.items()
            for host in there
            if step.host in there and host != step.host
            for word in (host, str(vlan), probe_mac(run, host))
        ]
        yield Step(step.host, TITLE, (*step.do, Command(_AWAIT_FRAMES.argv(str(HEAR_SECONDS), *words))))


def probe_mac(run: int, host: str) -> str:
    """Return the MAC that the frames of `host` have in this run.

    It is one of ours, which no guest's frame may have, and none of the gateway's or the DHCP server's.
    """
    digest = hashlib.sha256(f"{run} {host}".encode()).digest()
    return f"02:c1:0d:{digest[0] | 0x80:02x}:{digest[1]:02x}:{digest[2]:02x}"


def _hosts(vlans: Mapping[int, tuple[str, ...]]) -> list[str]:
    return list(dict.fromkeys(host for there in vlans.values() for host in there))


def _packet_out(run: int, host: str, vlan: int) -> str:
    """A tagged frame to everybody, switched as one that came in by a trunk: it leaves by what leads to other hosts."""
    mac = probe_mac(run, host).replace(":", "")
    frame = f"{_EVERYBODY}{mac}8100{vlan:04x}{_ETHERTYPE}".ljust(2 * _SHORTEST, "0")
    return f"packet-out in_port=controller packet={frame} actions=NORMAL"
