# usage: taps-are-ready.sh OWNER TAP...
# Succeeds where each TAP is ours, up, and without ARP and IPv6.
# include: is-ready
owner=$1; shift
for tap; do
  is_ready "$tap" || exit
done
