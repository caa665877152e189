# usage: write-reservations.sh GROUP...
# Writes the reservations that are not there yet, and prints the VLAN of each file that it writes. A group has: its
# COUNT of words, NAMESPACE, FILE, and the lines for it. The log of a running server is emptied when it is half full:
# the addresses that guests of the slice get must be seen there.
# include: beside
write() {
  namespace=$1 own=$2; shift 2
  [ ! -s "$own" ] || exit 0
  printf '%s\n' "$@" >"$own" || { echo "$own cannot be written; is /run full?" >&2; exit 1; }
  log=${own%/hosts/*}/log
  [ ! -s "$log" ] || [ "$(stat -c %s "$log")" -lt 65536 ] || : >"$log"
  echo "${namespace##*[!0-9]}"
}
beside write "$@"
