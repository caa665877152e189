# usage: claim FILE SECONDS REASON
# Takes the lock FILE as descriptor 8, or fails with the REASON. The holder removes the file, so a new holder checks
# that its descriptor and the name still mean the same file. No command inherits the descriptor: a daemon would hold it
# for ever. A manager that dies closes the streams of the batch; then the next marker cannot be written, and the batch
# ends and removes the lock.
claim() {
  local up end left
  read -r up _ </proc/uptime; end=$((${up%.*} + $2))
  while { command exec 8>>"$1"; } 2>/dev/null; do
    read -r up _ </proc/uptime; left=$((end - ${up%.*}))
    if [ $left -le 0 ] || ! flock -w $left 8; then echo "$3" >&2; return 1; fi
    [ ! "$1" -ef /proc/self/fd/8 ] || return 0
  done
  echo "$1 cannot be made; is /run full?" >&2; return 1
}
