# usage: has_no_ipv6 DEVICE; disable_ipv6 DEVICE
# Checks that a device has no IPv6, or switches it off. The device `all` is every device of this network namespace, and
# each new one. A kernel without IPv6 has no such files. A shell reads byte by byte, and the kernel gives one byte of a
# setting and then its end: `read` fails and has read it.
has_no_ipv6() {
  [ -e "/proc/sys/net/ipv6/conf/$1" ] || return 0
  off=; read -r off <"/proc/sys/net/ipv6/conf/$1/disable_ipv6"; [ "$off" = 1 ]
}
disable_ipv6() {
  [ ! -e "/proc/sys/net/ipv6/conf/$1" ] || echo 1 >"/proc/sys/net/ipv6/conf/$1/disable_ipv6"
}
