"""The next free id, VNC port and internet address, given what all slices hold. Pure.

A link gets its VLAN from the pool of its slice: `Slice.get_next_vlan` in models.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import chain, islice
from typing import TypeVar

from allocation.holdings import a_pool, a_port, an_id, door, in_realm
from allocation.taken import Taken
from core.errors import Refused
from core.flavors import MAX_DATA_INTERFACES
from core.inventory import INTERNET_VLAN, InternetSettings
from core.names import DHCP_FIRST_HOST, FIRST_ID, LAST_ID, LAST_SLICE_ID, mac_address
from core.values import IPConfig
from models import FIRST_VNC_PORT, LAST_VNC_PORT, NOWHERE, POOL_COUNT, POOL_SIZE, most_links

T = TypeVar("T")

_FEW, _MANY = 4, 256
"""Number of candidates that a store is asked for at once: first, and then."""


class NoNumber(Refused):
    """A realm has no free pool of VLANs, VNC port or internet address."""


def next_vm_id(start: int, taken: Taken, realm: str = "") -> int:
    """Return the first id from `start` on that no slice or VM has and whose MACs are free in the realm.

    A MAC holds the lower 16 bits of an id only, so it repeats after 65,536 ids, and a file may give any to any VM.
    """
    nics = range(MAX_DATA_INTERFACES + 1)
    return _first_free(
        _ids_from(start, LAST_ID),
        taken,
        lambda vm_id: (an_id(vm_id), *(in_realm(realm, mac_address(vm_id, index)) for index in nics)),
    )


def next_slice_id(start: int, taken: Taken, links: int = 0, reserved: int = INTERNET_VLAN, realm: str = "") -> int:
    """Return the first id from `start` on whose pool of VLANs is free in the realm and holds so many links.

    No link gets the VLAN `reserved`. Raise `NoNumber` when no such pool is free.
    """
    where = f" of realm {realm}" if realm else ""
    free = _free_pools(taken, realm)
    if not free:
        raise NoNumber(f"All {POOL_COUNT} VLAN pools{where} are in use: delete a slice first")
    pools = {pool for pool in free if most_links(pool, reserved) >= links}
    if links > POOL_SIZE:
        raise Refused(f"A slice can have {POOL_SIZE} links, and {links} are needed: use several slices")
    if not pools:
        raise NoNumber(
            f"No free pool of VLANs{where} holds {links} links, as VLAN {reserved} is in it: delete a slice first"
        )
    fitting = (number for number in _ids_from(start, LAST_SLICE_ID) if number % POOL_COUNT in pools)
    return _first_free(fitting, taken, lambda slice_id: (an_id(slice_id),))


def next_vnc_port(taken: Taken, listening: Collection[int] = (), realm: str = "", worker: str = NOWHERE) -> int:
    """Return the lowest VNC port that no VM of the realm holds, nor one of another realm on the worker.

    No program of the worker is `listening` on it.
    """
    ports = (port for port in range(FIRST_VNC_PORT, LAST_VNC_PORT + 1) if port not in listening)
    none = "All VNC ports are in use: delete a slice first"
    return _first_free(ports, taken, lambda port: (in_realm(realm, a_port(port)), door(worker, port)), none)


def next_internet_address(vm_id: int, taken: Taken, internet: InternetSettings, realm: str = "") -> IPConfig:
    """Return the `ip_config` of an `eth0` with internet: the documented address, or else the first free one."""
    network = internet.network
    wanted = chain((100 + vm_id % 100,), range(DHCP_FIRST_HOST, internet.last_host + 1))
    addresses = (address for address in (str(network[host]) for host in wanted) if address != internet.gateway)
    none = f"All addresses of the internet network {internet.cidr} are in use: add the VM without internet access"
    free = _first_free(addresses, taken, lambda address: (in_realm(realm, address),), none)
    return IPConfig(free, internet.cidr, internet.gateway)


def _free_pools(taken: Taken, realm: str) -> set[int]:
    names = {pool: in_realm(realm, a_pool(pool)) for pool in range(POOL_COUNT)}
    held = taken.among(names.values())
    return {pool for pool, name in names.items() if name not in held}


def _ids_from(start: int, last: int) -> Iterator[int]:
    """Yield all ids from `start` on; after the `last` id they continue from the first."""
    span = last - FIRST_ID + 1
    return (FIRST_ID + (start - FIRST_ID + offset) % span for offset in range(span))


def _first_free(
    candidates: Iterator[T],
    taken: Taken,
    needs: Callable[[T], Collection[str]],
    none: str = "All ids are in use: delete a slice first",
) -> T:
    """Return the first candidate all of whose `needs` are free; raise `NoNumber` with the sentence `none`.

    A store is asked for many candidates at once, and at first for few, as the first one is free nearly always.
    """
    many = _FEW
    while some := [(candidate, needs(candidate)) for candidate in islice(candidates, many)]:
        held = taken.among([thing for _, things in some for thing in things])
        for candidate, things in some:
            if held.isdisjoint(things):
                return candidate
        many = _MANY
    raise NoNumber(none)
