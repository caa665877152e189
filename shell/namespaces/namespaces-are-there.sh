# usage: namespaces-are-there.sh [COUNT NAMESPACE FOLDER LISTING]...
# Succeeds where each namespace and its folder exist, without IPv6 and with its rules.
# include: beside
# include: is-settled
are_there() {
  while [ $# -gt 0 ]; do
    [ -d "$3" ] && [ -e "/run/netns/$2" ] || return
    shift 4
  done
}
are_there "$@" && beside is_settled "$@"
