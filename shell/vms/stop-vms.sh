# usage: stop-vms.sh SECONDS COUNT WORD...
# Switches VMs off, and prints the names of those that did not obey their power buttons. The first COUNT words are the
# command that presses the buttons: for each QEMU that answers, it prints a line of the VM's name and {"return". Then
# come PIDFILE and MARK of each VM. VMs that were pressed are waited for, at most SECONDS; then all are ended. QEMU
# writes what it has of the disk when it is ended by a signal, too.
# include: end
seconds=$1 count=$2 words='' number=1 pids='' newline='
'
shift 2
while [ $number -le "$count" ]; do words="$words \"\${$number}\"" number=$((number + 1)); done
pressed=$newline$(eval "$words" 2>/dev/null)
shift "$count"

# usage: for_running FUNCTION [PIDFILE MARK]...
# Calls the function for each VM that runs, with its name in $name and its pid in $pid.
for_running() {
  function=$1; shift
  while [ $# -gt 0 ]; do
    name=${1##*/}; name=${name%.pid}
    ! runs "$1" "$2" || "$function"
    shift 2
  done
}
note_pressed() { case $pressed in *"$newline$name {\"return\""*) pids="$pids $pid";; esac; }
say_name() { echo "$name"; }

for_running note_pressed "$@"
# shellcheck disable=SC2016,SC2086 # a program for another shell; each pid is a word
[ -z "$pids" ] || timeout "$seconds" sh -c 'for pid; do
  [ ! -d "/proc/$pid" ] || tail --pid="$pid" -s 0.1 -f /dev/null >/dev/null
done' sh $pids
for_running say_name "$@"
end TERM "$@"
