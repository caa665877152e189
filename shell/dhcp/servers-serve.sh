# usage: servers-serve.sh [COUNT NAMESPACE PIDFILE MARK]...
# Succeeds where each DHCP server serves.
# include: beside
# include: serves
beside serves "$@"
