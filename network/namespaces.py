"""Namespaces on the network node that are ours, and the ports of br-int that belong into them. Returns commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from network import neighbours, ovs
from network.stack import NO_IPV6
from remote.plan import Command
from shell.parallel import BESIDE, grouped

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
""".rstrip()

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
""".rstrip()

FRAGMENT_BYTES = 1 << 18
"""Memory of a namespace for packets that came in part only (ip-sysctl, ipfrag_high_thresh); by itself it is 4 MiB."""

# Words come in groups of three, each after its length: namespace, folder, rules or what nft lists of them.
# /proc/sys/net shows the network namespace of the process that opens it.
_IS_SETTLED = r"""is_settled() {
  nsenter --net="/run/netns/$1" sh -c 'for each in /proc/sys/net/ipv6/conf/*/disable_ipv6; do
      off=1; [ ! -e "$each" ] || read -r off <"$each"
      [ "$off" = 1 ] || exit
    done
    set -f; [ "$1" ] || exit 0
    case " $(echo $(nft -t list ruleset)) " in *" $1 "*) ;; *) exit 1;; esac' sh "$3"
}
"""

_ARE_THERE = rf"""{BESIDE}{_IS_SETTLED}are_there() {{
  while [ $# -gt 0 ]; do
    [ -d "$3" ] && [ -e "/run/netns/$2" ] || return
    shift 4
  done
}}
are_there "$@" && beside is_settled "$@"
""".rstrip()

_ADD = rf"""{BESIDE}settle() {{
  nsenter --net="/run/netns/$1" sh -c 'cd /proc/sys/net
    [ ! -e ipv6 ] || echo 1 >ipv6/conf/all/disable_ipv6 || exit
    cd ipv4 && echo 0 >ipfrag_low_thresh && echo {FRAGMENT_BYTES} >ipfrag_high_thresh || exit
    [ -z "$1" ] || exec nft "$1"' sh "$3"
}}
add() {{
  folders='' lines=''
  while [ $# -gt 0 ]; do
    [ -d "$3" ] || folders="$folders $3"
    [ -e "/run/netns/$2" ] || lines="${{lines}}netns add $2\n"
    shift 4
  done
  [ -z "$folders" ] || mkdir -p $folders && printf "$lines" | ip -batch -
}}
add "$@" && beside settle "$@"
""".rstrip()

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


def add_namespaces(folders: Mapping[str, str], bounds: Mapping[str, int] | None = None) -> Command:
    """Create namespaces without IPv6, and in /run the folder of each, which says that it is ours.

    Both are gone after a reboot. By IPv6 a guest on the wire would give them addresses and routes (RFC 4861, 6.2).

    `folders`: namespace -> that folder, or one inside it. `bounds`: how many neighbours each may know; all without one.
    """
    sizes = bounds or {}
    rules = {name: neighbours.rules(sizes[name]) if name in sizes else "" for name in folders}
    lists = {name: neighbours.listing(sizes[name]) if name in sizes else "" for name in folders}
    add = grouped((name, path, rules[name]) for name, path in folders.items())
    look = grouped((name, path, lists[name]) for name, path in folders.items())
    return Command(("sh", "-c", _ADD, "sh", *add), unless=("sh", "-c", _ARE_THERE, "sh", *look))


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
