# usage: check-neighbour-room.sh WANTED RECOMMENDED
# Fails where the kernel has no room for so many neighbours. Only the namespace of the host shows how many neighbours
# exist.
wanted=$1 recommended=$2 there=0 folder=/proc/sys/net/ipv4/neigh/default
[ -e "$folder/gc_thresh3" ] || exit 0
most=$(cat "$folder/gc_thresh3") || exit
[ ! -r /proc/net/stat/arp_cache ] || { read -r _ && read -r there _; } </proc/net/stat/arp_cache
there=$((0x$there))
[ $((there + wanted)) -le "$most" ] ||
  { echo "the kernel has room for $most neighbours, $there are there and the slice may have $wanted more;" \
      "raise it: sysctl -w net.ipv4.neigh.default.gc_thresh3=$recommended" >&2; exit 1; }
