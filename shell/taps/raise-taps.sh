# usage: raise-taps.sh TAP...
# Brings the TAPs up that are down, and prints their names.
# include: is-up
# include: in-one-go
for tap; do
  shift
  ! is_up "$tap" || continue
  echo "$tap"
  set -- "$@" "link set dev $tap up"
done
[ $# -eq 0 ] || in_one_go "$@"
