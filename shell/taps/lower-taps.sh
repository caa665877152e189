# usage: lower-taps.sh OWNER TAP...
# Brings those of the TAPs down that are ours and up.
# include: is-ours
# include: is-up
# include: in-one-go
owner=$1; shift

for tap; do
  shift
  ! is_up "$tap" || ! is_ours "$tap" || set -- "$@" "link set dev $tap down"
done
[ $# -eq 0 ] || in_one_go "$@"
