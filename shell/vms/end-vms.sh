# usage: end-vms.sh [PIDFILE MARK CONSOLE LOCK LOG MESSAGES SECRET]...
# Ends VMs and removes the files of their processes. A VM that does not end keeps its pid file: without it the process
# would be forgotten.
# include: end
end_all() {
  left=$(($# / 7))
  while [ $left -gt 0 ]; do
    set -- "$@" "$1" "$2"
    shift 7; left=$((left - 1))
  done
  end KILL "$@"
}
(end_all "$@") || exit
left=$(($# / 7))
while [ $left -gt 0 ]; do
  set -- "$@" "$1" "$3" "$4" "$5" "$6" "$7"
  shift 7; left=$((left - 1))
done
rm -f "$@"
