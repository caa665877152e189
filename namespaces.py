"""Namespaces on the network node that are ours, and the ports of br-int that belong into them. Returns commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from network.stack import NO_IPV6
from remote import ovs
from remote.beside import BESIDE, grouped
from remote.plan import Command

# What is inside: each device with `up`, its MAC and its addresses on one line, and whether packets are passed on. A new
# namespace routes if its host does (ip-sysctl: devconf_inherit_init_net), and guests could reach others.
_LOOK = r"""newline='
'
look() {
  there=$(printf 'netconf\naddr\n' | ip ${namespace:+-n "$namespace"} -batch - |
    while read -r first second third fourth rest; do
    case "$first $second $fourth" in
      "inet all on") echo "routes 1";;
      "inet all "*) echo "routes 0";;
      *": "*) printf '\n%s' "${second%%[:@]*}"; case $third in *[,\<]UP[,\>]*) printf ' up';; esac;;
      link/* | inet\ *.*) printf ' %s' "$second";;
    esac
  done)
}
routes_well() { [ -z "$routes" ] || case $there in "routes $routes$newline"*) ;; *) return 1;; esac; }
line_of() {
  line=${there#*"$newline$1 "}
  [ "$line" != "$there" ] && line=" ${line%%"$newline"*} "
}
is_here() { [ -e "/sys/class/net/$1" ]; }
is_right() {
  if [ "$namespace" ]; then ! is_here "$1"; else has_no_ipv6 "$1"; fi && line_of "$1" || return
  for word in up "$2" $3; do
    case $line in *" $word "*) ;; *) return 1;; esac
  done
}
"""

_ARE_IN_PLACE = f"""{BESIDE}{NO_IPV6}{_LOOK}are_in_place() {{
  namespace=$1 routes=$2 count=$3; shift 3
  [ -z "$namespace" ] || ! is_here "$1" || exit
  look; routes_well || exit
  while [ "$count" -gt 0 ]; do
    is_right "$1" "$2" "$3" || exit
    shift 3; count=$((count - 1))
  done
}}
beside are_in_place "$@"
"""

# A port that ovs-vswitchd made anew is in the root namespace again, and what is left of the one before it is dead. One
# whose namespace was deleted has no device any more, and gets one only as a new port.
# What ip says last is the number of a line.
#
# The gateway that all share tells the switches where it is as soon as it is up: they remember the node that had it
# before (ip-sysctl in the kernel's manual: arp_notify).
_PUT_IN_PLACE = rf"""{BESIDE}{NO_IPV6}{_LOOK}change() {{
  said=$(ip "$@" -batch - 2>&1) || {{ printf '%s\n' "${{said%"$newline"Command failed*}}" >&2; exit 1; }}
}}
inside() {{ change ${{namespace:+-n "$namespace"}}; }}
put_in_place() {{
  namespace=$1 routes=$2 count=$3 dead='' lost='' moves='' settings='' own=''; shift 3
  look
  while [ "$count" -gt 0 ]; do
    if ! is_right "$1" "$2" "$3"; then
      place=; ! line_of "$1" || place=inside
      ! is_here "$1" || place="here$place"
      [ "$place" ] || lost="$lost -- --if-exists del-port {ovs.BRIDGE} $1"
      [ "$place" != hereinside ] || dead="${{dead}}link del dev $1$newline"
      [ "$place" = inside ] || moves="${{moves}}link set dev $1 netns $namespace$newline"
      settings="${{settings}}link set dev $1 addrgenmode none${{3:+ address $3}}
addr replace $2 dev $1
link set dev $1 up$newline"
      own="$own $1"
      echo "${{1##*[!0-9]}}"
    fi
    shift 3; count=$((count - 1))
  done
  [ -z "$lost" ] || {{ ovs-vsctl --timeout=20 $lost && "$@" || exit; }}
  if [ "$namespace" ]; then
    [ -z "$dead" ] || printf %s "$dead" | inside || exit
    [ -z "$moves" ] || printf %s "$moves" | change || exit
    routes_well || nsenter --net="/run/netns/$namespace" sysctl -q -w "net.ipv4.ip_forward=$routes" || exit
    settings="link set dev lo up$newline$settings"
  else
    for port in $own; do disable_ipv6 "$port" && echo 1 >"/proc/sys/net/ipv4/conf/$port/arp_notify" || exit; done
  fi
  printf %s "$settings" | inside
}}
beside put_in_place "$@"
"""

# /proc/sys/net shows the network namespace of the process that opens it.
_IPV6 = r"""ipv6='/proc/sys/net/ipv6/conf'
holds_no_ipv6() {
  [ ! -e "$ipv6" ] || nsenter --net="/run/netns/$1" sh -c 'for each in "$1"/*/disable_ipv6; do
    off=; read -r off <"$each"; [ "$off" = 1 ] || exit
  done' sh "$ipv6"
}
end_ipv6() { [ ! -e "$ipv6" ] || nsenter --net="/run/netns/$1" sh -c 'echo 1 >"$1/all/disable_ipv6"' sh "$ipv6"; }
"""

_ARE_THERE = rf"""{_IPV6}while [ $# -gt 0 ]; do
  [ -d "$2" ] && [ -e "/run/netns/$1" ] && holds_no_ipv6 "$1" || exit
  shift 2
done"""

_ADD = rf"""{_IPV6}folders='' lines='' names=''
while [ $# -gt 0 ]; do
  names="$names $1"
  [ -d "$2" ] || folders="$folders $2"
  [ -e "/run/netns/$1" ] || lines="${{lines}}netns add $1\n"
  shift 2
done
[ -z "$folders" ] || mkdir -p $folders && printf "$lines" | ip -batch - || exit
for name in $names; do end_ipv6 "$name" || exit; done"""

_REMOVE = r"""folders='' lines=''
for name; do
  [ -d "/run/$name" ] || continue
  folders="$folders /run/$name"
  [ ! -e "/run/netns/$name" ] || lines="${lines}netns del $name\n"
done
printf "$lines" | ip -batch - && rm -rf $folders"""


@dataclass(frozen=True)
class Place:
    """Where an internal port belongs: its namespace ("" is the root namespace), address, and MAC if it is ours."""

    port: ovs.Port
    namespace: str
    address: str
    prefix: int
    mac: str = ""


def add_namespaces(folders: Mapping[str, str]) -> Command:
    """Create namespaces without IPv6, and in /run the folder of each, which says that it is ours.

    Both are gone after a reboot. By IPv6 a guest on the wire would give them addresses and routes (RFC 4861, 6.2).

    `folders`: namespace -> that folder, or one inside it.
    """
    words = [word for pair in folders.items() for word in pair]
    return Command(("sh", "-c", _ADD, "sh", *words), unless=("sh", "-c", _ARE_THERE, "sh", *words))


def remove_namespaces(*names: str, unless: tuple[str, ...] = ()) -> Command:
    """The namespaces go, and their folders, if they are ours."""
    return Command(("sh", "-c", _REMOVE, "sh", *names), unless=unless)


def put_in_place(places: Sequence[Place], *, routes: bool | None = None) -> Command:
    """Bring internal ports into their namespaces, and give them their addresses, and their MACs if these are ours.

    `routes`: whether the namespaces pass packets on; None leaves that as it is. Ports of the root namespace have no
    IPv6: by it guests would reach whatever listens on the host. The namespaces are worked on side by side; what is
    printed are VLANs.
    """
    looks, deeds = [], []
    grouping: dict[str, list[Place]] = {}
    for place in places:
        grouping.setdefault(place.namespace, []).append(place)
    for namespace, inside in grouping.items():
        words = [namespace, "" if routes is None else str(int(routes)), str(len(inside))]
        for place in inside:
            words += [place.port.name, f"{place.address}/{place.prefix}", place.mac]
        looks.append(words)
        deeds.append([*words, *ovs.add_ports([place.port for place in inside]).argv])
    look = ("sh", "-c", _ARE_IN_PLACE, "sh", *grouped(looks))
    return Command(("sh", "-c", _PUT_IN_PLACE, "sh", *grouped(deeds)), unless=look)


def folder(namespace: str) -> str:
    """What a namespace of ours keeps on disk; that it is there says that the namespace is ours."""
    return f"/run/{namespace}"
