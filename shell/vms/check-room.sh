# usage: check-room.sh FOLDER ADDRESS [PIDFILE MARK MIB VNC_PORT]...
# Prints the VMs that run; they need neither memory nor a port again. Fails where the worker has no room for the others.
# VNC listens on ADDRESS, by which the manager knows the worker. With status 98 it prints the VNC ports that are taken,
# and all sockets that listen.
# include: runs
folder=$1 own=$2 here=; shift 2
[ -d "$folder" ] || folder=.
while read -r mark address _; do
  [ "$mark $address" != "|-- $own" ] || here=1
done </proc/net/fib_trie
[ "$here" ] || { echo "$own is no address of this host; name it in workers_list by one that it has" >&2; exit 1; }
listening=$(ss -Hltn) needed=0 count=0 taken='' running=''
while [ $# -gt 0 ]; do
  if runs "$1" "$2"; then
    name=${1##*/} running="$running ${name%.pid}"
  else
    needed=$((needed + $3)) count=$((count + 1))
    case $listening in *":$4 "*) taken="$taken $4";; esac
  fi
  shift 4
done
[ -z "$taken" ] || {
  printf '%s\n' "$taken" "$listening"
  echo "VNC ports are taken by other programs:$taken; deploy or repair the slice again, which takes others" >&2
  exit 98
}
while read -r name free _; do
  [ "$name" != MemAvailable: ] || break
done </proc/meminfo
[ $((free / 1024)) -ge "$needed" ] || {
  echo "the VMs need $needed MiB of memory and $((free / 1024)) MiB are free; delete other slices or VMs there" >&2
  exit 1
}
room=$(df --output=avail -k "$folder"); room=$((${room##*[!0-9]} / 1024))
[ "$room" -ge $((count * 16)) ] || { echo "the disk is full: $room MiB are left in $folder" >&2; exit 1; }
[ -w "$folder" ] ||
  { echo "$folder cannot be written; is its disk mounted read-only, or is it another user's?" >&2; exit 1; }
# shellcheck disable=SC2086 # each name is a word
[ -z "$running" ] || printf '%s\n' $running
