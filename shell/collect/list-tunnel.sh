# usage: list-tunnel.sh BRIDGE TABLE
# Prints the flows of the tunnel's bridge without the learned ones in TABLE, and nothing where there is no such bridge.
said=$(ovs-ofctl --timeout=5 --no-stats --names dump-flows "$1" 2>&1) || case $said in
  *"is not a bridge or a socket"*) exit 0;;
  *) printf '%s\n' "$said" >&2; exit 1;;
esac
printf '%s\n' "$said" | sed "/^ table=$2, idle_timeout=/d; /^$/d"
