# usage: remove-taps.sh OWNER GROUP TAP...
# Removes those of the TAPs that are ours, as a group of devices. The kernel takes some 20 ms to free a device, and no
# longer for all of a group.
# include: is-ours
# include: in-one-go
owner=$1 group=$2; shift 2

for tap; do
  shift
  ! is_ours "$tap" || set -- "$@" "link set dev $tap group $group"
done
[ $# -gt 0 ] || exit 0
in_one_go "$@" "link del group $group"
