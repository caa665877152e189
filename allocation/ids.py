"""The next free id, VNC port and internet address, given what all slices hold. Pure.

A link gets its VLAN from the pool of its slice: `Slice.get_next_vlan` in models.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import chain

from allocation.holdings import Holdings
from core.errors import Refused
from core.inventory import INTERNET_VLAN, InternetSettings
from core.names import DHCP_FIRST_HOST, FIRST_ID, LAST_ID, LAST_SLICE_ID
from core.values import IPConfig
from models import FIRST_VNC_PORT, LAST_VNC_PORT, POOL_COUNT, POOL_SIZE, most_links

_MAC_IDS = 65_536
"""Number of ids after which MACs repeat: a MAC holds the lower 16 bits of a VM's id."""


def next_vm_id(start: int, live: Collection[Holdings]) -> int:
    """Return the first id from `start` on that no slice or VM has and whose MACs are free.

    A MAC holds the lower 16 bits of an id only, so it repeats after 65,536 ids.
    """
    slices, vms = {holdings.slice_id for holdings in live}, _vm_ids(live)
    return _first(
        start,
        lambda candidate: (
            candidate not in slices and vms.isdisjoint(range(candidate % _MAC_IDS, LAST_ID + 1, _MAC_IDS))
        ),
    )


def next_slice_id(start: int, live: Collection[Holdings], links: int = 0, reserved: int = INTERNET_VLAN) -> int:
    """Return the first id from `start` on with a free pool of VLANs that holds so many links.

    No link gets the VLAN `reserved`. Raise `Refused` when no such pool is free.
    """
    vms, free = _vm_ids(live), {*range(POOL_COUNT)} - {holdings.pool for holdings in live}
    if not free:
        raise Refused(f"All {POOL_COUNT} VLAN pools are in use: delete a slice first")
    pools = {pool for pool in free if most_links(pool, reserved) >= links}
    if links > POOL_SIZE:
        raise Refused(f"A slice can have {POOL_SIZE} links, and {links} are needed: use several slices")
    if not pools:
        raise Refused(f"No free pool of VLANs holds {links} links, as VLAN {reserved} is in it: delete a slice first")
    return _first(start, lambda candidate: candidate not in vms and candidate % POOL_COUNT in pools, LAST_SLICE_ID)


def next_vnc_port(live: Iterable[Holdings], listening: Collection[int] = ()) -> int:
    """Return the lowest VNC port that no VM holds and no program of the worker is `listening` on."""
    taken = {*listening}.union(*(holdings.vnc_ports for holdings in live))
    for port in range(FIRST_VNC_PORT, LAST_VNC_PORT + 1):
        if port not in taken:
            return port
    raise Refused("All VNC ports are in use: delete a slice first")


def next_internet_address(vm_id: int, live: Iterable[Holdings], internet: InternetSettings) -> IPConfig:
    """Return the `ip_config` of an `eth0` with internet: the documented address, or else the first free one."""
    taken = {internet.gateway}.union(*(holdings.addresses for holdings in live))
    network = internet.network
    wanted = chain((100 + vm_id % 100,), range(DHCP_FIRST_HOST, internet.last_host + 1))
    for address in (str(network[host]) for host in wanted):
        if address not in taken:
            return IPConfig(address, internet.cidr, internet.gateway)
    raise Refused(
        f"All addresses of the internet network {internet.cidr} are in use: add the VM without internet access"
    )


def _vm_ids(live: Iterable[Holdings]) -> set[int]:
    return set[int]().union(*(holdings.vm_ids for holdings in live))


def _first(start: int, is_free: Callable[[int], bool], last: int = LAST_ID) -> int:
    """Return the first free id from `start` on; after the `last` id the search continues from the first."""
    span = last - FIRST_ID + 1
    for offset in range(span):
        candidate = FIRST_ID + (start - FIRST_ID + offset) % span
        if is_free(candidate):
            return candidate
    raise Refused("All ids are in use: delete a slice first")
