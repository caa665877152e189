# usage: join-port.sh NAME NAMESPACE ADDRESS PORT CONNECT_SECONDS IDLE_SECONDS CHECK_SECONDS RULE...
# Joins standard input and output with a TCP port of a guest, from a router namespace, or from the root namespace where
# RULE lets the guest's answers in. It is read by `sh -s`, and the braces make the shell read all of it before it runs.
#
# socat reports each end of its two sides. At the guest's end it is stopped: sudo(8) keeps the output open, so the
# manager sees the end of the output only when all of this has ended. At the manager's end the guest goes on. Where the
# manager is lost, the next message to it fails, and socat is stopped.
{
name=$1 namespace=$2 address=$3 port=$4 limit=$5 idle=$6 pause=$7; shift 7
answer() { printf '\n%s %s\n' "$name" "$1"; }
refuse() { answer "$1"; exit; }
inside() {
  if [ "$namespace" ]; then ip netns exec "$namespace" "$@"; else "$@"; fi
}
join() {
  inside setpriv --reuid=65534 --regid=65534 --clear-groups -- socat -d -d -T "$idle" -t "$idle" - \
    "TCP4:$address:$port,connect-timeout=$limit" <&3 3<&- 2>&1 >&4 4>&-
}
watch() {
  trap '' PIPE
  while sleep "$pause" >/dev/null 2>&1 && echo . >&2; do :; done
  kill "$socat"
}
report() {
  socat=''
  while read -r _ _ who kind words; do
    if [ -z "$socat" ]; then
      socat=${who##*[}; socat=${socat%%]*}
      watch >/dev/null &
    fi
    echo "$kind $words" >&2
    case $words in 'socket 2 '*' is at EOF') kill "$socat";; esac
  done
  [ -z "$socat" ] || kill "$!"
}
command -v socat >/dev/null || refuse socat
[ $# = 0 ] || iptables -w 5 -C "$@" 2>/dev/null || refuse rule
[ -z "$namespace" ] || [ -e "/run/netns/$namespace" ] || refuse namespace
exec 3<&0 4>&1
answer ready
join | report 3<&- 4>&- 2>&2
exit
}
