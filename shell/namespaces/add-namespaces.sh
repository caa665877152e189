# usage: add-namespaces.sh [COUNT NAMESPACE FOLDER RULES]...
# Creates namespaces without IPv6, each with its folder and its rules for nft(8). 262144 bytes bound the memory of a
# namespace for packets that came in part only (ip-sysctl, ipfrag_high_thresh).
# include: beside
settle() {
  # shellcheck disable=SC2016 # a program for the shell in the namespace
  nsenter --net="/run/netns/$1" sh -c 'cd /proc/sys/net
    [ ! -e ipv6 ] || echo 1 >ipv6/conf/all/disable_ipv6 || exit
    cd ipv4 && echo 0 >ipfrag_low_thresh && echo 262144 >ipfrag_high_thresh || exit
    [ -z "$1" ] || exec nft "$1"' sh "$3"
}
add() {
  folders='' lines='' newline='
'
  while [ $# -gt 0 ]; do
    [ -d "$3" ] || folders="$folders $3"
    [ -e "/run/netns/$2" ] || lines="${lines}netns add $2$newline"
    shift 4
  done
  # shellcheck disable=SC2086 # each folder is a word
  [ -z "$folders" ] || mkdir -p $folders || return
  printf %s "$lines" | ip -batch -
}
add "$@" && beside settle "$@"
