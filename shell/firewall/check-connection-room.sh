# usage: check-connection-room.sh FOLDER OWN GUESTS LASTING BURST RATE
# Fails where all guests together can fill the kernel's table of connections: those with reservations in FOLDER but for
# the file OWN, and GUESTS of the slice.
folder=$1 own=$2 guests=$3 lasting=$4 burst=$5 rate=$6
cd /proc/sys/net/netfilter 2>/dev/null || exit 0
# shellcheck disable=SC2046 # each number is a word
set -- $(cat nf_conntrack_max nf_conntrack_tcp_timeout_time_wait); most=$1 closed=$2
for file in "$folder"/*; do
  if [ "$file" = "$own" ] || [ ! -f "$file" ]; then continue; fi
  while read -r _; do guests=$((guests + 1)); done <"$file"
done
needed=$((guests * (lasting + burst + rate * closed)))
[ "$needed" -le "$most" ] ||
  { echo "$guests guests may hold $needed connections, and the kernel has room for $most;" \
      "raise it: sysctl -w net.netfilter.nf_conntrack_max=262144" >&2; exit 1; }
