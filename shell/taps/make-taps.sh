# usage: make-taps.sh OWNER USER [STATE TAP]...
# Creates the TAPs that are not there, for the user, sets those that were changed, and prints the names of both. All of
# them are down afterwards. A TAP whose STATE is `up` goes up when the flows around its port are there (raise-taps.sh).
# Ports with tags come from bridge/join-taps.sh.
# include: is-ready
# include: in-one-go
owner=$1 user=$2 wanted='' left=$((($# - 2) / 2)); shift 2

while [ $left -gt 0 ]; do
  state=$1 tap=$2 left=$((left - 1)); shift 2
  ! is_made "$state" "$tap" || continue
  echo "$tap"
  wanted="$wanted $tap"
  [ -e "/sys/class/net/$tap" ] || set -- "$@" "tuntap add mode tap name $tap user $user"
  set -- "$@" "link set dev $tap alias $owner addrgenmode none arp off down"
done
[ "$wanted" ] || exit 0
in_one_go "$@"
for tap in $wanted; do
  silence "$tap" || exit
done
