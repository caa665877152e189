# usage: check-taps.sh OWNER [STATE TAP]...
# Fails where a TAP is not ours, not in its STATE (up or down), or has ARP or IPv6.
# include: is-ready
owner=$1; shift
while [ $# -gt 0 ]; do
  is_ready "$1" "$2" || { echo "TAP $2 is not as it was made: $1, without ARP and IPv6" >&2; exit 1; }
  shift 2
done
