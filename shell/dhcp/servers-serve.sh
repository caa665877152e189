# usage: servers-serve.sh [COUNT NAMESPACE PIDFILE MARK]...
# include: beside
# include: serves
beside serves "$@"
