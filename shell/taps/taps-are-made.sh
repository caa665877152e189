# usage: taps-are-made.sh OWNER [STATE TAP]...
# Succeeds where each TAP is ours, without ARP and IPv6, and down where its STATE is `down`.
# include: is-ready
owner=$1; shift
while [ $# -gt 0 ]; do
  is_made "$1" "$2" || exit
  shift 2
done
