# usage: count-leases.sh
# Prints how many different leases the DHCP servers of a host have acknowledged.
cat /tmp/dnsmasq_vlan*.log 2>/dev/null |
  sed -n 's/.*DHCPACK([^)]*) \([0-9.]* [0-9a-f:]*\).*/\1/p' | sort -u | wc -l
