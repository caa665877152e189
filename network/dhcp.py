"""DHCP of a VLAN: one dnsmasq in a namespace of its own, and each slice's reservations in it. Returns commands.

dnsmasq notices new files in `--dhcp-hostsdir` by itself (dnsmasq(8)), so each slice's reservations are a file of their
own there. Leases are kept in memory only: every address is a reservation, so there is nothing to remember.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from core.names import dhcp_namespace, dhcp_port, slice_part
from network.namespaces import folder, remove_namespaces
from remote.plan import Command
from shell import daemon
from shell.parallel import BESIDE, grouped

# An empty file is one that could not be written.
_ARE_WRITTEN = """for own; do [ -s "$own" ] || exit; done"""

_WRITE = rf"""{BESIDE}write() {{
  namespace=$1 own=$2; shift 2
  [ ! -s "$own" ] || exit 0
  printf '%s\n' "$@" >"$own" || {{ echo "$own cannot be written; is /run full?" >&2; exit 1; }}
  echo "${{namespace##*[!0-9]}}"
}}
beside write "$@"
""".rstrip()

# dnsmasq binds its socket to the interface, and goes on holding it when another one has taken the name. Where it has no
# socket at all it lives on in a namespace of that name that was deleted.
# `serves NAMESPACE PIDFILE MARK`.
_SERVES = """serves() {
  runs "$2" "$3" && case $(ss -N "$1" -Hlun "sport = :67") in "" | *%if*) return 1;; esac
}
"""

_ALL_SERVE = f"""{BESIDE}{daemon.RUNS}{_SERVES}beside serves "$@"
""".rstrip()

_EXPECT_SERVING = f"""{BESIDE}{daemon.RUNS}{_SERVES}expect() {{
  serves "$@" || {{ echo "no dnsmasq serves there" >&2; exit 1; }}
}}
beside expect "$@"
""".rstrip()

LOG_BYTES = 1 << 17
"""How long the log of a VLAN gets. /run is memory, and there are 2,000 VLANs."""

# `forget LINK...`: removes what is ours among names in /tmp, where all users may make anything. Ours are links of root
# to our logs, and the logs that older versions left there: those belong to dnsmasq's user, never to a person.
OUR_LOGS = r"""-type l -user root -lname '/run/*/log' -o -type f \( -uid -1000 -o -uid 65534 \)"""
"""An expression of find(1) for them."""
_FORGET = rf"""forget() {{
  for link; do
    shift
    if [ -h "$link" ] || [ -f "$link" ]; then set -- "$@" "$link"; fi
  done
  [ $# -eq 0 ] || find "$@" -maxdepth 0 \( {OUR_LOGS} \) -delete
}}
"""

_FORGET_LINKS = f"""{_FORGET}forget "$@"
""".rstrip()

# `serve NAMESPACE PIDFILE MARK LOG LINK COMMAND...`, where dnsmasq does not serve already.
#
# A link is made where nothing has its name, and nobody needs it: a foreign one keeps its name and is never followed. A
# guest can ask for addresses all day: a write beyond the limit fails, and dnsmasq goes on without it (setrlimit(2)).
_SERVING = f"""{daemon.END}{_SERVES}{_FORGET}serve() {{
  ! serves "$@" || exit 0
  end TERM "$2" "$3" || exit
  namespace=$1 log=$4 link=$5; shift 5
  [ ! -e "$log" ] || rm -f "$log" || exit
  [ -h "$link" ] || [ ! -f "$link" ] || forget "$link"
  [ -h "$link" ] || [ -e "$link" ] || ln -sT "$log" "$link" 2>/dev/null
  trap "" XFSZ; ulimit -f {LOG_BYTES // 512} || exit
  echo "${{namespace##*[!0-9]}}"
  exec ip netns exec "$namespace" "$@"
}}
"""

_SERVE = f"""{BESIDE}{_SERVING}beside serve "$@"
""".rstrip()

# The server goes on holding the addresses that it gave (dnsmasq(8)), so it is started anew for those who stay. One
# command that says nothing in between: if its manager dies meanwhile it goes on, and the others have their server.
_LEAVE = f"""{_SERVING}own=$1 hosts=$2; shift 2
if [ -e "$own" ]; then end TERM "$2" "$3" && rm -f "$own" || exit; fi
rmdir "$hosts" 2>/dev/null
[ ! -d "$hosts" ] || serve "$@" >/dev/null
""".rstrip()


@dataclass(frozen=True)
class Guest:
    """A MAC whose default route is elsewhere, and the `networks` that it reaches through the subnet's gateway."""

    mac: str
    networks: tuple[str, ...]


SPARE_INSTANCES = 16
"""Instances of inotify(7) that are left to other programs of the user root, whose servers begin as."""

# Each server watches its folder of reservations by an instance of its own.
_HAS_ROOM = r"""spare=$1 servers=0; shift
limit=$(cat /proc/sys/fs/inotify/max_user_instances 2>/dev/null) || exit 0
for folder in /run/ns-dhcp-vlan*; do [ ! -d "$folder" ] || servers=$((servers + 1)); done
for namespace; do [ -d "/run/$namespace" ] || servers=$((servers + 1)); done
[ $((servers + spare)) -le "$limit" ] ||
  { echo "$servers DHCP servers need an inotify instance each, and the kernel gives a user $limit;" \
      "raise it: sysctl -w fs.inotify.max_user_instances=4096" >&2; exit 1; }"""


@dataclass(frozen=True)
class Subnet:
    """A VLAN with its addresses and the reservations of one slice in it, as lines for dnsmasq: MAC, address.

    `guests`: those that get no default route here.
    """

    vlan_id: int
    prefix: int
    gateway: str
    dhcp_server: str
    first: str
    last: str
    reservations: tuple[str, ...]
    dhcp_mac: str = ""
    guests: tuple[Guest, ...] = ()


@dataclass(frozen=True)
class Server:
    """A VLAN's dnsmasq, and one slice's reservations in it: lines of MAC and address in the file `hosts`."""

    vlan_id: int
    namespace: str
    pid_file: str
    mark: str
    hosts: str
    reservations: tuple[str, ...]


def server_of(slice_id: int, subnet: Subnet) -> Server:
    """The server of a subnet, as the slice sees it."""
    vlan = subnet.vlan_id
    own = hosts_file(slice_id, vlan)
    return Server(vlan, dhcp_namespace(vlan), _pid_file(vlan), _mark(vlan), own, subnet.reservations)


def has_room(vlans: Iterable[int]) -> Command:
    """Check, read-only, that the kernel lets the servers of these VLANs start beside those that are there."""
    return Command(("sh", "-c", _HAS_ROOM, "sh", str(SPARE_INSTANCES), *map(dhcp_namespace, vlans)))


def reserve(slice_id: int, subnets: Sequence[Subnet]) -> Command:
    """Writes the slice's reservations into the folder of each VLAN's dnsmasq."""
    files = [hosts_file(slice_id, subnet.vlan_id) for subnet in subnets]
    words = (
        (dhcp_namespace(subnet.vlan_id), own, *subnet.reservations) for own, subnet in zip(files, subnets, strict=True)
    )
    write = ("sh", "-c", _WRITE, "sh", *grouped(words))
    return Command(write, unless=("sh", "-c", _ARE_WRITTEN, "sh", *files))


def serve(subnets: Sequence[Subnet], dns: str, *extra: str) -> Command:
    """Starts the dnsmasq of each VLAN that has none that serves, and prints its number; `extra`: more options."""
    start = ("sh", "-c", _SERVE, "sh", *grouped(_starting(subnet, dns, *extra) for subnet in subnets))
    return Command(start, unless=_serving(_ALL_SERVE, [subnet.vlan_id for subnet in subnets]))


def leave(slice_id: int, subnet: Subnet, dns: str, *extra: str) -> Command:
    """Takes the slice out of a server that several share; without others it ends, and its folder is gone."""
    own, folder_of_all = hosts_file(slice_id, subnet.vlan_id), hosts_folder(subnet.vlan_id)
    return Command(("sh", "-c", _LEAVE, "sh", own, folder_of_all, *_starting(subnet, dns, *extra)))


def expect_serving(vlans: Iterable[int]) -> Command:
    """Read-only: each VLAN's dnsmasq lives and listens on the interface that is there now."""
    return Command(_serving(_EXPECT_SERVING, vlans))


def remove_servers(*vlans: int) -> tuple[Command, ...]:
    """The dnsmasq of VLANs that nobody uses any more go, with their namespaces and files."""
    processes = [_process(vlan) for vlan in vlans]
    return (
        Command(daemon.stop("TERM", *processes)),
        # Without its pid file a process that does not end would be forgotten.
        remove_namespaces(*map(dhcp_namespace, vlans), unless=daemon.some_run(processes)),
        forget_links(*vlans),
    )


def forget_links(*vlans: int, unless: tuple[str, ...] = ()) -> Command:
    """Remove what leads to the logs of VLANs from its documented place, if it is ours."""
    return Command(("sh", "-c", _FORGET_LINKS, "sh", *map(log_link, vlans)), unless=unless)


def hosts_folder(vlan: int) -> str:
    """Where a VLAN's dnsmasq finds reservations."""
    return f"{folder(dhcp_namespace(vlan))}/hosts"


def hosts_file(slice_id: int, vlan: int) -> str:
    """One slice's file of them."""
    return f"{hosts_folder(vlan)}/{slice_part(slice_id)}"


def _starting(subnet: Subnet, dns: str, *extra: str) -> tuple[str, ...]:
    vlan = subnet.vlan_id
    return (*_server_words(vlan), _log(vlan), log_link(vlan), *_dnsmasq(subnet, dns, *extra))


def _dnsmasq(subnet: Subnet, dns: str, *extra: str) -> tuple[str, ...]:
    """dnsmasq as documented, and cut off from its host's own names and settings."""
    return (
        "dnsmasq",
        f"--interface={dhcp_port(subnet.vlan_id)}",
        "--bind-interfaces",
        f"--dhcp-range={subnet.first},{subnet.last},24h",
        f"--dhcp-option=3,{subnet.gateway}",
        f"--dhcp-option=6,{dns}",
        *(word for number, guest in enumerate(subnet.guests) for word in _own_routes(subnet, guest, f"guest{number}")),
        "--log-dhcp",
        f"--log-facility={_log(subnet.vlan_id)}",
        *("--conf-file=/dev/null", "--port=0", "--no-resolv", "--no-hosts"),
        *("--dhcp-authoritative", "--leasefile-ro"),
        f"--dhcp-hostsdir={hosts_folder(subnet.vlan_id)}",
        _mark(subnet.vlan_id),
        *extra,
    )


def _own_routes(subnet: Subnet, guest: Guest, tag: str) -> Iterator[str]:
    """Yield the options that replace a guest's default route (3) by routes to some networks (121, RFC 3442)."""
    yield f"--dhcp-mac=set:{tag},{guest.mac}"
    yield f"--dhcp-option=tag:{tag},3"
    if guest.networks:
        routes = ",".join(f"{network},{subnet.gateway}" for network in guest.networks)
        yield f"--dhcp-option=tag:{tag},121,{routes}"


def _serving(script: str, vlans: Iterable[int]) -> tuple[str, ...]:
    return ("sh", "-c", script, "sh", *grouped(map(_server_words, vlans)))


def _server_words(vlan: int) -> tuple[str, ...]:
    return (dhcp_namespace(vlan), *_process(vlan))


def _process(vlan: int) -> daemon.Process:
    return _pid_file(vlan), _mark(vlan)


def _pid_file(vlan: int) -> str:
    return f"{folder(dhcp_namespace(vlan))}/pid"


def _mark(vlan: int) -> str:
    return f"--pid-file={_pid_file(vlan)}"


def _log(vlan: int) -> str:
    return f"{folder(dhcp_namespace(vlan))}/log"


def log_link(vlan: int) -> str:
    """Return the documented place of a VLAN's log, which links to it where no other user has taken that name."""
    return f"/tmp/dnsmasq_vlan{vlan}.log"  # noqa: S108 - nothing is opened by this name
