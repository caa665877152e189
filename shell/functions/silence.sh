# usage: is_silent TAP; silence TAP
# Keeps the host's own IP stack off a TAP (`silence`, which needs `arp off` of ip(8) too), or succeeds where that is so
# (`is_silent`). 128 is IFF_NOARP (netdevice(7)). The flags of the device are left in $flags.
# include: ipv6
is_silent() {
  read -r flags <"/sys/class/net/$1/flags" && [ $((flags & 128)) != 0 ] && has_no_ipv6 "$1" || return
  filter=; read -r filter <"/proc/sys/net/ipv4/conf/$1/rp_filter"; [ "$filter" = 1 ]
}
silence() { disable_ipv6 "$1" && echo 1 >"/proc/sys/net/ipv4/conf/$1/rp_filter"; }
