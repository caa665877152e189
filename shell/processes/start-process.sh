# usage: start-process.sh PIDFILE MARK SECRET CORES COMMAND...
# Starts the command in a session of its own, together with the processes that keep its output: they outlive the batch.
# An older process of the pid file is ended. A line of input becomes the file SECRET, where that is not empty. The CPUs
# are chosen before it begins, so that a process that starts next finds them taken; 0 CORES: all CPUs.
# include: end
# include: least-used
pidfile=$1 mark=$2 secret=$3 cores=$4 cpus=''; shift 4

end KILL "$pidfile" "$mark" || exit
umask 077
[ -z "$secret" ] || { read -r words && echo "$words" >"$secret"; } || exit
[ "$cores" -eq 0 ] || cpus=$(least_used "$cores" "${mark##*[!0-9]}" "${pidfile%/*/*}"/*/*.pid) || exit
setsid --wait ${cpus:+taskset -c "$cpus"} "$@" || exit
name=${pidfile##*/}; printf '%s\n' "${name%.pid}"
