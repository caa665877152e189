# usage: list-dhcp-filter.sh NAMESPACE
[ ! -e "/run/netns/$1" ] || exec nsenter --net="/run/netns/$1" iptables-save -t filter
