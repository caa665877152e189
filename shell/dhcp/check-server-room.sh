# usage: check-server-room.sh SPARE NAMESPACE...
# Fails where the kernel allows no more servers: each watches its folder by an instance of inotify(7).
spare=$1 servers=0; shift
limit=$(cat /proc/sys/fs/inotify/max_user_instances 2>/dev/null) || exit 0
for folder in /run/ns-dhcp-vlan*; do [ ! -d "$folder" ] || servers=$((servers + 1)); done
for namespace; do [ -d "/run/$namespace" ] || servers=$((servers + 1)); done
[ $((servers + spare)) -le "$limit" ] ||
  { echo "$servers DHCP servers need an inotify instance each, and the kernel gives a user $limit;" \
      "raise it: sysctl -w fs.inotify.max_user_instances=4096" >&2; exit 1; }
