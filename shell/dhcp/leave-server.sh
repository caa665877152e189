# usage: leave-server.sh FILE FOLDER NAMESPACE PIDFILE MARK LOG LINK COMMAND...
# Removes the reservations of one slice from a server that several slices share. dnsmasq keeps the addresses that it
# gave, so it is restarted for the other slices. This is one command that prints nothing in between: it continues where
# its manager dies meanwhile, and the other slices have their server.
# include: serve
own=$1 hosts=$2; shift 2
if [ -e "$own" ]; then end TERM "$2" "$3" && rm -f "$own" || exit; fi
rmdir "$hosts" 2>/dev/null
[ ! -d "$hosts" ] || serve "$@" >/dev/null
