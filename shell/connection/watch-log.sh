# usage: watch-log.sh NAME LOG PIDFILE MARK BYTES
# Shows the end of a guest's console log, and what the guest writes from now on, until its QEMU ends. It is read by
# `sh -s`, and the braces make the shell read all of it before it runs. tail(1) ends by itself when its output is
# closed. A long log goes on in LOG-end (launch-process.sh).
# include: runs
{
name=$1 log=$2 pidfile=$3 mark=$4 bytes=$5
answer() { printf '\n%s %s\n' "$name" "$1"; }
runs "$pidfile" "$mark" || { answer off; exit; }
read -r pid <"$pidfile"
answer ready
set -- "$log" "$log-end"
[ ! -e "$log-end" ] || shift
exec tail -q -c "$bytes" --pid="$pid" -F "$@" 2>/dev/null </dev/null
}
