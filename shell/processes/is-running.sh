# usage: is-running.sh PIDFILE MARK
[ -r "$1" ] && read -r pid <"$1" && [ -d "/proc/${pid:-0}" ] && {
  grep -qzxF -- "$2" "/proc/$pid/cmdline" 2>/dev/null || {
    for again in 1 2 3 4 5; do
      { [ -d "/proc/$pid" ] && ! grep -qz . "/proc/$pid/cmdline" 2>/dev/null; } || break
      sleep 0.1
    done
    grep -qzxF -- "$2" "/proc/$pid/cmdline" 2>/dev/null; }; }
