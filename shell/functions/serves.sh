# usage: serves NAMESPACE PIDFILE MARK
# Succeeds while dnsmasq of the namespace answers on the interface that is there now. It binds its socket to an
# interface, and keeps it when another one takes the name. A dnsmasq without a socket runs in a namespace that was
# deleted and has the same name.
# include: runs
serves() {
  runs "$2" "$3" && case $(ss -N "$1" -Hlun "sport = :67") in "" | *%if*) return 1;; esac
}
