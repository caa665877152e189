# usage: runs-on-its-taps.sh PIDFILE MARK TAP...
# A TAP has a carrier while a process holds it. A TAP that was created again has none, and the process holds nothing.
[ -r "$1" ] && read -r pid <"$1" && [ -d "/proc/${pid:-0}" ] && {
  grep -qzxF -- "$2" "/proc/$pid/cmdline" 2>/dev/null || {
    for again in 1 2 3 4 5; do
      { [ -d "/proc/$pid" ] && ! grep -qz . "/proc/$pid/cmdline" 2>/dev/null; } || break
      sleep 0.1
    done
    grep -qzxF -- "$2" "/proc/$pid/cmdline" 2>/dev/null; }; } || exit
shift 2
for tap; do
  { read -r carrier <"/sys/class/net/$tap/carrier"; } 2>/dev/null && [ "$carrier" = 1 ] || exit 1
done
