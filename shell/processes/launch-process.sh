# usage: launch-process.sh PIDFILE MESSAGES LOG COMMAND...
# Starts the command in the background. A guest decides how much its process writes. So the output goes through pipes to
# processes with a limit (setrlimit(2)). They never refuse: QEMU mistakes an error of its log for one of the console and
# stops there. They end with the process, when no writer is left.
#
# tee keeps the beginning of the messages: beyond the limit it continues without its file (tee(1)). The log keeps its
# beginning in LOG, and its end in LOG-end and, before that, LOG-old. head reads no byte beyond a file's size, so the
# next one continues with the next byte; stdbuf lets it write each line at once. Where a file cannot be written, another
# one is tried; where none can be opened, the rest is dropped.
#
# A program in the background holds the streams of the batch for all its life unless they are closed. The pipe of $told
# ends when the pid is written, for no other process holds that end: so there is no guess whether the process has
# started.
pidfile=$1 messages=$2 log=$3; shift 3
# shellcheck disable=SC2016 # these are words of another shell, which has no other words: the mark would be one of them
rotate='! [ -e "$0-end" ] || rm -f "$0-end" "$0-old"
goes_on_after() { ! (exec stdbuf -o0 head -c "$2" >"$1") || [ "$(stat -c %s "$1")" -ge "$2" ]; }
goes_on_after "$0" 524288 || exit 0
while goes_on_after "$0-end" 262144; do mv -f "$0-end" "$0-old" || exec cat >/dev/null; done'
keep_beginning() { trap "" XFSZ; ulimit -f 128 && exec tee "$1" >/dev/null 2>&1 3>&- 8>&-; }
keep_ends() { exec sh -c "$rotate" "$1" >/dev/null 2>&1 3>&- 8>&-; }
told=$(exec 3>&1
  { {
    "$@" </dev/null 9>&1 >&8 2>&1 3>&- 8>&- &
    if ! echo $! >"$pidfile" || ! echo $! >&3; then kill -KILL $!; fi
  } | keep_ends "$log" & } 8>&1 | keep_beginning "$messages" &)
[ "$told" ]
