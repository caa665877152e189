# usage: launch-process.sh PIDFILE MESSAGES LOG COMMAND...
# Starts the command in the background. A guest decides how much its process writes. So the output goes through pipes to
# processes that keep the beginning and drop the rest: a write beyond the limit fails, and tee continues without its
# file (setrlimit(2), tee(1)). They never refuse: QEMU mistakes an error of its log for one of the console and stops
# there. They end with the process, when no writer is left.
#
# A program in the background holds the streams of the batch for all its life unless they are closed. The pipe of $told
# ends when the pid is written, for no other process holds that end: so there is no guess whether the process has
# started.
pidfile=$1 messages=$2 log=$3; shift 3
keep() { trap "" XFSZ; ulimit -f $(($2 / 512)) && exec tee "$1" >/dev/null 2>&1 3>&- 8>&-; }
told=$(exec 3>&1
  { {
    "$@" </dev/null 9>&1 >&8 2>&1 3>&- 8>&- &
    if ! echo $! >"$pidfile" || ! echo $! >&3; then kill -KILL $!; fi
  } | keep "$log" 1048576 & } 8>&1 | keep "$messages" 65536 &)
[ "$told" ]
