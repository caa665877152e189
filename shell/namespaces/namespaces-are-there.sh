# usage: namespaces-are-there.sh [COUNT NAMESPACE FOLDER LISTING]...
# include: beside
# include: is-settled
are_there() {
  while [ $# -gt 0 ]; do
    [ -d "$3" ] && [ -e "/run/netns/$2" ] || return
    shift 4
  done
}
are_there "$@" && beside is_settled "$@"
