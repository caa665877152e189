# usage: let-run.sh [PIDFILE MARK SOCKET MESSAGES COMMANDS]...
# Has a dialog with the QEMU of each VM, side by side, and prints the names of those that did not run before. COMMANDS
# begin with query-status. It runs under timeout(1), which ends the dialogs and tells this shell. A QEMU that has just
# been started has no socket for a moment, so a dialog without a connection begins again. A VM of an older version has
# no socket, and runs already.
# include: runs
# include: converse
# include: tell-end
# include: lacks-socket
late='' rounds=0 newline='
'
trap 'late=yes' TERM
name_of() { name=${1##*/}; name=${name%.pid}; }
is_older() { [ $rounds -gt 2 ] && runs "$1" "$2" && lacks_socket "$pid" "$3"; }
talk() {
  running=
  while [ $# -gt 0 ]; do
    name_of "$1"
    if [ -S "$3" ] && runs "$1" "$2"; then
      converse "$name" "$3" "$5" &
      running="$running $name $!"
    fi
    shift 5
  done
  # shellcheck disable=SC2086 # names and pids are words
  set -- $running
  while [ $# -gt 0 ]; do
    wait "$2" 2>/dev/null
    echo "$1 ended $?"
    shift 2
  done
}
while [ $# -gt 0 ]; do
  [ $rounds -eq 0 ] || { sleep 0.03; } 2>/dev/null
  said=$newline$(talk "$@")$newline left=$(($# / 5)) rounds=$((rounds + 1))
  while [ $left -gt 0 ]; do
    name_of "$1"
    pid=; [ ! -r "$1" ] || read -r pid <"$1"
    case $said in
      *"$newline$name ended 0$newline"*)
        answer=${said#*"$newline$name {"}
        case ${answer%%"$newline"*} in *'"running": true'*) ;; *) echo "$name";; esac;;
      *"$newline$name ended 3$newline"*) exit 1;;
      *)
        [ -z "$late" ] || { echo "QEMU of $name did not answer in time" >&2; exit 1; }
        if ! { [ -e "/proc/${pid:-0}/exe" ] || runs "$1" "$2"; }; then
          tell_end "$name" "$4"
          exit 1
        fi
        is_older "$1" "$2" "$3" || set -- "$@" "$1" "$2" "$3" "$4" "$5";;
    esac
    shift 5; left=$((left - 1))
  done
done
