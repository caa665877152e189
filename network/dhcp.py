"""DHCP of a VLAN: one dnsmasq in its own namespace, with the reservations of each slice. Returns commands.

dnsmasq notices new files in `--dhcp-hostsdir` (dnsmasq(8)), so the reservations of each slice are a separate file.
Leases are kept in memory only: every address is a reservation, so no lease has to be remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from core.names import dhcp_namespace, dhcp_port, slice_part
from network.namespaces import NAMESPACES, folder, remove_namespaces
from remote.plan import Command, Part, about
from shell import daemon
from shell.parallel import grouped
from shell.scripts import Script, load

_RESERVATIONS_ARE_WRITTEN = load("dhcp/reservations-are-written")
_WRITE_RESERVATIONS = load("dhcp/write-reservations")
_SERVERS_SERVE = load("dhcp/servers-serve")
_CHECK_SERVERS = load("dhcp/check-servers")
_START_SERVERS = load("dhcp/start-servers")
_LEAVE_SERVER = load("dhcp/leave-server")
_REMOVE_LOG_LINKS = load("dhcp/remove-log-links")
_CHECK_SERVER_ROOM = load("dhcp/check-server-room")
_STOP_SERVERS = load("dhcp/stop-servers")
_FIND_RESERVATIONS = load("dhcp/find-reservations")

RESERVATIONS = "reservations"
"""The name of the answer about a slice's reservations before a change."""


@dataclass(frozen=True)
class RoutedElsewhere:
    """A guest with its default route elsewhere: its MAC, and the `networks` that it reaches by the subnet's gateway."""

    mac: str
    networks: tuple[str, ...]


SPARE_INSTANCES = 16
"""Number of inotify(7) instances left to root's other programs: the servers start as root."""


@dataclass(frozen=True)
class Subnet:
    """A VLAN with its addresses and the reservations of one slice, as lines for dnsmasq: MAC, address.

    `gateway` is empty where there is none. Guests that are `routed_elsewhere` get no default route here.
    """

    vlan_id: int
    prefix: int
    gateway: str
    dhcp_server: str
    first: str
    last: str
    reservations: tuple[str, ...]
    dhcp_mac: str = ""
    routed_elsewhere: tuple[RoutedElsewhere, ...] = ()


@dataclass(frozen=True)
class Server:
    """A VLAN's dnsmasq with one slice's reservations: lines of MAC and address in the file `hosts`."""

    vlan_id: int
    namespace: str
    pid_file: str
    mark: str
    hosts: str
    reservations: tuple[str, ...]


def server_of(slice_id: int, subnet: Subnet) -> Server:
    """Return the server of a subnet with the slice's reservations."""
    vlan = subnet.vlan_id
    own = hosts_file(slice_id, vlan)
    return Server(vlan, dhcp_namespace(vlan), _pid_file(vlan), _mark(vlan), own, subnet.reservations)


def check_room(vlans: Iterable[int]) -> Command:
    """Check, read-only, that the kernel lets the servers of these VLANs start in addition to the present ones."""
    return Command(_CHECK_SERVER_ROOM.argv(str(SPARE_INSTANCES), *map(dhcp_namespace, vlans)))


def reserve(slice_id: int, subnets: Sequence[Subnet]) -> Command:
    """Write the slice's reservations into the folder of each VLAN's dnsmasq."""
    files = [hosts_file(slice_id, subnet.vlan_id) for subnet in subnets]
    words = (
        (dhcp_namespace(subnet.vlan_id), own, *subnet.reservations) for own, subnet in zip(files, subnets, strict=True)
    )
    write = _WRITE_RESERVATIONS.argv(*grouped(words))
    return Command(write, unless=_RESERVATIONS_ARE_WRITTEN.argv(*files))


def serve(subnets: Sequence[Subnet], dns: str, *extra: str) -> Command:
    """Start the dnsmasq of each VLAN without a working one, and print the VLAN; `extra` are further options."""
    start = _START_SERVERS.argv(*grouped(_starting(subnet, dns, *extra) for subnet in subnets))
    return Command(start, unless=_serving(_SERVERS_SERVE, [subnet.vlan_id for subnet in subnets]))


def leave(slice_id: int, subnet: Subnet, dns: str, *extra: str) -> Command:
    """Remove the slice from a server that slices share; the last slice ends the server and removes its folder."""
    own, folder_of_all = hosts_file(slice_id, subnet.vlan_id), hosts_folder(subnet.vlan_id)
    words = (own, folder_of_all, *_starting(subnet, dns, *extra))
    return Command(_LEAVE_SERVER.argv(*words), each=(Part(own, words),), before=RESERVATIONS)


def find_reservations(slice_id: int, vlan: int) -> Command:
    """Find, read-only, the file of the slice's reservations; print nothing where it does not exist or is empty."""
    return Command(_FIND_RESERVATIONS.argv(hosts_file(slice_id, vlan)), name=RESERVATIONS)


def check_servers(vlans: Iterable[int]) -> Command:
    """Check, read-only, that each VLAN's dnsmasq runs and listens on the present interface."""
    return Command(_serving(_CHECK_SERVERS, vlans))


def stop_servers(vlans: Iterable[int], slice_id: int | None = None) -> Command:
    """End the dnsmasq of VLANs and remove their files, with the reservations of the slice."""
    stop = Command(_STOP_SERVERS.argv(), before=NAMESPACES)
    return about(stop, (Part(server_name(vlan), _end_words(vlan, slice_id)) for vlan in vlans))


def remove_servers(*vlans: int) -> tuple[Command, ...]:
    """End the dnsmasq of VLANs that no slice uses any more, and remove their namespaces and files."""
    return stop_servers(vlans), remove_namespaces(*map(dhcp_namespace, vlans))


def server_name(vlan: int) -> str:
    """Return the name of a VLAN's server in lists."""
    return f"dnsmasq of VLAN {vlan}"


def _end_words(vlan: int, slice_id: int | None) -> tuple[str, str, str]:
    own = "" if slice_id is None else hosts_file(slice_id, vlan)
    return dhcp_namespace(vlan), log_link(vlan), own


def remove_log_links(*vlans: int, unless: tuple[str, ...] = ()) -> Command:
    """Remove our links to the logs of VLANs from their documented place."""
    return Command(_REMOVE_LOG_LINKS.argv(*map(log_link, vlans)), unless=unless)


def hosts_folder(vlan: int) -> str:
    """Return the folder of reservations of a VLAN's dnsmasq."""
    return f"{folder(dhcp_namespace(vlan))}/hosts"


def hosts_file(slice_id: int, vlan: int) -> str:
    """Return the file of one slice's reservations."""
    return f"{hosts_folder(vlan)}/{slice_part(slice_id)}"


def _starting(subnet: Subnet, dns: str, *extra: str) -> tuple[str, ...]:
    vlan = subnet.vlan_id
    return (*_server_words(vlan), log_file(vlan), log_link(vlan), *_dnsmasq(subnet, dns, *extra))


def _dnsmasq(subnet: Subnet, dns: str, *extra: str) -> tuple[str, ...]:
    """Return the argv of dnsmasq as documented, without the names and settings of its host."""
    return (
        "dnsmasq",
        f"--interface={dhcp_port(subnet.vlan_id)}",
        "--bind-interfaces",
        f"--dhcp-range={subnet.first},{subnet.last},24h",
        f"--dhcp-option=3,{subnet.gateway}" if subnet.gateway else "--dhcp-option=3",
        f"--dhcp-option=6,{dns}",
        *_own_routes(subnet),
        "--log-dhcp",
        f"--log-facility={log_file(subnet.vlan_id)}",
        *("--conf-file=/dev/null", "--port=0", "--no-resolv", "--no-hosts"),
        *("--dhcp-authoritative", "--leasefile-ro"),
        f"--dhcp-hostsdir={hosts_folder(subnet.vlan_id)}",
        _mark(subnet.vlan_id),
        *extra,
    )


def _own_routes(subnet: Subnet) -> Iterator[str]:
    """Yield the options that replace guests' default route (3) by routes to some networks (121, RFC 3442)."""
    for number, guest in enumerate(subnet.routed_elsewhere):
        tag = f"guest{number}"
        yield f"--dhcp-mac=set:{tag},{guest.mac}"
        yield f"--dhcp-option=tag:{tag},3"
        if guest.networks:
            routes = ",".join(f"{network},{subnet.gateway}" for network in guest.networks)
            yield f"--dhcp-option=tag:{tag},121,{routes}"


def _serving(check: Script, vlans: Iterable[int]) -> tuple[str, ...]:
    return check.argv(*grouped(map(_server_words, vlans)))


def _server_words(vlan: int) -> tuple[str, ...]:
    return (dhcp_namespace(vlan), *_process(vlan))


def _process(vlan: int) -> daemon.Process:
    return _pid_file(vlan), _mark(vlan)


def _pid_file(vlan: int) -> str:
    return f"{folder(dhcp_namespace(vlan))}/pid"


def _mark(vlan: int) -> str:
    return f"--pid-file={_pid_file(vlan)}"


def log_file(vlan: int) -> str:
    """Return the log of a VLAN's server. It keeps the beginning only."""
    return f"{folder(dhcp_namespace(vlan))}/log"


def log_link(vlan: int) -> str:
    """Return the documented place of a VLAN's log: a link to it, unless another user has taken that name."""
    return f"/tmp/dnsmasq_vlan{vlan}.log"  # noqa: S108 - nothing is opened by this name
