# usage: check-tap-names.sh OWNER TAP...
# Prints the TAPs that exist, and in a second line `up` behind the name of one that is up. Fails where a device has the
# name of one and is not ours.
# include: is-ours
# include: is-up
owner=$1; shift
for tap; do
  [ -e "/sys/class/net/$tap" ] || continue
  is_ours "$tap" ||
    { echo "a device $tap is there that is not ours; remove it or give it another name" >&2; exit 1; }
  echo "$tap"
  ! is_up "$tap" || echo "$tap up"
done
