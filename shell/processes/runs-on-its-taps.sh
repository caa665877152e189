# usage: runs-on-its-taps.sh PIDFILE MARK TAP...
# A TAP has a carrier while a process holds it. A TAP that was created again has none, and the process holds nothing.
# include: runs
runs "$1" "$2" || exit
shift 2
for tap; do
  { read -r carrier <"/sys/class/net/$tap/carrier"; } 2>/dev/null && [ "$carrier" = 1 ] || exit 1
done
