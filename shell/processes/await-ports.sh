# usage: await-ports.sh [PIDFILE MARK PORT MESSAGES LABEL]...
# Waits until each process listens on its port. QEMU opens the port when everything else in it is ready. Processes that
# do not listen yet are put behind the others.
# include: runs
# include: tell-end
listens() {
  local IFS='
'
  for line in $listening; do
    case $line in *":$1 "*"pid=$2,"*) return;; esac
  done
  return 1
}
rounds=0
while [ $# -gt 0 ]; do
  [ $rounds -eq 0 ] || sleep 0.1
  listening=$(ss -Hltnp) left=$(($# / 5))
  while [ $left -gt 0 ]; do
    pid='' name=${1##*/}; name=${name%.pid}
    [ ! -r "$1" ] || read -r pid <"$1"
    if listens "$3" "$pid" && runs "$1" "$2"; then
      echo "$5 $pid"
    elif [ -e "/proc/${pid:-0}/exe" ] || runs "$1" "$2"; then
      [ $rounds -lt 300 ] || { echo "$name does not listen on port $3 after 30 s" >&2; exit 1; }
      set -- "$@" "$1" "$2" "$3" "$4" "$5"
    else
      tell_end "$name" "$4"
      exit 1
    fi
    shift 5; left=$((left - 1))
  done
  rounds=$((rounds + 1))
done
