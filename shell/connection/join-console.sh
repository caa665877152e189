# usage: join-console.sh SOCKET LOCK PIDFILE MARK USER VISIT VISIT_TO_END CHECK_SECONDS SILENT_SECONDS
# Joins a visitor with the serial console of a guest, under a lock: one visitor at a time. It is read by `sh -s`, and
# the braces make the shell read all of it before it runs.
#
# In /proc/net/unix (unix(7)) a socket's state is 01 for one that listens, 02 for a connection that waits to be accepted
# and 03 for one that was. socat holds the lock too: while either lives, the console is taken. The process that watches
# the manager closes all of that first: dash would keep it open beside redirections, and loses a signal that comes
# early. Until it has closed the lock it holds it as well, so its pid is in the lock before the visitor is let in.
# include: runs
{
socket=$1 lock=$2 pidfile=$3 mark=$4 user=$5 visit=$6 leaving=$7 pause=$8 limit=$9
socat='' taken='' watcher=''
umask 077
say() { printf '\n%s %s\n' "$visit" "$*"; }
tell() { say "$@" >&2; }
states() { awk -v socket="$socket" '$8 == socket { print $6 }' /proc/net/unix; }
end_socat() { [ -z "$socat" ] || kill -KILL "$socat" 2>/dev/null; }
refuse() { end_socat; say "$@"; exit; }
note() { { printf '%s ' "$user" "$visit" "$since" "$@"; echo; } >"$lock"; }
holder() {
  since=
  read -r name other since pids <"$lock" && [ "$since" ] && [ -d "/proc/${pids%% *}" ]
}
evict() {
  printf '%s %s\n' "$user" "$(date +%s)" >>"$lock"
  for signal in TERM KILL; do
    for pid in $pids; do
      ! grep -qzxF -e "$other" -e "UNIX-CONNECT:$socket" "/proc/$pid/cmdline" || kill -"$signal" "$pid"
    done
    ! flock -w 3 9 || return 0
  done
  return 1
}
connection() {
  case $2 in *:*) set -- "$1" "[$2]" "$3";; esac
  ss -Htni "dst $2 and dport = :$3 and sport = :$1"
}
manager_lives() {
  # shellcheck disable=SC2086 # three words
  seen=$(connection $peer 2>/dev/null)
  case $seen in
  '') [ "$unseen" ];;
  *' lastrcv:'*)
    silent=${seen##* lastrcv:}; silent=${silent%%[!0-9]*}
    [ "$silent" -lt $((limit * 1000)) ];;
  esac
}
watch() {
  while sleep "$pause" && [ -e /proc/$$/exe ]; do  # a zombie has none
    manager_lives || break
  done
  end_socat
}
trap 'taken=yes; end_socat' TERM
runs "$pidfile" "$mark" || refuse off
( : >>"$lock" ) 2>/dev/null || refuse unwritable
exec 9>>"$lock"
tries=0
until flock -n 9; do
  if holder 2>/dev/null; then
    [ "$other" = "$leaving" ] || refuse busy "$name" "$since" "$other"
    evict 2>/dev/null || refuse stuck
    break
  fi
  tries=$((tries + 1))
  [ $tries -lt 20 ] || refuse busy - 0 -
  sleep 0.1
done
since=$(date +%s) tries=0
note $$ 2>/dev/null
while states | grep -qv 01; do
  tries=$((tries + 1))
  [ $tries -lt 20 ] || refuse foreign
  sleep 0.1
done
exec 3<&0
socat -t 0.05 - "UNIX-CONNECT:$socket" <&3 3<&- 2>/dev/null &
socat=$! tries=0
note $$ $socat 2>/dev/null
until states | grep -q 03; do
  tries=$((tries + 1))
  [ -z "$taken" ] || refuse busy - 0 -
  [ -e "/proc/$socat/exe" ] || refuse off
  [ $tries -lt 60 ] || refuse hung
  sleep 0.05
done
# shellcheck disable=SC2086 # addresses and ports of both sides (ssh(1))
set -- $SSH_CONNECTION
peer="$4 $1 $2" unseen=
# shellcheck disable=SC2086 # three words
[ "$(connection $peer 2>/dev/null)" ] || unseen=yes
(exec </dev/null >/dev/null 2>&1 3<&- 9>&-; watch) &
watcher=$!
note $$ $socat $watcher 2>/dev/null
say ready
wait "$socat"
end_socat
kill "$watcher" 2>/dev/null
[ -z "$taken" ] || { read -r _; read -r name since; } <"$lock"
: >"$lock"
exec 9>&-
[ -z "$taken" ] || { tell taken "$name" "$since"; exit; }
tries=0
until states | grep -q 01 || ! runs "$pidfile" "$mark" || [ $tries -ge 10 ]; do
  tries=$((tries + 1))
  sleep 0.1
done
if runs "$pidfile" "$mark"; then tell closed; else tell off; fi
exit
}
