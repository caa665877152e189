# usage: put-ports-in-place.sh GROUP...
# Moves ports into their namespaces, gives them their addresses and MACs, and prints the VLAN of each port that it
# moves. A group has: its COUNT of words, NAMESPACE, ROUTES, number of ports, PORT ADDRESS MAC of each, and the command
# that adds all of them to the bridge.
#
# When ovs-vswitchd makes a port again, the new device is in the root namespace, and the old one is dead. A port whose
# namespace was deleted has no device any more, and gets one only as a new port. The last line that ip prints is the
# number of a line.
#
# The gateway that all slices share reports itself to the switches when it comes up: they still remember the node that
# had it before (ip-sysctl of the kernel: arp_notify).
# include: beside
# include: look
change() {
  said=$(ip "$@" -batch - 2>&1) || { printf '%s\n' "${said%"$newline"Command failed*}" >&2; exit 1; }
}
inside() { change ${namespace:+-n "$namespace"}; }
put_in_place() {
  namespace=$1 routes=$2 count=$3 dead='' lost='' moves='' settings='' own=''; shift 3
  look
  while [ "$count" -gt 0 ]; do
    if ! is_right "$1" "$2" "$3"; then
      place=; ! line_of "$1" || place=inside
      ! is_here "$1" || place="here$place"
      [ "$place" ] || lost="$lost -- --if-exists del-port $1"
      [ "$place" != hereinside ] || dead="${dead}link del dev $1$newline"
      [ "$place" = inside ] || moves="${moves}link set dev $1 netns $namespace$newline"
      settings="${settings}link set dev $1 addrgenmode none${3:+ address $3}
addr replace $2 dev $1
link set dev $1 up$newline"
      own="$own $1"
      echo "${1##*[!0-9]}"
    fi
    shift 3; count=$((count - 1))
  done
  # shellcheck disable=SC2086 # each word of the transaction is one
  [ -z "$lost" ] || { ovs-vsctl --timeout=20 $lost && "$@" || exit; }
  if [ "$namespace" ]; then
    [ -z "$dead" ] || printf %s "$dead" | inside || exit
    [ -z "$moves" ] || printf %s "$moves" | change || exit
    routes_well || nsenter --net="/run/netns/$namespace" sysctl -q -w "net.ipv4.ip_forward=$routes" || exit
    settings="link set dev lo up$newline$settings"
  else
    for port in $own; do disable_ipv6 "$port" && echo 1 >"/proc/sys/net/ipv4/conf/$port/arp_notify" || exit; done
  fi
  printf %s "$settings" | inside
}
beside put_in_place "$@"
