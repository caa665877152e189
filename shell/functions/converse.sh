# usage: converse NAME SOCKET COMMANDS
# Becomes the dialog with the QEMU at SOCKET (QMP, docs/interop/qmp-spec of QEMU). COMMANDS are lines of JSON. A command
# is sent when the one before it was answered: QEMU may drop commands of a client that has left. Each answer is printed
# behind NAME, in one write, so dialogs can run side by side. socat connects and then becomes a shell whose input and
# output are the socket. The status is 1 without a connection, 3 after an error of QEMU, 4 where QEMU ended first.
converse() {
  export name="$1" commands="$3"
  exec socat "UNIX-CONNECT:$2" "EXEC:sh /dev/fd/4,nofork" 3>&1 5>&2 2>/dev/null 4<<'DIALOG'
await() {
  while read -r line; do
    case $line in "{\"$1\""*) return;; '{"error"'*) break;; esac
  done
  case $line in '{"error"'*) ;; *) exit 4;; esac
  class=${line#*'"class": "'}; said=${line#*'"desc": "'}; said=${said%'"}'*}; said=${said%%'", "class"'*}
  printf '%s %s\n' "$name" "$line" >&3
  printf '%s: QEMU says %s: %s\n' "$name" "${class%%\"*}" "$said" >&5
  exit 3
}
IFS='
'
set -f
await QMP
printf '{"execute": "qmp_capabilities"}\n'
await return
for command in $commands; do
  printf '%s\n' "$command"
  await return
  printf '%s %s\n' "$name" "$line" >&3
done
DIALOG
}
