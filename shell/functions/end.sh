# usage: end SIGNAL [PIDFILE MARK]...
# Signals all processes first, then waits for each with `tail --pid`: sleeping between checks would cost a process for
# each hundredth of a second. A process that stays is checked again before it is killed: by then its pid may belong to
# another process. A process without a command line is about to end, and has only freed its memory. A tail that cannot
# write its output ends too early, so its output goes to /dev/null.
# include: runs
end() {
  signal=$1 left=$(($# / 2)); shift
  while [ $left -gt 0 ]; do
    ! runs "$1" "$2" || { kill -"$signal" "$pid"; set -- "$@" "$pid" "$2"; }
    shift 2; left=$((left - 1))
  done
  for killed in no yes; do
    [ $# -gt 0 ] || return 0
    # shellcheck disable=SC2016 # a program for the shell that timeout(1) ends
    timeout 3 sh -c 'while [ $# -gt 0 ]; do
      [ ! -d "/proc/$1" ] || tail --pid="$1" -s 0.01 -f /dev/null >/dev/null
      shift 2
    done' sh "$@" || [ $? -eq 124 ] || return
    left=$(($# / 2))
    while [ $left -gt 0 ]; do
      if [ -d "/proc/$1" ] &&
        ! { grep -qz . "/proc/$1/cmdline" && ! grep -qzxF -- "$2" "/proc/$1/cmdline"; } 2>/dev/null
      then
        [ $killed = no ] || { echo "process $1 does not end" >&2; return 1; }
        kill -KILL "$1" 2>/dev/null; set -- "$@" "$1" "$2"
      fi
      shift 2; left=$((left - 1))
    done
  done
}
