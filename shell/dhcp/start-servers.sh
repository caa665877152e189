# usage: start-servers.sh GROUP...
# Starts the DHCP servers that do not serve, side by side, and prints the VLAN of each that it starts. A group has: its
# COUNT of words, and NAMESPACE PIDFILE MARK LOG LINK COMMAND.
# include: beside
# include: serve
beside serve "$@"
