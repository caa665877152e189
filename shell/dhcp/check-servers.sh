# usage: check-servers.sh [COUNT NAMESPACE PIDFILE MARK]...
# Fails where a DHCP server of ours does not serve.
# include: beside
# include: serves
expect() {
  serves "$@" || { echo "no dnsmasq serves there" >&2; exit 1; }
}
beside expect "$@"
