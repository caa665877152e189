# usage: some-run.sh [PIDFILE MARK]...
# Succeeds while one of the processes runs.
# include: runs
while [ $# -gt 0 ]; do
  ! runs "$1" "$2" || exit 0
  shift 2
done
exit 1
