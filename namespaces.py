"""Namespaces on the network node that are ours, and the ports of br-int that belong into them. Returns commands."""

from __future__ import annotations

from dataclasses import dataclass

from remote import ovs
from remote.plan import Command

_HAS_ADDRESS = 'test -n "$(ip -n "$1" -4 -o addr show dev "$2" up to "$3" 2>/dev/null)"'
_ROUTES_NOT = 'test "$(ip netns exec "$1" cat /proc/sys/net/ipv4/ip_forward 2>/dev/null)" = 0'
_ROOT_HAS_ADDRESS = 'test -n "$(ip -4 -o addr show dev "$1" up to "$2" 2>/dev/null)"'

# A port that ovs-vswitchd made anew is in the root namespace again, and what is left of the one before it is dead. One
# whose namespace was deleted has no device any more, and gets one only as a new port.
_IS_MOVED = '[ ! -e "/sys/class/net/$2" ] && ip -n "$1" link show dev "$2"'
_MOVE = f"""namespace=$1 port=$2; shift 2
if [ -e "/sys/class/net/$port" ]; then
  ip -n "$namespace" link del dev "$port" 2>/dev/null
else
  ovs-vsctl --timeout=20 --if-exists del-port {ovs.BRIDGE} "$port" && "$@" || exit
fi
ip link set dev "$port" netns "$namespace"
"""
_MAKE_ANEW = f'ovs-vsctl --timeout=20 --if-exists del-port {ovs.BRIDGE} "$1" && shift && "$@"'


@dataclass(frozen=True)
class Place:
    """Where an internal port belongs: its namespace ("" is the root namespace), address, and MAC if it is ours."""

    port: ovs.Port
    namespace: str
    address: str
    prefix: int
    mac: str = ""


def add_namespace(name: str) -> tuple[Command, ...]:
    """The namespace, and the folder in /run that says it is ours: both are gone after a reboot."""
    return (
        Command(("mkdir", folder(name)), unless=("test", "-d", folder(name))),
        Command(("ip", "netns", "add", name), unless=("test", "-e", f"/run/netns/{name}")),
    )


def remove_namespace(name: str, unless_also: str = "") -> tuple[Command, ...]:
    """The namespace goes, if it is ours, and unless the folder `unless_also` says that somebody still needs it."""
    mark = folder(name)
    kept = ("test", "!", "-d", mark, *(("-o", "-d", unless_also) if unless_also else ()))
    return (
        Command(("ip", "netns", "del", name), unless=(*kept, "-o", "!", "-e", f"/run/netns/{name}")),
        Command(("rmdir", mark), unless=kept),
    )


def put_in_place(place: Place) -> tuple[Command, ...]:
    """Bring an internal port into its namespace and give it its address, and its MAC if it has one of ours.

    No IPv6 address: by it guests would reach whatever listens on the host.
    """
    port, namespace, address = place.port.name, place.namespace, place.address
    add = ovs.add_ports([place.port]).argv
    lines = (
        f"link set dev {port} addrgenmode none{f' address {place.mac}' if place.mac else ''}",
        f"addr replace {address}/{place.prefix} dev {port}",
        f"link set dev {port} up",
    )
    if not namespace:
        guard = ("sh", "-c", _ROOT_HAS_ADDRESS, "sh", port, address)
        return (
            Command(
                ("sh", "-c", _MAKE_ANEW, "sh", port, *add),
                unless=("test", "-e", f"/sys/class/net/{port}"),
            ),
            Command(("ip", "-batch", "-"), "\n".join(lines), unless=guard),
        )
    return (
        Command(
            ("sh", "-c", _MOVE, "sh", namespace, port, *add), unless=("sh", "-c", _IS_MOVED, "sh", namespace, port)
        ),
        Command(
            ("ip", "-n", namespace, "-batch", "-"),
            "\n".join(("link set dev lo up", *lines)),
            unless=("sh", "-c", _HAS_ADDRESS, "sh", namespace, port, address),
        ),
    )


def folder(namespace: str) -> str:
    """What a namespace of ours keeps on disk; that it is there says that the namespace is ours."""
    return f"/run/{namespace}"


def do_not_route(namespace: str) -> Command:
    """A new namespace routes if its host does (ip-sysctl: devconf_inherit_init_net), and guests could reach others."""
    forward_not = ("ip", "netns", "exec", namespace, "sysctl", "-q", "-w", "net.ipv4.ip_forward=0")
    return Command(forward_not, unless=("sh", "-c", _ROUTES_NOT, "sh", namespace))
