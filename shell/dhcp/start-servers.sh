# usage: start-servers.sh GROUP...
# A group has: its COUNT of words, and NAMESPACE PIDFILE MARK LOG LINK COMMAND. It prints the VLAN of each server.
# include: beside
# include: serve
beside serve "$@"
