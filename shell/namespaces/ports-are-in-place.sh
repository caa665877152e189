# usage: ports-are-in-place.sh GROUP...
# Succeeds where each port is in its namespace, with its address and MAC, and the namespace routes as wanted. A group
# has: its COUNT of words, NAMESPACE, ROUTES, number of ports, and PORT ADDRESS MAC of each.
# include: beside
# include: look
are_in_place() {
  namespace=$1 routes=$2 count=$3; shift 3
  [ -z "$namespace" ] || ! is_here "$1" || exit
  look; routes_well || exit
  while [ "$count" -gt 0 ]; do
    is_right "$1" "$2" "$3" || exit
    shift 3; count=$((count - 1))
  done
}
beside are_in_place "$@"
