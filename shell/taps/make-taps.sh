# usage: make-taps.sh OWNER USER TAP...
# Creates the TAPs that are not ready, for the user, and prints their names. A TAP goes up last: until then it has no IP
# stack that could be reached.
# include: is-ready
# include: in-one-go
owner=$1 user=$2 wanted=''; shift 2

for tap; do
  shift
  ! is_ready "$tap" || continue
  echo "$tap"
  wanted="$wanted $tap"
  [ -e "/sys/class/net/$tap" ] || set -- "$@" "tuntap add mode tap name $tap user $user"
  set -- "$@" "link set dev $tap alias $owner addrgenmode none arp off"
done
[ "$wanted" ] || exit 0
in_one_go "$@"
set --
for tap in $wanted; do
  silence "$tap" || exit
  set -- "$@" "link set dev $tap up"
done
in_one_go "$@"
