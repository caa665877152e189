# usage: list-forwarding.sh GATEWAY NETWORK
# Prints whether the host routes, then the chains of other firewalls that drop packets of guests. sh(1) reads byte by
# byte, and the kernel gives such a reader one byte of a setting and then its end.
# include: barriers
inside=$1 network=$2

on=; read -r on </proc/sys/net/ipv4/ip_forward; echo "$on"
barriers
