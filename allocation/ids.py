"""The next free id, VNC port and internet address, given what all slices hold. Pure.

A link gets its VLAN from the pool of its slice: `Slice.get_next_vlan` in models.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain

from allocation.holdings import Holdings, door
from core.errors import Refused
from core.inventory import INTERNET_VLAN, InternetSettings
from core.names import DHCP_FIRST_HOST, FIRST_ID, LAST_ID, LAST_SLICE_ID
from core.values import IPConfig
from models import FIRST_VNC_PORT, LAST_VNC_PORT, NOWHERE, POOL_COUNT, POOL_SIZE, most_links

_MAC_IDS = 65_536
"""Number of ids after which MACs repeat: a MAC holds the lower 16 bits of a VM's id."""


class NoNumber(Refused):
    """A realm has no free pool of VLANs, VNC port or internet address."""


def next_vm_id(start: int, live: Collection[Holdings], realm: str = "") -> int:
    """Return the first id from `start` on that no slice or VM has and whose MACs are free in the realm.

    A MAC holds the lower 16 bits of an id only, so it repeats after 65,536 ids.
    """
    slices, vms = {holdings.slice_id for holdings in live}, _vm_ids(live)
    own = _vm_ids(_of_realm(realm, live)) if realm or any(holdings.realm for holdings in live) else vms
    return _first(
        start,
        lambda candidate: (
            candidate not in slices
            and candidate not in vms
            and own.isdisjoint(range(candidate % _MAC_IDS, LAST_ID + 1, _MAC_IDS))
        ),
    )


def next_slice_id(
    start: int, live: Collection[Holdings], links: int = 0, reserved: int = INTERNET_VLAN, realm: str = ""
) -> int:
    """Return the first id from `start` on whose pool of VLANs is free in the realm and holds so many links.

    No link gets the VLAN `reserved`. Raise `NoNumber` when no such pool is free.
    """
    free = {*range(POOL_COUNT)} - {holdings.pool for holdings in _of_realm(realm, live)}
    where = f" of realm {realm}" if realm else ""
    if not free:
        raise NoNumber(f"All {POOL_COUNT} VLAN pools{where} are in use: delete a slice first")
    pools = {pool for pool in free if most_links(pool, reserved) >= links}
    if links > POOL_SIZE:
        raise Refused(f"A slice can have {POOL_SIZE} links, and {links} are needed: use several slices")
    if not pools:
        raise NoNumber(
            f"No free pool of VLANs{where} holds {links} links, as VLAN {reserved} is in it: delete a slice first"
        )
    taken = _vm_ids(live) | {holdings.slice_id for holdings in live}
    return _first(start, lambda candidate: candidate not in taken and candidate % POOL_COUNT in pools, LAST_SLICE_ID)


def next_vnc_port(
    live: Collection[Holdings], listening: Collection[int] = (), realm: str = "", worker: str = NOWHERE
) -> int:
    """Return the lowest VNC port that no VM of the realm holds, nor one of another realm on the worker.

    No program of the worker is `listening` on it.
    """
    taken = {*listening}.union(*(holdings.vnc_ports for holdings in _of_realm(realm, live)))
    for port in range(FIRST_VNC_PORT, LAST_VNC_PORT + 1):
        if port not in taken and not is_held(door(worker, port), live):
            return port
    raise NoNumber("All VNC ports are in use: delete a slice first")


def is_held(place: str, live: Iterable[Holdings]) -> bool:
    """Return whether a VM holds this VNC port on this worker."""
    return any(place in holdings.doors for holdings in live)


def next_internet_address(
    vm_id: int, live: Iterable[Holdings], internet: InternetSettings, realm: str = ""
) -> IPConfig:
    """Return the `ip_config` of an `eth0` with internet: the documented address, or else the first free one."""
    taken = {internet.gateway}.union(*(holdings.addresses for holdings in _of_realm(realm, live)))
    network = internet.network
    wanted = chain((100 + vm_id % 100,), range(DHCP_FIRST_HOST, internet.last_host + 1))
    for address in (str(network[host]) for host in wanted):
        if address not in taken:
            return IPConfig(address, internet.cidr, internet.gateway)
    raise NoNumber(
        f"All addresses of the internet network {internet.cidr} are in use: add the VM without internet access"
    )


def _of_realm(realm: str, live: Iterable[Holdings]) -> Iterator[Holdings]:
    return (holdings for holdings in live if holdings.realm == realm)


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
