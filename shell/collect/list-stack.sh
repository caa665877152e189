# usage: list-stack.sh
# Prints how the host's own IP stack meets devices of guests: settings, neighbours and routes, and sockets of programs.
ipv6=/proc/sys/net/ipv6/conf ipv4=/proc/sys/net/ipv4/conf
for path in /sys/class/net/*; do
  name=${path##*/}
  case $name in tap_* | gw_vlan* | dhcp_v*) ;; *) continue;; esac
  off=1; [ ! -e "$ipv6/$name" ] || read -r off <"$ipv6/$name/disable_ipv6"
  filter=; read -r filter <"$ipv4/$name/rp_filter"
  echo "device $name $off $filter"
done
{ ip -o neigh show && ip -4 -o route show table all && ip -6 -o route show table all; } | sed 's/^/way /'
ss -Hltnp | sed 's/^/socket /'
