# usage: lacks_socket PID SOCKET
# Succeeds where the QEMU with this pid has no such QMP socket: an older version started it. A search that is ended in
# the middle, as by timeout(1), says nothing.
lacks_socket() {
  { grep -qzF -- "unix:$2," "/proc/$1/cmdline"; } 2>/dev/null
  [ $? = 1 ]
}
