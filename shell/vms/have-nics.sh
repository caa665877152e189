# usage: have-nics.sh [PIDFILE MARK COUNT]...
# Succeeds where each of the VMs that runs was started with COUNT interfaces.
# include: runs
while [ $# -gt 0 ]; do
  if runs "$1" "$2"; then
    [ "$(tr '\0' '\n' <"/proc/$pid/cmdline" | grep -c -x -e -netdev)" = "$3" ] || exit 1
  fi
  shift 3
done
