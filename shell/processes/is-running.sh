# usage: is-running.sh PIDFILE MARK
# Succeeds while the process of the pid file runs and has the mark.
# include: runs
runs "$1" "$2"
