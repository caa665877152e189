# usage: raise-taps-again.sh
# Brings the TAPs up again that were up: standard input is what check-tap-names.sh has printed. A TAP that is gone stays
# gone.
# include: is-up
# include: in-one-go
while read -r tap state; do
  [ "$state" != up ] || [ ! -e "/sys/class/net/$tap" ] || is_up "$tap" || set -- "$@" "link set dev $tap up"
done
[ $# -eq 0 ] || in_one_go "$@"
