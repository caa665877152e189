# usage: check-servers.sh [COUNT NAMESPACE PIDFILE MARK]...
# include: beside
# include: serves
expect() {
  serves "$@" || { echo "no dnsmasq serves there" >&2; exit 1; }
}
beside expect "$@"
