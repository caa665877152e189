# usage: runs PIDFILE MARK
# Succeeds while the process of the pid file has the mark as one whole argument; its pid is in $pid then. While a
# process becomes another program its command line is empty for a moment: it has not ended. The shell says nothing where
# a search is ended, as by timeout(1).
runs() {
  [ -r "$1" ] && read -r pid <"$1" && [ -d "/proc/${pid:-0}" ] || return
  { ! grep -qzxF -- "$2" "/proc/$pid/cmdline"; } 2>/dev/null || return 0
  for _ in 1 2 3 4 5; do
    { [ -d "/proc/$pid" ] && ! grep -qz . "/proc/$pid/cmdline"; } 2>/dev/null || break
    sleep 0.1
  done
  { grep -qzxF -- "$2" "/proc/$pid/cmdline"; } 2>/dev/null
}
