# usage: look-at-vms.sh GROUP...
# Prints the signs of life of each VM, as lines of its ID and a word. `process`: it runs. `frame`: it has sent one by a
# TAP. `console`: its last output matches one of the patterns. `patterns`: these cannot be used. A group has: its COUNT
# of words, ID PIDFILE MARK LOG, the number of TAPs, the TAPs, and patterns. The patterns come from people, and
# the output from a guest: grep gets at most 64 KiB, without the ends of lines of a terminal, 2 seconds and 256 MiB.
# include: beside
# include: runs
look() {
  id=$1 pidfile=$2 mark=$3 log=$4 taps=$5; shift 5
  runs "$pidfile" "$mark" || exit 0
  echo "$id process"
  sent=
  while [ "$taps" -gt 0 ]; do
    frames=0; { read -r frames <"/sys/class/net/$1/statistics/rx_packets"; } 2>/dev/null
    [ "${frames:-0}" -eq 0 ] || sent=1
    shift; taps=$((taps - 1))
  done
  [ -z "$sent" ] || echo "$id frame"
  left=$#
  [ "$left" -gt 0 ] || exit 0
  while [ "$left" -gt 0 ]; do set -- "$@" -e "$1"; shift; left=$((left - 1)); done
  if [ -e "$log-end" ]; then cat "$log-old" "$log-end"; else tail -c 65536 "$log"; fi 2>/dev/null | tail -c 65536 |
    tr -d '\000\r' | (ulimit -v 262144; LC_ALL=C exec timeout 2 grep -aqE "$@" 2>/dev/null)
  case $? in 0) echo "$id console";; 1) ;; *) echo "$id patterns";; esac
}
beside look "$@"
