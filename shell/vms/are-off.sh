# usage: are-off.sh [PIDFILE MARK]...
# Succeeds where none of the VMs runs.
# include: runs
while [ $# -gt 0 ]; do
  ! runs "$1" "$2" || exit 1
  shift 2
done
