# usage: ask-vms.sh [PIDFILE MARK SOCKET COMMANDS]...
# Has a dialog with the QEMU of each VM, side by side, and prints the answers. It runs under timeout(1), which ends the
# dialogs and tells this shell. A dialog that does not end well has one more line behind its answers, and a sentence on
# standard error. The status is 124 where a VM may have done more than it answered, else 1.
# include: runs
# include: converse
# include: lacks-socket
trap : TERM
status=0 left=$(($# / 4))
name_of() { name=${1##*/}; name=${name%.pid}; }
fail() {
  [ "$status" = 124 ] || status=$1
  echo "$name $2"
  echo "$3" >&2
}
while [ $left -gt 0 ]; do
  name_of "$1"
  if runs "$1" "$2"; then
    converse "$name" "$3" "$4" &
    set -- "$@" "$1" "$2" "$3" $!
  else
    fail 1 off "$name does not run"
  fi
  shift 4; left=$((left - 1))
done
while [ $# -gt 0 ]; do
  name_of "$1"
  wait "$4" 2>/dev/null
  case $? in
    0) ;;
    1) if runs "$1" "$2" && lacks_socket "$pid" "$3"; then
        fail 1 older "$name was started by an older version, whose QEMU cannot be asked; restart it once"
      else
        fail 1 closed "QEMU of $name accepts no connection at $3"
      fi;;
    3) [ "$status" = 124 ] || status=1;;
    4) fail 124 ended "QEMU of $name ended before it answered";;
    *) fail 124 late "QEMU of $name did not answer in time; it may still do what it was told";;
  esac
  shift 4
done
exit "$status"
