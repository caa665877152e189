# usage: list-forwarding.sh GATEWAY NETWORK
# Prints whether the host routes, and then barriers. The kernel gives one byte of a setting to a reader that reads byte
# by byte, as sh(1) does, and then its end.
# include: barriers
inside=$1 network=$2

on=; read -r on </proc/sys/net/ipv4/ip_forward; echo "$on"
barriers
