# usage: is-running.sh PIDFILE MARK
# include: runs
runs "$1" "$2"
