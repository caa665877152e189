# usage: end-vms.sh [PIDFILE MARK CONSOLE LOCK LOG MESSAGES SECRET QMP]...
# Ends VMs and removes the files of their processes; the end of LOG is in LOG-end and LOG-old. A VM that does not end
# keeps its pid file: without it the process would be forgotten.
# include: end
end_all() {
  left=$(($# / 8))
  while [ $left -gt 0 ]; do
    set -- "$@" "$1" "$2"
    shift 8; left=$((left - 1))
  done
  end KILL "$@"
}
(end_all "$@") || exit
left=$(($# / 8))
while [ $left -gt 0 ]; do
  set -- "$@" "$1" "$3" "$4" "$5" "$5-end" "$5-old" "$6" "$7" "$8"
  shift 8; left=$((left - 1))
done
rm -f "$@"
