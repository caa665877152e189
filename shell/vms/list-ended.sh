# usage: list-ended.sh EVENT REASON [ID PIDFILE MARK MESSAGES]...
# Prints the IDs of VMs that do not run and ended for that reason: the last line of the event in QEMU's messages has it.
# include: runs
event=$1 reason=$2; shift 2
while [ $# -gt 0 ]; do
  runs "$2" "$3" || case $(grep -s "^$event " "$4" | tail -n 1) in *" reason=$reason") echo "$1";; esac
  shift 4
done
