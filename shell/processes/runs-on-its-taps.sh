# usage: runs-on-its-taps.sh PIDFILE MARK TAP...
# Succeeds while the process runs and holds each of its TAPs. A TAP has a carrier while a process holds it. After a TAP
# was deleted and created again it has none: the process still holds the deleted device.
# include: runs
runs "$1" "$2" || exit
shift 2
for tap; do
  { read -r carrier <"/sys/class/net/$tap/carrier"; } 2>/dev/null && [ "$carrier" = 1 ] || exit 1
done
