"""The rules of hosts and realms: each realm has hosts, an internet network and bridges that it shares with no other."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address

from core import names
from core.formats import network_of
from core.inventory import Inventory
from core.names import MAIN
from core.rule import Broken, Key
from core.underlay import TRUNK, TUNNEL
from storage.schema import no_twice


def check_hosts(inventory: Inventory) -> None:
    """Raise `Broken` where hosts, networks or bridges of a realm are another's, or cannot be."""
    realms = {"": inventory} | {name: inventory.of_realm(name) for name in inventory.realms}
    for name, realm in realms.items():
        here: tuple[Key, ...] = ("realms", name) if name else ()
        _check_networks(realm, here)
        if name:
            no_twice("host", realm.workers_list, *here, "workers_list")
    _check_nodes(realms)
    _check_bridges(realms)
    _check_keys(realms)


def check_gateway(gateway: str, cidr: str, *path: Key) -> None:
    """Raise `Broken` where no gateway can have this address."""
    network = network_of(cidr)
    taken = (network[0], network[names.DHCP_SERVER_HOST], network[-1])
    address = IPv4Address(gateway)
    if address not in network or address in taken:
        raise Broken(f"{gateway} cannot be the gateway of {cidr}: {', '.join(map(str, taken))} are taken", *path)


def _check_networks(realm: Inventory, here: tuple[Key, ...]) -> None:
    """Check that guests and hosts share no network, and that each data port is that of a host of the realm."""
    internet = realm.internet
    check_gateway(internet.gateway, internet.cidr, *here, "internet", "gateway")
    for address in realm.all_addresses:
        if IPv4Address(address) in internet.network:
            reason = f"{internet.cidr} holds the host {address}; choose a network that nothing else uses"
            raise Broken(reason, *here, "internet", "cidr")
    for setting, hosts in (("data_ports", realm.data_ports), ("data_addresses", realm.data_addresses)):
        for host in hosts:
            if host not in realm.hosts:
                raise Broken(f"{host} is neither in workers_list nor the network_node", *here, setting, host)
    _check_ends(realm, here)


def _check_ends(realm: Inventory, here: tuple[Key, ...]) -> None:
    """Check that a tunnel has an end of its own on each host, and that no port of the operator is set beside it."""
    tunnel = realm.tunnel
    if tunnel is None:
        if realm.data_addresses:
            raise Broken(f"is for a tunnel; write underlay: {TUNNEL}, too, or remove it", *here, "data_addresses")
        return
    if realm.data_ports:
        raise Broken(f"is for a trunk; remove it, or write underlay: {TRUNK}", *here, "data_ports")
    owners: dict[str, str] = {}
    for host, address in tunnel.addresses.items():
        other = owners.setdefault(address, host)
        if other != host:
            raise Broken(f"{address} is the address of {other}, too", *here, "data_addresses", host)


def _check_nodes(realms: Mapping[str, Inventory]) -> None:
    """Check that the network node of a realm is a host of no other."""
    nodes = {realm.network_node: name for name, realm in reversed([*realms.items()])}
    for name, realm in realms.items():
        here: tuple[Key, ...] = ("realms", name) if name else ()
        for key, hosts in {"network_node": (realm.network_node,), "workers_list": realm.workers_list}.items():
            for host in hosts:
                if nodes.get(host, name) != name:
                    reason = f"{host} is the network node of realm {nodes[host] or MAIN}, and so a host of no other"
                    raise Broken(reason, *here, key)


def _check_bridges(realms: Mapping[str, Inventory]) -> None:
    """Check that a worker of two realms has a bridge for each."""
    owners: dict[tuple[str, str], str] = {}
    for name, realm in realms.items():
        for worker in realm.workers_list:
            owner = owners.setdefault((worker, realm.bridge), name)
            if owner != name:
                raise Broken(
                    f"{worker} is a worker of realm {owner or MAIN}, too, whose bridge is {realm.bridge}: write "
                    f"bridge: {names.BRIDGE}-{name}, and add that bridge to the hosts of realm {name}",
                    *("realms", name),
                )


def _check_keys(realms: Mapping[str, Inventory]) -> None:
    """Check that the tunnel of each realm has a key of its own."""
    owners: dict[int, str] = {}
    for name, realm in realms.items():
        if realm.tunnel:
            owner = owners.setdefault(realm.tunnel.key, name)
            if owner != name:
                raise Broken(f"{realm.tunnel.key} is the key of realm {owner}, too", "realms", name, "tunnel_key")
