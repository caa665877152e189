# usage: check-taps.sh OWNER TAP...
# Fails where a TAP is not ours, not up, or has ARP or IPv6.
# include: is-ready
owner=$1; shift
for tap; do
  is_ready "$tap" || { echo "TAP $tap is not as it was made: up, without ARP and IPv6" >&2; exit 1; }
done
