# usage: stop-processes.sh SIGNAL [PIDFILE MARK]...
# Signals processes of ours and waits for their end.
# include: end
end "$@"
