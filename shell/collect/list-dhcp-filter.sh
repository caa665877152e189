# usage: list-dhcp-filter.sh NAMESPACE
# Prints the rules of the table `filter` in the DHCP server's namespace, or nothing if there is no such namespace.
[ ! -e "/run/netns/$1" ] || exec nsenter --net="/run/netns/$1" iptables-save -t filter
