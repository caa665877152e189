# usage: add-namespaces.sh [COUNT NAMESPACE FOLDER RULES]...
# Creates namespaces without IPv6, each with its folder and its rules for nft(8). 262144 bytes bound the memory of a
# namespace for packets that came in part only (ip-sysctl, ipfrag_high_thresh).
# include: beside
settle() {
  nsenter --net="/run/netns/$1" sh -c 'cd /proc/sys/net
    [ ! -e ipv6 ] || echo 1 >ipv6/conf/all/disable_ipv6 || exit
    cd ipv4 && echo 0 >ipfrag_low_thresh && echo 262144 >ipfrag_high_thresh || exit
    [ -z "$1" ] || exec nft "$1"' sh "$3"
}
add() {
  folders='' lines=''
  while [ $# -gt 0 ]; do
    [ -d "$3" ] || folders="$folders $3"
    [ -e "/run/netns/$2" ] || lines="${lines}netns add $2\n"
    shift 4
  done
  [ -z "$folders" ] || mkdir -p $folders && printf "$lines" | ip -batch -
}
add "$@" && beside settle "$@"
